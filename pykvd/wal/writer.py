"""The thread that owns the log: group commit.

While one batch is being written and synced, submissions queue up; the thread then takes all of them
and makes them durable with one write and one sync. A lone submission waits for nothing but its own.

The thread needs the interpreter lock twice for a batch. A thread that releases and retakes the lock
more often than `sys.getswitchinterval()`, as a busy event loop does, starves it (seconds were seen
at the default of 5 ms): a process that uses this class should set the interval to 0.1-0.2 ms.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pykvd.histogram import DISK_BOUNDS, Histogram
from pykvd.wal.errors import WalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pykvd.wal.log import Wal
    from pykvd.wal.record import Record

__all__ = ["WalWriter"]


QUICK_S = 0.0005
"""A disk whose syncs take less than this, on average, may be waited for (`commit_now`)."""
_SMOOTHING = 0.1


class _Submission(NamedTuple):
    records: Sequence[Record]
    done: Callable[[], None]


class _Release(NamedTuple):
    before: int


class _Stop(NamedTuple):
    pass


_Task: TypeAlias = _Submission | _Release | _Stop


class WalWriter:
    """Owns `wal` from now on, and closes it in the end.

    `on_failure` is called once, on the writer's thread, with the error that ended it; no `done` is
    called after that, for nothing that was not reported durable may be taken for durable.
    """

    def __init__(self, wal: Wal, on_failure: Callable[[BaseException], None]) -> None:
        self._wal = wal
        self._on_failure = on_failure
        self._tasks: SimpleQueue[_Task] = SimpleQueue()
        self._owner = threading.Lock()
        self._average_s = 0.0
        self.sync_seconds = Histogram(DISK_BOUNDS)
        """How long a batch took to become durable: its write and its sync, which are one call."""
        self._thread = threading.Thread(target=self._run, name="pykvd-wal", daemon=True)
        self._thread.start()

    def submit(self, records: Sequence[Record], done: Callable[[], None]) -> None:
        """Make the records durable, in the order of the calls, then call `done`.

        Returns at once; from any thread. `done` runs on the writer's thread and should only hand
        over. `records` must not change any more.
        """
        self._tasks.put(_Submission(records, done))

    def commit_now(self, records: Sequence[Record]) -> bool:
        """Make the records durable on the caller's thread, if the disk is quick and nobody uses it.

        Handing a lone small batch to the thread and back costs as much as its sync. False means
        that nothing can be said of the records: `submit` them. To be called only when everything
        submitted before with entries or a hard state has been reported done.
        """
        if self._average_s > QUICK_S or not self._owner.acquire(blocking=False):
            return False
        try:
            self._write(records)
        except WalError:
            # The log remembers; the thread meets the same error and reports it.
            return False
        finally:
            self._owner.release()
        return True

    def _write(self, records: Sequence[Record]) -> None:
        started = perf_counter()
        self._wal.commit(records)
        taken = perf_counter() - started
        self.sync_seconds.observe(taken)
        # One slow sync among quick ones says little: it counts as a few quick ones.
        self._average_s += _SMOOTHING * (min(taken, 4 * QUICK_S) - self._average_s)

    @property
    def written_bytes(self) -> int:
        """Bytes of records written since the log was opened."""
        return self._wal.written_bytes

    def release(self, index: int) -> None:
        """Delete old segments (`Wal.release`) once everything submitted before is durable."""
        self._tasks.put(_Release(index))

    def stop(self) -> None:
        """Finish what was submitted, close the log, and join the thread; again is fine."""
        self._tasks.put(_Stop())
        self._thread.join()

    def _run(self) -> None:
        try:
            going = True
            while going:
                tasks = self._take()
                with self._owner:
                    going = self._commit(tasks)
            self._wal.close()
        except BaseException as error:  # noqa: BLE001 - its owner decides
            self._close_after_failure()
            self._on_failure(error)

    def _take(self) -> list[_Task]:
        """Everything that is queued; waits for the first."""
        tasks = [self._tasks.get()]
        try:
            while True:
                tasks.append(self._tasks.get_nowait())
        except Empty:
            return tasks

    def _commit(self, tasks: list[_Task]) -> bool:
        """One write and one sync for all of them; False when asked to stop."""
        records: list[Record] = []
        for task in tasks:
            if isinstance(task, _Submission):
                records.extend(task.records)
        if records:
            self._write(records)
        for task in tasks:
            if isinstance(task, _Submission):
                task.done()
        releases = [task.before for task in tasks if isinstance(task, _Release)]
        if releases:
            self._wal.release(max(releases))
        return not any(isinstance(task, _Stop) for task in tasks)

    def _close_after_failure(self) -> None:
        with suppress(OSError):
            self._wal.close()
