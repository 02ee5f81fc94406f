"""The command `pykvd`: reads the options, opens the log, runs the server."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from pykvd.config import (
    Config,
    ConfigError,
    HelpRequested,
    ShadowedVariableError,
    UsageError,
)
from pykvd.config.commandline import parse_arguments
from pykvd.logs import STREAMS, get_logger, open_log
from pykvd.oserrors import opening, reason
from pykvd.version import API_VERSION, VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

#: The store is millions of long-lived objects without cycles: a full collection would walk them
#: all, for nothing, in the middle of a request.
GC_THRESHOLDS = (50_000, 20, 1000)

_log = get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, by default the process's own; returns the exit code.

    Options that cannot be used end with 1 and one line on stderr that says which. etcd ends with
    2 where the flag syntax is wrong; here every wrong option is a 1.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if parse_arguments(arguments).get("version"):
            return _print(version_text())
        with open_log():
            config = Config.from_args(arguments, os.environ)
    except HelpRequested:
        from pykvd.config.usage import usage  # noqa: PLC0415 - a start does without

        return _print(usage())
    except ConfigError as error:
        _report(error)
        return 1
    return _run(config)


def _end(number: int, _: FrameType | None) -> NoReturn:
    """End by a signal that comes before the server takes it.

    The first process of a container does not die of signals as others do (pid_namespaces(7)).
    """
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)


def _print(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would be tried again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.stderr.write(f"write /dev/stdout: {reason(error)}\n")
        return 1
    return 0


def _run(config: Config) -> int:
    rotation = None
    if config.enable_log_rotation:
        from pykvd.rotation import RotationConfig  # noqa: PLC0415 - few ask for it

        rotation = RotationConfig.parse(config.log_rotation_config_json)
    try:
        log = open_log(config.log_level, config.log_format, config.log_outputs, rotation)
    except OSError as error:
        sys.stderr.write(f"{opening(error)}\n")
        return 1
    to_files = not STREAMS.issuperset(config.log_outputs)
    if to_files:
        # What rotates log files says so by SIGHUP, which must not end the process: until the
        # server's loop takes it, each line looks for its file by name anyway.
        signal.signal(signal.SIGHUP, lambda *_: None)
    # Before the imports, which make many objects that stay.
    gc.set_threshold(*GC_THRESHOLDS)
    with log:
        # Only now: --help and errors must not wait for the server's imports.
        from pykvd.server import run  # noqa: PLC0415

        return run(config, on_hangup=log.reopen if to_files else None)


def _report(error: ConfigError) -> None:
    """Say what is wrong: bad syntax as plain text, all else as a log line, at etcd's levels."""
    if isinstance(error, UsageError):
        question = f"Did you mean --{error.similar}? " if error.similar else ""
        sys.stderr.write(f"{error}\n{question}`pykvd --help` lists all flags.\n")
        return
    with open_log():
        if isinstance(error, ShadowedVariableError):
            _log.fatal(error.event, **error.fields)
        else:
            _log.warn(error.event, **error.fields)


def version_text() -> str:
    """What `--version` prints, four lines as etcd's."""
    import platform  # noqa: PLC0415 - a start does without

    system, machine = platform.system().lower(), platform.machine()
    return (
        f"pykvd Version: {VERSION}\n"
        f"etcd API Version: {API_VERSION}\n"
        f"Python Version: {platform.python_version()}\n"
        f"OS/Arch: {system}/{machine}\n"
    )
