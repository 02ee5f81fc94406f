"""The store's disk side: recent records in memory, a thread that writes LMDB in batches.

The loop thread applies a command by adding records and table entries to the pending batch; every
batch becomes one LMDB transaction that also carries the applied index, so the file is always the
exact state at some applied index. A record can be read at any time: it stays in `_recent` at
least until its batch is committed, and longer while there is room, for watchers that lag a little.

The thread runs jobs in order: commits, copies, the switch to a defragmented file. While a copy
runs, batches wait in memory, so the copy is the exact state at its start and the switch loses
nothing; neither readers nor writers wait for it.
"""

import asyncio
import queue
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from pykvd.histogram import timing
from pykvd.mvcc.digest import Digest
from pykvd.mvcc.environment import Environment
from pykvd.mvcc.hash import hash_all, hash_kv
from pykvd.mvcc.statistics import BackendStatistics

T = TypeVar("T")

#: Memory for committed records that are kept for watchers and hot reads.
RECENT_BYTES = 32 << 20
#: Rough cost of a record beside its bytes: dict slot, int id, bytes header.
RECORD_OVERHEAD = 150
DIGEST_KEY = b"digest"


class Batch:
    """Changes that will share one LMDB transaction."""

    __slots__ = ("deleted", "dropped", "meta", "records", "removed", "size")

    def __init__(self) -> None:
        self.records: list[int] = []
        self.deleted: list[int] = []
        self.meta: dict[tuple[str, bytes], bytes | None] = {}
        #: Records that were removed while this batch was being committed: it must hold them still,
        #: or the file would not be the state at its applied index.
        self.removed: dict[int, bytes] = {}
        #: Records that were removed before this batch was committed: the file never holds them, but
        #: the digest is of all that was written.
        self.dropped: dict[int, bytes] = {}
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self.records or self.deleted or self.meta)


