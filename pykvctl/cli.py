"""The entry point: find the command, run it, turn its outcome into texts and an exit status."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from pykvctl.commands import API_VERSION, ROOT
from pykvctl.errors import (
    CommandError,
    ExitCode,
    FlagError,
    ReportedError,
    RequestError,
    UnknownCommandError,
)
from pykvctl.options.command import Command, Group, Line, find
from pykvctl.options.usage import usage_text
from pykvctl.session import Session
from pykvctl.streams import Streams, encode


def main() -> NoReturn:
    """Run as a process: signals end it as they end etcdctl, and the status is the command's."""
    # Ctrl-C and a closed pipe kill the process by the signal itself: nothing has to be undone, and
    # shells and `timeout` see the status they expect.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # A descriptor that was closed by the caller leaves None here.
    streams = Streams(
        sys.stdin.buffer if sys.stdin else open(os.devnull, "rb"),  # noqa: SIM115
        sys.stdout.buffer if sys.stdout else open(os.devnull, "wb"),  # noqa: SIM115
        sys.stderr.buffer if sys.stderr else open(os.devnull, "wb"),  # noqa: SIM115
    )
    environ = dict(os.environ)
    # gRPC's core would repeat on standard error what our own error line says.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    code = run(sys.argv[1:], streams, environ)
    # Everything is written and closed; taking the interpreter apart would cost another 20 ms.
    os._exit(code)


def run(words: Sequence[str], streams: Streams, environ: Mapping[str, str]) -> int:
    """Run one command line and return its exit status; never raises for what a user can cause."""
    try:
        path, node, rest = find(ROOT, list(words))
    except UnknownCommandError as error:
        streams.error_line(f"Error: {error}")
        streams.error_line(f"Run '{ROOT.name} --help' for usage.")
        return ExitCode.ERROR
    try:
        line = node.read(rest)
    except FlagError as error:
        show_usage(streams, path, node)
        streams.error_line(f"Error: {error}\n")
        return ExitCode.ERROR
    if line.help or isinstance(node, Group):
        show_usage(streams, path, node)
        return ExitCode.SUCCESS
    return _run_command(node, line, Session(streams, environ, line.global_values))


def _run_command(command: Command, line: Line, session: Session) -> int:
    try:
        command.run(session, line)
    except CommandError as error:
        session.streams.error_line(f"Error: {error}")
        return error.exit_code
    except RequestError as error:
        session.streams.error_line(f"Error: {error}")
        return ExitCode.ERROR
    except ReportedError as error:
        return error.exit_code
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        session.streams.error_line(f"Error: {(error.strerror or str(error)).lower()}")
        return ExitCode.ERROR
    finally:
        session.close()
    return ExitCode.SUCCESS


def show_usage(streams: Streams, path: list[str], node: Command | Group) -> None:
    """Write the usage text of a command to standard output."""
    streams.write(encode(usage_text(ROOT, path, node, API_VERSION)))
