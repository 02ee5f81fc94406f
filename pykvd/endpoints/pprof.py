"""`/debug/pprof/`: where Go's profiles are looked for, what Python can tell in their place.

All answers are text. Stacks are one line each, outermost call first, with a count: the form that
flame graph tools read.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Final

from pykvd.endpoints.about import get_only
from pykvd.http.message import text_response
from pykvd.http.tasks import async_handler

if TYPE_CHECKING:
    from types import FrameType

    from pykvd.http import Exchange, Handler, Response

ROOT: Final = "/debug/pprof/"
_PERIOD_S: Final = 0.01
_DEFAULT_SECONDS: Final = 30.0
_MAX_SECONDS: Final = 300.0
_TOP: Final = 100

_INDEX: Final = """pykvd profiles

profile?seconds=N  stacks of all threads, sampled every 10 ms for N seconds (default 30)
goroutine          the stacks of all threads and asyncio tasks as they are now
threadcreate       the threads
heap, allocs       the lines that hold most memory, when tracemalloc runs (PYTHONTRACEMALLOC=1)
cmdline            the command line

Not there, because Python has nothing like it: block, mutex, symbol, trace.
"""


def pprof_routes() -> dict[str, Handler]:
    """The profiles by path."""
    routes = {
        ROOT: get_only(_index),
        ROOT + "cmdline": get_only(lambda _: text_response(200, "\0".join(sys.orig_argv))),
        ROOT + "goroutine": get_only(lambda _: text_response(200, _stacks())),
        ROOT + "threadcreate": get_only(lambda _: text_response(200, _threads())),
        ROOT + "heap": get_only(lambda _: text_response(200, _heap())),
        ROOT + "allocs": get_only(lambda _: text_response(200, _heap())),
        ROOT + "profile": async_handler(_profile),
    }
    for name in ("block", "mutex", "symbol", "trace"):
        routes[ROOT + name] = get_only(
            lambda _: text_response(501, "Python has no such profile; see /debug/pprof/\n")
        )
    return routes


def _index(exchange: Exchange) -> Response:
    if exchange.head.path != ROOT:
        return text_response(404, "Unknown profile\n")
    return text_response(200, _INDEX)


def _threads() -> str:
    threads = [f"{thread.name} daemon={thread.daemon}\n" for thread in threading.enumerate()]
    return f"{len(threads)} threads\n" + "".join(threads)


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():
        stack = "".join(traceback.format_stack(frame))
        parts.append(f"thread {names.get(ident, ident)}\n{stack}\n")
    for task in asyncio.all_tasks():
        stack = "".join("".join(traceback.format_stack(frame)) for frame in task.get_stack())
        parts.append(f"task {task.get_name()} {task.get_coro()!r}\n{stack}\n")
    return "".join(parts)


def _heap() -> str:
    head = f"{sys.getallocatedblocks()} blocks, {len(gc.get_objects())} tracked objects\n"
    if not tracemalloc.is_tracing():
        return head + "tracemalloc is off: start the server with PYTHONTRACEMALLOC=1 for lines\n"
    statistics = tracemalloc.take_snapshot().statistics("lineno")
    return head + "".join(f"{statistic}\n" for statistic in statistics[:_TOP])


async def _profile(exchange: Exchange) -> Response:
    text = exchange.head.parameters.get("seconds", [str(_DEFAULT_SECONDS)])[0]
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= _MAX_SECONDS:
        return text_response(400, f"seconds must be a number up to {_MAX_SECONDS:g}\n")
    stop = threading.Event()
    try:
        return text_response(200, await asyncio.to_thread(_sample, seconds, stop))
    finally:
        stop.set()


def _sample(seconds: float, stop: threading.Event) -> str:
    """Count the stacks of the other threads; in a thread, so that the loop is seen at work."""
    own = threading.get_ident()
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop.wait(_PERIOD_S):
        for ident, frame in sys._current_frames().items():
            if ident != own:
                counts[_folded(frame)] += 1
    return "".join(f"{stack} {count}\n" for stack, count in counts.most_common())


def _folded(frame: FrameType | None) -> str:
    names = []
    while frame is not None:
        code = frame.f_code
        names.append(f"{code.co_filename.rpartition('/')[2]}:{code.co_qualname}")
        frame = frame.f_back
    return ";".join(reversed(names))
