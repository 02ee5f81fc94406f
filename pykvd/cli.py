"""The command `pykvd`: reads the options, opens the log, runs the server."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING

from pykvd.config import Config, ConfigError, HelpRequested, UsageError
from pykvd.config.commandline import parse_arguments, similar_flag
from pykvd.config.usage import usage
from pykvd.logs import get_logger, open_log
from pykvd.version import API_VERSION, VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, by default the process's own; returns the exit code.

    Options that cannot be used end with 1 and one line on stderr that says which. etcd ends with
    2 where the flag syntax is wrong; here every wrong option is a 1.
    """
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if parse_arguments(arguments).get("version"):
            sys.stdout.write(version_text())
            return 0
        config = _read_config(arguments)
    except HelpRequested:
        sys.stdout.write(usage())
        return 0
    except UsageError as error:
        sys.stderr.write(f"{error}\n{_hint(str(error))}\n")
        return 1
    except ConfigError:
        return 1
    try:
        log = open_log(config.log_level, config.log_format, config.log_outputs)
    except OSError as error:
        sys.stderr.write(f"open {error.filename}: {(error.strerror or str(error)).lower()}\n")
        return 1
    with log:
        # Only now: --help and errors must not wait for the server's imports.
        from pykvd.server import run  # noqa: PLC0415

        return run(config)


def version_text() -> str:
    """What `--version` prints, four lines as etcd's."""
    system, machine = platform.system().lower(), platform.machine()
    return (
        f"pykvd Version: {VERSION}\n"
        f"etcd API Version: {API_VERSION}\n"
        f"Python Version: {platform.python_version()}\n"
        f"OS/Arch: {system}/{machine}\n"
    )


def _read_config(arguments: Sequence[str]) -> Config:
    """The configuration; what there is to say about it is logged in the default way."""
    with open_log():
        try:
            return Config.from_args(arguments, os.environ)
        except UsageError:
            raise
        except ConfigError as error:
            _log.fatal(error.event, **error.fields)
            raise


def _hint(error: str) -> str:
    name = error.rpartition(" -")[2]
    similar = similar_flag(name) if "not defined" in error else ""
    question = f"Did you mean --{similar}? " if similar else ""
    return f"{question}`pykvd --help` lists all flags."
