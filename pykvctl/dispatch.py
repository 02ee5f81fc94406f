"""Finds a command, runs it, and turns its outcome into texts and an exit status."""

import signal
from collections.abc import Mapping, Sequence

from pykvctl.commands import API_VERSION, ROOT
from pykvctl.errors import (
    CommandError,
    ExitCode,
    FlagError,
    ReportedError,
    RequestError,
    UnknownCommandError,
)
from pykvctl.hints import hint_flags
from pykvctl.options.command import Command, Group, Line, find
from pykvctl.session import Session
from pykvctl.streams import Streams, encode


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
        show_usage(streams, environ, path, node)
        streams.error_line(f"Error: {error}\n")
        hint_flags(streams, rest)
        return ExitCode.ERROR
    if line.help or isinstance(node, Group):
        show_usage(streams, environ, path, node)
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


def show_usage(
    streams: Streams, environ: Mapping[str, str], path: list[str], node: Command | Group
) -> None:
    """Write the usage text of a command to standard output, coloured on a terminal."""
    from pykvctl.options.usage import usage_text  # noqa: PLC0415

    text = usage_text(ROOT, path, node, API_VERSION)
    if streams.stdout.isatty():
        from pykvctl.terminal import print_usage  # noqa: PLC0415

        print_usage(streams, environ, text)
    else:
        streams.write(encode(text))
