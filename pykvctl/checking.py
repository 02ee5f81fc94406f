"""What the checks have in common: names of loads, keys that are in the way, cleaning up, bars."""

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from pykvctl.errors import CommandError, ExitCode
from pykvctl.gotext.quoting import quote
from pykvctl.ranges import key_range
from pykvctl.session import Session
from pykvctl.terminal import console_on, is_fancy
from pykvd.methods import COMPACT, DEFRAGMENT, DELETE_RANGE, RANGE
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from pykvctl.load import Results

ALIASES = {"small": "s", "medium": "m", "large": "l", "xLarge": "xl"}
CLEANUP_TIMEOUT_S = 30.0
LOOK_INTERVAL_S = 0.05

Done = Callable[[], int]


def load_name(name: str) -> str:
    """The short name of a load; CommandError for an unknown one."""
    short = ALIASES.get(name, name)
    if short not in ALIASES.values():
        raise CommandError(f"unknown load option {name}", ExitCode.BAD_FEATURE)
    return short


def refuse_keys(session: Session, prefix: str, advice: str) -> None:
    """CommandError if there are keys with the prefix: they would be deleted afterwards."""
    key, range_end = key_range(prefix.encode("utf-8", "surrogateescape"), prefix=True)
    request = rpc.RangeRequest(key=key, range_end=range_end, limit=1, keys_only=True)
    if session.client.unary(RANGE, request, None).kvs:
        raise CommandError(
            f"prefix {quote(prefix)} has keys. Delete with {advice} first", ExitCode.INVALID_INPUT
        )


def delete_keys(session: Session, prefix: str) -> int:
    """Delete the keys of the check: the revision of that; raises RequestError."""
    key, range_end = key_range(prefix.encode("utf-8", "surrogateescape"), prefix=True)
    request = rpc.DeleteRangeRequest(key=key, range_end=range_end)
    return session.client.unary(DELETE_RANGE, request, CLEANUP_TIMEOUT_S).header.revision


def reclaim(session: Session, revision: int, *, compact: bool, defrag: bool) -> None:
    """Compact at the revision and defragment all endpoints, if asked to."""
    client, line = session.client, session.streams.line
    if compact:
        line(f"Compacting with revision {revision}")
        request = rpc.CompactionRequest(revision=revision, physical=True)
        client.unary(COMPACT, request, None)
        line(f"Compacted with revision {revision}")
    for endpoint in session.endpoints if defrag else ():
        line(f"Defragmenting {quote(endpoint.text)}")
        client.only(endpoint).unary(DEFRAGMENT, rpc.DefragmentRequest(), None)
        line(f"Defragmented {quote(endpoint.text)}")


def show_errors(session: Session, results: "Results") -> None:
    """The errors by text, with their numbers."""
    if results.errors:
        session.streams.line("FAIL: too many errors")
        for text, count in Counter(results.errors).items():
            session.streams.line(f"FAIL: ERROR({text}) -> {count}")


def wait_until(session: Session, over: Callable[[], bool], total: int, position: Done) -> None:
    """Wait until it is over; meanwhile a bar tells the position, if there is a terminal."""
    stderr = session.streams.stderr
    if not is_fancy(stderr, session.environ):
        while not over():
            time.sleep(LOOK_INTERVAL_S)
        return
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with console_on(stderr) as console, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)
        while not over():
            progress.update(task, completed=position())
            time.sleep(LOOK_INTERVAL_S)
        progress.update(task, completed=position())
