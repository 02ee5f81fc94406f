"""watch: print events, run a command for each."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import NoReturn

import click

from pykvctl.errors import (
    BadArgumentsError,
    CommandError,
    ExitCode,
    FlagError,
    ReportedError,
)
from pykvctl.gotext.quoting import quote
from pykvctl.options.command import Line, command, flag
from pykvctl.options.parser import FlagSet, parse_flags
from pykvctl.options.values import BOOL, INT
from pykvctl.programs import run_program
from pykvctl.ranges import prefix_end
from pykvctl.session import Session
from pykvctl.watcher import Watch, WatchStream, WatchUpdate
from pykvctl.words import split_words
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc

KEY_VARIABLE = "ETCDCTL_WATCH_KEY"
RANGE_END_VARIABLE = "ETCDCTL_WATCH_RANGE_END"


class RangeConflictError(Exception):
    """A range end together with --prefix."""


@dataclass(frozen=True)
class WatchOrder:
    """What to watch and what to run for each event."""

    keys: list[str]
    command: list[str] = field(default_factory=list)

    def request(
        self, *, prefix: bool, rev: int, prev_kv: bool, progress: bool
    ) -> rpc.WatchCreateRequest:
        """The request to the server; raises RangeConflictError."""
        if len(self.keys) > 1 and prefix:
            raise RangeConflictError("`range_end` and `--prefix` are mutually exclusive")
        key = os.fsencode(self.keys[0])
        range_end = os.fsencode(self.keys[1]) if len(self.keys) > 1 else b""
        if prefix:
            key, range_end = key or b"\0", prefix_end(key)
        return rpc.WatchCreateRequest(
            key=key,
            range_end=range_end,
            start_revision=rev,
            prev_kv=prev_kv,
            progress_notify=progress,
        )


def read_order(args: list[str], dash: int | None, environ: Mapping[str, str]) -> WatchOrder:
    """Sort arguments and variables; `dash` is the number of arguments in front of `--`."""
    keys, program = (args, []) if dash is None else (args[:dash], args[dash:])
    if dash is not None and not program:
        raise BadArgumentsError("bad number of arguments (found separator --, but no commands)")
    key, range_end = environ.get(KEY_VARIABLE, ""), environ.get(RANGE_END_VARIABLE, "")
    if range_end and not key:
        raise BadArgumentsError(
            f"{KEY_VARIABLE} is empty but got {RANGE_END_VARIABLE}={quote(range_end)}"
        )
    if key and keys:
        raise BadArgumentsError("bad number of arguments (found conflicting environment key)")
    if key:
        keys = [key, range_end] if range_end else [key]
    if not keys:
        raise BadArgumentsError("bad number of arguments")
    return WatchOrder(keys, program)


@command(
    "watch",
    usage="watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    short_help="Watches events stream on keys or prefixes",
    help=f"The key may come from {KEY_VARIABLE} and {RANGE_END_VARIABLE} instead.",
)
@flag("-i", "--interactive", type=BOOL, default=False, help="Read requests from standard input")
@flag("--prefix", type=BOOL, default=False, help="Watch keys with matching prefix")
@flag("--rev", type=INT, default=0, help="Revision to start watching at")
@flag("--prev-kv", type=BOOL, default=False, help="Print the pair before each event")
@flag("--progress-notify", type=BOOL, default=False, help="Print progress notices of the server")
@click.pass_context
def watch(
    context: click.Context,
    args: list[str],
    interactive: bool,
    prefix: bool,
    rev: int,
    prev_kv: bool,
    progress_notify: bool,
) -> None:
    """Print events until interrupted."""
    session = context.obj
    assert isinstance(session, Session)
    session.quiet_variables = frozenset({KEY_VARIABLE, RANGE_END_VARIABLE})
    if interactive:
        _interactive(session)
    order = read_order(args, context.meta["dash"], session.environ)
    try:
        request = order.request(prefix=prefix, rev=rev, prev_kv=prev_kv, progress=progress_notify)
    except RangeConflictError as error:
        raise BadArgumentsError(str(error)) from None
    client = session.client

    with WatchStream(client) as stream:
        _print_updates(session, stream.watch(request), order.command)
    raise CommandError("watch is canceled by the server", ExitCode.INTERRUPTED)


def _print_updates(session: Session, watch: Watch, program: list[str]) -> None:
    """Print what arrives until the watch ends."""
    for update in watch:
        if update.response.canceled:
            session.streams.error_line(f"watch was canceled ({update.reason})")
        if update.is_progress:
            session.streams.line(f"progress notify: {update.response.header.revision}")
        session.printer.watch(update)
        if program:
            for event in update.response.events:
                _run_program(session, program, update, event)


def _run_program(
    session: Session, program: list[str], update: WatchUpdate, event: kvpb.Event
) -> None:
    """Run the command for an event; ReportedError ends the watch if it fails."""
    variables = {
        "ETCD_WATCH_REVISION": str(update.response.header.revision),
        "ETCD_WATCH_EVENT_TYPE": quote("DELETE" if event.type else "PUT"),
        "ETCD_WATCH_KEY": quote(event.kv.key),
        "ETCD_WATCH_VALUE": quote(event.kv.value),
    }
    _, reason = run_program(program, {**session.environ, **variables})
    if not reason:
        return
    words = " ".join(map(quote, program))
    session.streams.error_line(f"command [{words}] error ({reason})")
    raise ReportedError


def _interactive(session: Session) -> NoReturn:
    """Serve requests from standard input; ends with the input or a failure.

    Lines and failures of the watches meet in one queue: the main thread must not be stuck reading
    when a watch's command fails.
    """
    client = session.client

    inbox: SimpleQueue[bytes | Exception] = SimpleQueue()
    threading.Thread(target=_read_lines, args=(session, inbox), daemon=True).start()
    with WatchStream(client) as stream:
        while True:
            item = inbox.get()
            if isinstance(item, Exception):
                raise item
            line = item.removesuffix(b"\n").decode("utf-8", "surrogateescape")
            _serve_line(session, stream, line, inbox)


def _read_lines(session: Session, inbox: SimpleQueue[bytes | Exception]) -> None:
    while (line := session.streams.stdin.readline()).endswith(b"\n"):
        inbox.put(line)
    inbox.put(CommandError("error reading watch request line: EOF", ExitCode.INVALID_INPUT))


def _serve_line(
    session: Session, stream: WatchStream, line: str, inbox: SimpleQueue[bytes | Exception]
) -> None:
    words = split_words(line)
    if not words:
        session.streams.error_line(f"Invalid command: {line} (watch and progress supported)")
    elif words[0] == "progress":
        stream.request_progress()
    elif words[0] != "watch":
        session.streams.error_line(f"Invalid command {line} (only support watch)")
    elif len(words) < 2 and not session.environ.get(KEY_VARIABLE):
        session.streams.error_line(f"Invalid command {line} (command type or key is not provided)")
    else:
        _start_watch(session, stream, line, words[1:], inbox)


def _start_watch(
    session: Session,
    stream: WatchStream,
    line: str,
    words: list[str],
    inbox: SimpleQueue[bytes | Exception],
) -> None:
    try:
        parsed = Line(parse_flags(FlagSet(watch.params), words))
    except FlagError as error:
        raise BadArgumentsError(str(error)) from None
    order = read_order(parsed.args, parsed.dash, session.environ)
    given = parsed.own_values
    try:
        request = order.request(
            prefix=given.get("prefix", False),
            rev=given.get("rev", 0),
            prev_kv=given.get("prev_kv", False),
            progress=given.get("progress_notify", False),
        )
    except RangeConflictError as error:
        session.streams.error_line(f"Invalid command {line} ({error})")
        return
    started = stream.watch(request)

    def print_updates() -> None:
        try:
            _print_updates(session, started, order.command)
        except (CommandError, ReportedError, OSError) as error:
            inbox.put(error)

    threading.Thread(target=print_updates, daemon=True).start()
