"""A whole member in the simulation: the real node and API services in a process of virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from pykvd.api.access import Access
from pykvd.api.kv import KVService
from pykvd.api.lease import LeaseService
from pykvd.api.watch import WatchService
from pykvd.node.node import Node
from pykvd.node.quota import Quota
from tests.simulation.disk import Disk, SimulatedWalWriter
from tests.simulation.loop import ProcessLoop
from tests.simulation.peers import SimulatedPeers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pykvd.node.config import NodeConfig
    from pykvd.node.storage import Storage
    from pykvd.raft import Entry, Snapshot, SoftState
    from pykvd.wal import Wal
    from tests.simulation.world import World

PROGRESS_SECONDS = 2.0
"""Seconds between periodic progress notices of a watch."""


class ObservedNode(Node):
    """The node, telling the checks what it applies."""

    def __init__(self, process: Process, config: NodeConfig, storage: Storage) -> None:
        self._host = process
        super().__init__(
            config,
            storage,
            make_network=lambda _node: process.peers,
            on_failure=process.failed,
            on_removed=process.removed,
            log_writer=process.make_log_writer,
        )

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply, then have it checked."""
        super().apply(entries)
        self._host.world.checks.applied(self._host, entries)

    async def install(self, snapshot: Snapshot) -> None:
        """Install, then have it checked."""
        await super().install(snapshot)
        self._host.world.note("m%d installed a snapshot at %d", self.member_id, snapshot.index)
        self._host.world.count("snapshot installed")
        self._host.world.checks.loaded(self._host)

    def role_changed(self, state: SoftState) -> None:
        """Take note of who leads."""
        super().role_changed(state)
        if state.leader == self.member_id:
            self._host.world.note("m%d leads term %d", self.member_id, self.header.term)


class Process:
    """One member through all its lives: a disk that stays, and a process that comes and goes."""

    def __init__(self, world: World, member_id: int, disk: Disk, config: NodeConfig) -> None:
        self.world = world
        self.id = member_id
        self.disk = disk
        self.config = config
        self.rate = 1.0
        self.running = False
        self.serving = False
        """Whether clients can connect: the node has started."""
        self.gone = False
        """Whether the member was removed from the cluster."""
        self.loop: ProcessLoop
        self.peers: SimulatedPeers
        self.node: ObservedNode

    def start(self) -> None:
        """Begin a new life from what the disk holds, unless there is one."""
        if self.running or self.gone:
            return
        world = self.world
        self.loop = ProcessLoop(
            world.scheduler,
            self.disk,
            rate=self.rate,
            offset=world.rng.uniform(0, 1000),
            stepped=lambda: world.checks.stepped(self),
        )
        self.running = True
        self.loop.run(self._boot)

    def _boot(self) -> None:
        storage = self.disk.open(self.loop)
        self.world.checks.opened(self, storage)
        self.peers = SimulatedPeers(self)
        self.node = ObservedNode(self, self.config, storage)
        quota = Quota(self.node, 0)
        access = Access(self.node)
        self.kv = KVService(self.node, quota, access, max_txn_ops=128)
        self.lease = LeaseService(self.node, quota, access)
        self.watch = WatchService(self.node, access, progress_interval=PROGRESS_SECONDS)
        self.world.checks.started(self)
        self.loop.create_task(self._serve())

    async def _serve(self) -> None:
        await self.node.start()
        self.serving = True

    def make_log_writer(
        self, wal: Wal, _on_failure: Callable[[BaseException], None]
    ) -> SimulatedWalWriter:
        """The log's writer on this member's disk."""
        return SimulatedWalWriter(wal, self.disk, self.world.checks.log_of(self))

    def crash(self) -> None:
        """Power off: the process is gone, and so is what was not synced."""
        if not self.running:
            return
        self.loop.kill()
        self.running = self.serving = False
        self.disk.crash()
        self.world.disconnected(self)

    def failed(self, error: BaseException) -> None:
        """The node cannot go on; no disk fails here, so this is a bug."""
        raise error

    def removed(self) -> None:
        """The node has learned that it is no member any more."""
        if not self.gone:
            self.gone = True
            self.world.note("m%d is removed", self.id)
            self.world.scheduler.after(0.0, self._exit)

    def _exit(self) -> None:
        if self.running:
            self.loop.kill()
            self.running = self.serving = False
            self.world.disconnected(self)

    def pause(self, seconds: float) -> None:
        """Stop the process for a while; its clock runs on."""
        if self.running:
            self.loop.paused_until = self.world.scheduler.now + seconds


def current_disk() -> Disk:
    """The disk of the process whose turn it is."""
    return cast(ProcessLoop, asyncio.get_running_loop()).disk