class Backend:
    """Records by id, small tables, batched commits.

    All methods are for the loop thread. `post` brings a completion from the writer thread back
    to it (`loop.call_soon_threadsafe`). `on_failure` is called once, on the writer thread, when a
    commit fails; nothing is written after that.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        post: Callable[[Callable[[], object]], object],
        on_failure: Callable[[BaseException], None],
        recent_bytes: int = RECENT_BYTES,
    ) -> None:
        self._environment = environment
        self._recent_bytes = recent_bytes
        self._post = post
        #: May be handed on to whoever takes the backend over.
        self.on_failure = on_failure
        self._failed = False
        self.statistics = BackendStatistics()
        #: Long reads that wait or are under way.
        self.reading = 0
        self._recent: dict[int, bytes] = {}
        self._pending = Batch()
        self._committing: Batch | None = None
        self._installing = False
        self._committed: deque[Batch] = deque()
        self._committed_bytes = 0
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        #: Tells a defragmentation that the loop reads the new file (or, with False, never will).
        self._switched: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._sizes = environment.sizes()
        self.digest = _load_digest(environment)
        """Of all records of the file, and those removed from it. Replaced with the file."""
        self._thread = threading.Thread(target=self._run, name="pykvd-backend", daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        """Bytes of the data file as of the last commit."""
        return self._sizes[0]

    @property
    def size_in_use(self) -> int:
        """Bytes of the data file less its free pages, as of the last commit."""
        return self._sizes[1]

    @property
    def pending_records(self) -> int:
        """Records that wait for the next commit."""
        return len(self._pending.records)

    @property
    def uncommitted_bytes(self) -> int:
        """Bytes of records that only the log holds so far."""
        committing = self._committing.size if self._committing else 0
        return self._pending.size + committing

    @property
    def removing(self) -> bool:
        """Whether the file still holds records that were removed."""
        return bool(self._pending.deleted or (self._committing and self._committing.deleted))

    @property
    def idle(self) -> bool:
        """Whether a commit may begin: none is under way, and the file is not being replaced."""
        return self._committing is None and not self._installing

    def add(self, record_id: int, framed: bytes) -> None:
        """Add a record; ids ascend."""
        self._recent[record_id] = framed
        batch = self._pending
        batch.records.append(record_id)
        batch.size += len(framed)

    def add_all(self, record_ids: list[int], framed: list[bytes]) -> None:
        """Add records; ids ascend."""
        self._recent.update(zip(record_ids, framed, strict=True))
        batch = self._pending
        batch.records += record_ids
        batch.size += sum(map(len, framed))

    def remove(self, record_ids: Iterable[int]) -> None:
        """Delete records; recent ones are gone at once, those in the file with the next commit."""
        batch, pending = self._committing, self._pending
        for record_id in record_ids:
            if pending.records and record_id >= pending.records[0]:
                pending.dropped[record_id] = self._recent[record_id]
            elif batch and batch.records and batch.records[0] <= record_id <= batch.records[-1]:
                # In this order: the writer looks for it here when it is gone from there.
                batch.removed[record_id] = self._recent[record_id]
            self._recent.pop(record_id, None)
            self._pending.deleted.append(record_id)

    def set(self, table: str, key: bytes, value: bytes | None) -> None:
        """Write (or, with None, delete) an entry of a small table with the next commit."""
        self._pending.meta[table, key] = value

    def get(self, record_id: int) -> bytes:
        """A record that the index knows."""
        framed = self._recent.get(record_id)
        if framed is None:
            framed = self._environment.get(record_id)
            if framed is None:
                raise KeyError(record_id)
        return framed

    def get_many(self, record_ids: list[int]) -> list[bytes]:
        """Records that the index knows, in the order asked for."""
        if record_ids and max(record_ids) < self._oldest_recent():
            found: list[bytes | None] = self._environment.get_many(record_ids)
            if None in found:
                raise KeyError("record removed by compaction")
            return found  # type: ignore[return-value]  # no None is in it
        recent = self._recent.get
        found = [recent(record_id) for record_id in record_ids]
        missing = [position for position, framed in enumerate(found) if framed is None]
        if missing:
            stored = self._environment.get_many(record_ids[position] for position in missing)
            for position, framed in zip(missing, stored, strict=True):
                found[position] = framed
            if None in stored:
                raise KeyError("record removed by compaction")
        return found  # type: ignore[return-value]  # no None is left

    def _oldest_recent(self) -> int:
        """Records below this id are in the file alone."""
        batches = self._recent_batches()
        return next((batch.records[0] for batch in batches if batch.records), 1 << 96)

    def _recent_batches(self) -> list[Batch]:
        committing = [self._committing] if self._committing else []
        return [*self._committed, *committing, self._pending]

    def since(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` records with id >= `first`, ascending, wherever they are."""
        oldest = self._oldest_recent()
        out: list[tuple[int, bytes]] = []
        if first < oldest:
            for item in self._environment.scan(first, oldest - 1):
                out.append(item)
                if len(out) >= limit:
                    return out
        for batch in self._recent_batches():
            for record_id in batch.records[bisect_left(batch.records, first) :]:
                framed = self._recent.get(record_id)
                if framed is not None:
                    out.append((record_id, framed))
                if len(out) >= limit:
                    return out
        return out

    def commit(self, done: Callable[[], None] | None = None) -> None:
        """Hand the pending batch to the writer; `done` runs on the loop after the commit.

        Only one commit is under way at a time: the caller waits for `idle`, or uses `flush`.
        """
        assert self.idle
        batch, self._pending = self._pending, Batch()
        self.statistics.record_bytes += batch.size
        self._committing = batch
        ids = batch.records

        def work() -> None:
            started = perf_counter()
            recent, removed, dropped = self._recent, batch.removed, batch.dropped
            written = [recent.get(each) or removed.get(each) or dropped[each] for each in ids]
            if ids:
                self.digest.extend(ids, written)
                batch.meta["meta", DIGEST_KEY] = self.digest.encode()
            records = list(zip(ids, written, strict=True))
            if dropped:
                records = [item for item in records if item[0] not in dropped]
            self._environment.write(records, batch.deleted, batch.meta)
            self._sizes = self._environment.sizes()
            self.statistics.commit_seconds.observe(perf_counter() - started)
            self._post(finish)

        def finish() -> None:
            self._committing = None
            batch.removed.clear()
            batch.dropped.clear()
            self._retain(batch)
            if done:
                done()

        self._jobs.put(work)

    def _retain(self, batch: Batch) -> None:
        self._committed.append(batch)
        self._committed_bytes += batch.size + RECORD_OVERHEAD * len(batch.records)
        # Invariant: only batches that are committed leave `_recent`.
        while self._committed_bytes > self._recent_bytes:
            old = self._committed.popleft()
            self._committed_bytes -= old.size + RECORD_OVERHEAD * len(old.records)
            for record_id in old.records:
                self._recent.pop(record_id, None)

    async def defragment(self) -> None:
        """Rewrite the data file without its free pages, then switch to the new one."""
        statistics = self.statistics
        statistics.defragmenting += 1
        try:
            with timing(statistics.defragment_seconds):
                await self._replace(
                    lambda environment, path: environment.copy_to(path), lambda: None
                )
        finally:
            statistics.defragmenting -= 1

    async def install(self, file: Path, reload: Callable[[], None]) -> None:
        """Switch to a data file from elsewhere; all that is pending or cached is dropped.

        No commit begins meanwhile: it would put old changes into the new file. `reload` runs in
        the turn of the switch: nobody may look up old ids in the new file.
        """

        def forget() -> None:
            self._recent.clear()
            self._committed.clear()
            self._committed_bytes = 0
            self._pending = Batch()
            self.digest = _load_digest(self._environment)
            reload()

        self._installing = True
        try:
            await self._replace(lambda environment, path: environment.adopt(file, path), forget)
        finally:
            self._installing = False

    async def _replace(
        self, fill: Callable[[Environment, Path], None], switched: Callable[[], None]
    ) -> None:
        def work(environment: Environment) -> None:
            successor = environment.successor(lambda path: fill(environment, path))
            self._post(lambda: switch(successor))
            if self._switched.get():
                environment.remove()
            else:
                # Closing: the jobs behind this one go to the old file, which must stay the newest.
                successor.remove()

        def switch(successor: Environment) -> None:
            # On the loop thread, the only one that reads outside of jobs.
            self._environment = successor
            self._sizes = successor.sizes()
            switched()
            self._switched.put(True)

        await self.read(work)

    async def copy(self, path: Path) -> None:
        """Write a compacted copy of the committed state to the new directory `path`."""
        with timing(self.statistics.copy_seconds):
            await self.read(lambda environment: environment.copy_to(path))

    async def hash(self) -> int:
        """Hash the whole committed file."""
        with timing(self.statistics.hash_seconds):
            return await self.read(hash_all)

    async def hash_revision(self, revision: int, compact_revision: int) -> int:
        """Hash the committed records up to a revision, under a compaction (`hash_kv`)."""
        with timing(self.statistics.hash_revision_seconds):
            return await self.read(lambda each: hash_kv(each, revision, compact_revision))

    async def read(self, work: Callable[[Environment], T]) -> T:
        """Run long work on the committed state on the writer thread."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def job() -> None:
            try:
                result = work(self._environment)
            except Exception as error:  # noqa: BLE001  # raised where it is awaited
                failure = error
                self._post(lambda: fail(failure))
            else:
                self._post(lambda: finish(result))

        def finish(result: T) -> None:
            if not future.done():
                future.set_result(result)

        def fail(error: Exception) -> None:
            if not future.done():
                future.set_exception(error)

        self._jobs.put(job)
        self.reading += 1
        try:
            return await future
        finally:
            self.reading -= 1

    def scan(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Committed records by id, for loading."""
        return self._environment.scan(first, last)

    def table(self, name: str) -> list[tuple[bytes, bytes]]:
        """Committed entries of a small table, for loading."""
        return self._environment.table(name)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._failed:
                continue
            try:
                job()
            except Exception as error:  # noqa: BLE001  # whatever failed, the store must not go on
                self._failed = True
                self.on_failure(error)

    def close(self) -> None:
        """Finish the queued jobs and close the file; what is not committed stays in the log."""
        self._switched.put(False)
        self._jobs.put(None)
        self._thread.join()
        self._environment.close()


def _load_digest(environment: Environment) -> Digest:
    found = dict(environment.table("meta")).get(DIGEST_KEY)
    return Digest.decode(found) if found else Digest()
