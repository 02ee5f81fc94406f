"""Removes what a compaction left behind, a slice at a time, beside the writes."""

import asyncio
import time

from pykvd.logs import get_logger
from pykvd.mvcc.store import Store
from pykvd.node.committer import Committer

#: Removals that wait for the store's thread; beyond this the sweep waits for it.
PENDING_BYTES_MAX = 64 << 20

_log = get_logger("compaction")


class Sweeper:
    """One sweep at a time; a newer compaction starts it over.

    `batch` keys are looked at, then `pause` seconds are left to others.
    """

    def __init__(self, store: Store, committer: Committer, *, batch: int, pause: float) -> None:
        self._store = store
        self._committer = committer
        self._batch = batch
        self._pause = pause
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweep for the store's latest compaction."""
        self.stop()
        self._task = asyncio.get_running_loop().create_task(self._sweep())

    def stop(self) -> None:
        """End the sweep; what it has not removed yet is removed by the next one."""
        if self._task:
            self._task.cancel()
            self._task = None

    async def _sweep(self) -> None:
        started = time.monotonic()
        revision = self._store.compact_revision
        for _ in self._store.sweep(self._batch):
            await asyncio.sleep(self._pause)
            if self._store.backend.uncommitted_bytes > PENDING_BYTES_MAX:
                await self._committer.flush()
        self._task = None
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
