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
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pykvd.wal.log import Wal
    from pykvd.wal.record import Record

__all__ = ["WalWriter"]


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
        self._thread = threading.Thread(target=self._run, name="pykvd-wal", daemon=True)
        self._thread.start()

    def submit(self, records: Sequence[Record], done: Callable[[], None]) -> None:
        """Make the records durable, in the order of the calls, then call `done`.

        Returns at once; from any thread. `done` runs on the writer's thread and should only hand
        over. `records` must not change any more.
        """
        self._tasks.put(_Submission(records, done))

    def release(self, index: int) -> None:
        """Delete old segments (`Wal.release`) once everything submitted before is durable."""
        self._tasks.put(_Release(index))

    def stop(self) -> None:
        """Finish what was submitted, close the log, and join the thread; again is fine."""
        self._tasks.put(_Stop())
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._commit(self._take()):
                pass
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
            self._wal.commit(records)
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
