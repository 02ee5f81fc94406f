"""Automatic compaction, by age (`periodic`) or by number of revisions (`revision`)."""

import asyncio
import time
from collections import deque

from pykvd.errors import RpcError
from pykvd.logs import get_logger
from pykvd.node.commands import Command
from pykvd.node.node import Node
from pykvd.pb import rpc_pb2 as rpc

#: Revision mode looks this often (etcd's figure), seconds.
REVISION_INTERVAL = 300.0
#: Periodic mode samples revisions ten times an hour, or ten times per shorter retention.
SAMPLES = 10
HOUR = 3600.0

_log = get_logger("compactor")


class AutoCompactor:
    """Compacts in the background; a retention of 0 turns it off.

    `retention` is seconds in mode `periodic`, a number of revisions in mode `revision`, which looks
    every `interval` seconds.
    """

    def __init__(
        self, node: Node, mode: str, retention: float, *, interval: float = REVISION_INTERVAL
    ) -> None:
        self._node = node
        self._retention = retention
        self._interval = interval
        self._mode = mode
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the background work."""
        if self._retention > 0:
            work = self._periodic() if self._mode == "periodic" else self._by_revision()
            self._task = asyncio.get_running_loop().create_task(work)

    def stop(self) -> None:
        """End the background work."""
        if self._task:
            self._task.cancel()

    async def _periodic(self) -> None:
        """Compact every retention period, at most hourly, to the revision of a retention ago."""
        interval = min(self._retention, HOUR) / SAMPLES
        samples: deque[int] = deque(maxlen=round(self._retention / interval))
        ticks = 0
        while True:
            samples.append(self._node.store.revision)
            await asyncio.sleep(interval)
            ticks += 1
            if len(samples) == samples.maxlen and ticks % SAMPLES == 0:
                await self._compact(samples[0])

    async def _by_revision(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self._compact(self._node.store.revision - int(self._retention))

    async def _compact(self, revision: int) -> None:
        if revision <= max(0, self._node.store.compact_revision) or not self._node.is_leader:
            return
        mode = f"auto {self._mode} compaction"
        started = time.monotonic()
        _log.info(f"starting {mode}", revision=revision)
        try:
            await self._node.execute(Command.COMPACT, rpc.CompactionRequest(revision=revision))
        except RpcError as error:
            _log.warn(f"failed {mode}", revision=revision, error=error.message)
        else:
            took = f"{time.monotonic() - started:.6f}s"
            _log.info(f"completed {mode}", revision=revision, took=took)
