"""Virtual time: one queue of events for the world, and one event loop for each process in it.

A process runs unchanged asyncio code (tasks, futures, timers) on its `ProcessLoop`. The loop can be
paused, as SIGSTOP does it, and killed, as SIGKILL does it; its clock may run fast or slow. Nothing
here reads a real clock, makes a thread or draws a random number: equal calls give equal runs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

    from tests.simulation.disk import Disk

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


TURN_STEPS_MAX = 10_000
"""Callbacks that a process may run before time passes."""
EVENTS_MAX = 1_000_000
"""Events of a run; the busiest has a tenth of that."""
EPOCH = 1_700_000_000
"""What clocks on walls show when a run begins, in seconds."""


class Scheduler:
    """Events in order of their time, those of equal time in order of arrival."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0

    def at(self, when: float, work: Callable[[], object]) -> None:
        """Run `work` at the virtual time `when`, in seconds."""
        self._number += 1
        heappush(self._queue, (max(when, self.now), self._number, work))

    def after(self, delay: float, work: Callable[[], object]) -> None:
        """Run `work` in `delay` seconds."""
        self.at(self.now + delay, work)

    def run(self, until: float) -> None:
        """Let time pass up to `until`."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, work = heappop(queue)
            self.events += 1
            assert self.events < EVENTS_MAX, "the run does not come to an end"
            work()
        self.now = until


class ProcessLoop(asyncio.BaseEventLoop):
    """The event loop of one process.

    `disk` is the machine's, for code that asks its loop for it; `rate` is how fast the process's
    clock runs and `offset` what it shows in the beginning; `wall_offset` is how wrong its time of
    day is; `stepped` is called after each turn. An exception that nobody in the process handles
    ends the run: `Scheduler.run` raises it.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        disk: Disk,
        *,
        rate: float,
        offset: float,
        wall_offset: float = 0.0,
        stepped: Callable[[], None],
    ) -> None:
        self._in_turn = False
        super().__init__()
        self.alive = True
        self.disk = disk
        self.paused_until = 0.0
        self._scheduler = scheduler
        self._rate = rate
        self._offset = offset
        self._wall_offset = wall_offset
        self._stepped = stepped
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._error: BaseException | None = None

    # From outside

    def run(self, work: Callable[[], object]) -> None:
        """Something reaches the process: at once, after its pause, or never if it is dead."""
        if not self.alive:
            return
        if self._scheduler.now < self.paused_until:
            self._scheduler.at(self.paused_until, lambda: self.run(work))
            return
        self._turn(work)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while, beyond what is begun."""
        self.paused_until = max(self.paused_until, self._scheduler.now + seconds)

    def kill(self) -> None:
        """End the process: nothing that it still does has an effect."""
        self.alive = False
        self._ready.clear()
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                # What its `finally` blocks do, a dead process does not: they may fail.
                with suppress(Exception):
                    task.get_coro().close()
        asyncio._set_running_loop(before)
        self._tasks.clear()

    def _turn(self, work: Callable[[], object]) -> None:
        assert asyncio._get_running_loop() is None, "turns do not nest"
        asyncio._set_running_loop(self)
        self._in_turn = True
        try:
            work()
            steps = 0
            while self._ready and self.alive:
                steps += 1
                assert steps < TURN_STEPS_MAX, "a process goes round in circles"
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            self._in_turn = False
            asyncio._set_running_loop(None)
        if self._error is not None:
            raise self._error
        if self.alive:
            self._stepped()

    # What asyncio code asks of its loop

    def time(self) -> float:
        """The process's own clock, in seconds."""
        return self._offset + self._scheduler.now * self._rate

    def time_of_day(self) -> int:
        """Nanoseconds since the epoch, by the clock on the machine's wall."""
        return round((EPOCH + self._wall_offset + self._scheduler.now * self._rate) * 1e9)

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run in this turn, or in one of its own."""
        handle = asyncio.Handle(callback, args, self, context)
        if self.alive:
            self._ready.append(handle)
            if not self._in_turn:
                self._scheduler.at(self._scheduler.now, lambda: self.run(lambda: None))
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """The same: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run when the process's clock has advanced by `delay` seconds."""
        handle = asyncio.TimerHandle(self.time() + delay, callback, args, self, context)

        def fire() -> None:
            if not handle.cancelled():
                self.run(lambda: None if handle.cancelled() else handle._run())

        self._scheduler.after(delay / self._rate, fire)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run at a time of the process's clock."""
        return self.call_later(when - self.time(), callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers come up and are ignored."""

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """A task of this loop, ended by `kill`."""
        task = asyncio.Task(coro, loop=self, name=str(name) if name else None, context=context)
        self._tasks = [each for each in self._tasks if not each.done()]
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        """Asyncio's debug mode is never on."""
        return False

    def is_closed(self) -> bool:
        """It holds nothing that would have to be closed."""
        return True

    def is_running(self) -> bool:
        """Whether a turn is in progress."""
        return self._in_turn

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Take an exception that nobody handled; it ends the run."""
        if self.alive and self._error is None:
            self._error = context.get("exception") or RuntimeError(context["message"])
