"""The store's file in memory, under the real `Backend`.

`MemoryEnvironment` has the interface of `pykvd.mvcc.environment.Environment`: a write is atomic and
durable when it returns, which is what LMDB promises. `SimulatedBackend` is the real backend with
its thread replaced by jobs that take virtual time, so that a crash loses the batch under way.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pykvd.mvcc.backend import Backend
from pykvd.mvcc.environment import TABLES

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.simulation.disk import Disk


class MemoryEnvironment:
    """See `pykvd.mvcc.environment.Environment`; `disk` is where its copies go."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        # Ids only ever ascend, so that insertion order is id order.
        self._records: dict[int, bytes] = {}
        self._tables: dict[str, dict[bytes, bytes]] = {name: {} for name in TABLES if name != "kv"}
        self._last = 0

    def write(
        self,
        records: Sequence[tuple[int, bytes]],
        deleted: Iterable[int],
        meta: Mapping[tuple[str, bytes], bytes | None],
    ) -> None:
        """Commit records (ascending ids beyond all stored ones), removals and table entries."""
        for record_id, framed in records:
            assert record_id > self._last, "ids must ascend"
            self._records[record_id] = framed
            self._last = record_id
        for record_id in deleted:
            self._records.pop(record_id, None)
        for (table, key), value in meta.items():
            if value is None:
                self._tables[table].pop(key, None)
            else:
                self._tables[table][key] = value

    def get(self, record_id: int) -> bytes | None:
        """The value of one record."""
        return self._records.get(record_id)

    def get_many(self, record_ids: Iterable[int]) -> list[bytes | None]:
        """The values of records, in the order asked for."""
        return [self._records.get(record_id) for record_id in record_ids]

    def scan(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Records with `first <= id <= last`, ascending, as of now."""
        found = [item for item in self._records.items() if first <= item[0] <= last]
        yield from found

    def table(self, name: str) -> list[tuple[bytes, bytes]]:
        """All entries of one of the small tables, in key order."""
        return sorted(self._tables[name].items())

    def everything(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Every `(table, key, value)`, tables in name order."""
        for name in sorted(TABLES):
            if name == "kv":
                for record_id, framed in self._records.items():
                    yield name, record_id.to_bytes(12, "big"), framed
            else:
                for key, value in self.table(name):
                    yield name, key, value

    def sizes(self) -> tuple[int, int]:
        """`(bytes of the file, bytes of it in use)`."""
        size = sum(map(len, self._records.values()))
        return size, size

    def duplicate(self) -> MemoryEnvironment:
        """An independent copy."""
        copy = MemoryEnvironment(self._disk)
        copy._records = dict(self._records)
        copy._tables = {name: dict(table) for name, table in self._tables.items()}
        copy._last = self._last
        return copy

    def copy_to(self, path: Path) -> None:
        """Write a copy to the directory `path`."""
        self._disk.files_by_path[path / "data.mdb"] = self.duplicate()

    def adopt(self, file: Path, path: Path) -> None:
        """Move a data file from elsewhere on this disk into the new directory `path`."""
        self._disk.files_by_path[path / "data.mdb"] = self._disk.files_by_path.pop(file)

    def successor(self, fill: Callable[[Path], None]) -> MemoryEnvironment:
        """Have a new file filled, and switch to it on disk."""
        path = self._disk.incoming()
        fill(path)
        successor = self._disk.files_by_path.pop(path / "data.mdb").duplicate()
        successor._disk = self._disk
        self._disk.environment = successor
        return successor

    def close(self) -> None:
        """Nothing to release."""

    def remove(self) -> None:
        """Nothing to delete."""


class _Jobs:
    """Stands in for the queue of the backend's thread: one job at a time, `seconds()` each."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: Callable[[], float]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._queue: deque[Callable[[], None]] = deque()
        self._busy = False

    def put(self, job: Callable[[], None] | None) -> None:
        """Queue a job; None would end the thread."""
        if job is None:
            return
        self._queue.append(job)
        self._next()

    def _next(self) -> None:
        if self._queue and not self._busy:
            self._busy = True
            self._loop.call_later(self._seconds(), self._run)

    def _run(self) -> None:
        self._busy = False
        self._queue.popleft()()
        self._next()


class SimulatedBackend(Backend):
    """The real backend, but for the thread that does its jobs."""

    def __init__(
        self,
        environment: MemoryEnvironment,
        *,
        loop: asyncio.AbstractEventLoop,
        seconds: Callable[[], float],
        recent_bytes: int,
    ) -> None:
        super().__init__(
            environment,  # type: ignore[arg-type]  # the same interface, in memory
            # At once: jobs run on the loop already, and some wait for what they post.
            post=lambda work: work(),
            on_failure=self._raise,
            recent_bytes=recent_bytes,
        )
        self._jobs = _Jobs(loop, seconds)  # type: ignore[assignment]

    def _run(self) -> None:
        """The thread of the base class ends at once."""

    @staticmethod
    def _raise(error: BaseException) -> None:
        raise error
