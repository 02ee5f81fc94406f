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

#: The hidden first word by which shells ask for completions.
COMPLETE = "__complete"
NOT_UTF8 = (
    "rpc error: code = Internal desc = grpc: error while marshaling: "
    "string field contains invalid UTF-8"
)


def run(words: Sequence[str], streams: Streams, environ: Mapping[str, str]) -> int:
    """Run one command line and return its exit status.

    Raises BrokenPipeError if nobody reads the output, and nothing else that a user can cause.
    """
    try:
        return _dispatch(words, streams, environ)
    except BrokenPipeError:
        raise
    except OSError as error:
        streams.error_line(f"Error: {(error.strerror or str(error)).lower()}")
        return ExitCode.ERROR


def _dispatch(words: Sequence[str], streams: Streams, environ: Mapping[str, str]) -> int:
    if words and words[0] == COMPLETE:
        return _complete(words[1:], streams)
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


def _complete(words: Sequence[str], streams: Streams) -> int:
    """Serve a shell that asks what could follow."""
    from pykvctl.completing import candidates  # noqa: PLC0415  # for shells only

    for text, summary in candidates(ROOT, words):
        streams.line(f"{text}\t{summary}")
    return ExitCode.SUCCESS


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
    except UnicodeEncodeError:
        # A name that is no UTF-8; keys and values may be anything.
        session.streams.error_line(f"Error: {NOT_UTF8}")
        return ExitCode.ERROR
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
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
