"""Removes what a compaction left behind, a slice at a time, beside the writes."""

import asyncio
import time

from pykvd.histogram import Histogram, exponential
from pykvd.logs import get_logger
from pykvd.mvcc.store import Store
from pykvd.node.committer import Committer
from pykvd.node.compaction_hashes import CompactionHashes

#: Removals that wait for the store's thread; beyond this the sweep waits for it.
PENDING_BYTES_MAX = 64 << 20

_log = get_logger("compaction")


class Sweeper:
    """One sweep at a time; a newer compaction starts it over.

    `batch` keys are looked at, then `pause` seconds are left to others. What a compaction finds is
    hashed first, where the one before it was swept up for good.
    """

    def __init__(
        self,
        store: Store,
        committer: Committer,
        hashes: CompactionHashes,
        *,
        batch: int,
        pause: float,
    ) -> None:
        self._store = store
        self._committer = committer
        self._hashes = hashes
        # Invariant: while `_complete`, the file holds what `_compacted` leaves and nothing else.
        self._compacted, self._complete = -1, False
        self._batch = batch
        self._pause = pause
        self._task: asyncio.Task[None] | None = None
        #: How long one batch held up the loop, and how long whole sweeps took; in milliseconds.
        self.batch_milliseconds = Histogram(exponential(1, 2, 13))
        self.milliseconds = Histogram(exponential(100, 2, 14))
        #: When a sweep was finished last, in seconds since the epoch.
        self.finished_at = 0.0

    @property
    def sweeping(self) -> bool:
        """Whether records of the latest compaction are still to be removed."""
        return self._task is not None

    def start(self) -> None:
        """Sweep for the store's latest compaction."""
        previous = self._compacted if self._complete else None
        self.stop()
        self._compacted, self._complete = self._store.compact_revision, False
        self._task = asyncio.get_running_loop().create_task(self._sweep(previous))

    def resume(self) -> None:
        """Go on with what another life, or another member, has not swept up yet."""
        self.stop()
        self._compacted = self._store.compact_revision
        self._complete = self._compacted < 0 or not self._store.index.past
        if not self._complete:
            self.start()

    def stop(self) -> None:
        """End the sweep; what it has not removed yet is removed by the next one."""
        if self._task:
            self._task.cancel()
            self._task = None

    async def _sweep(self, previous: int | None) -> None:
        started = time.monotonic()
        revision = self._store.compact_revision
        if previous is not None:
            await self._hashes.take(revision, previous)
        resumed = time.monotonic()
        for _ in self._store.sweep(self._batch):
            self.batch_milliseconds.observe((time.monotonic() - resumed) * 1000)
            await asyncio.sleep(self._pause)
            if self._store.backend.uncommitted_bytes > PENDING_BYTES_MAX:
                await self._committer.flush()
            resumed = time.monotonic()
        self._task = None
        self._complete = True
        self.milliseconds.observe((time.monotonic() - started) * 1000)
        self.finished_at = time.time()
        _log.info(
            "finished scheduled compaction",
            compact_revision=revision,
            took=f"{time.monotonic() - started:.6f}s",
        )

    async def swept(self) -> None:
        """Wait until the sweep in progress has removed its records from the file."""
        while self._task:
            await asyncio.wait([self._task])
        await self._committer.flush()
