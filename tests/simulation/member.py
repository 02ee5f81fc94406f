"""A whole member in the simulation: the real node and API services in a process of virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from pykvd.auth.tokens import SimpleTokens
from pykvd.node.disaster import expel_others
from pykvd.node.node import Node
from tests.simulation.disk import Disk, SimulatedWalWriter, Unsynced
from tests.simulation.loop import ProcessLoop
from tests.simulation.offered import Offered
from tests.simulation.peers import SimulatedPeers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pykvd.node.config import NodeConfig
    from pykvd.node.storage import Storage
    from pykvd.raft import Entry, Snapshot, SoftState
    from pykvd.wal import Wal
    from tests.simulation.world import World


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
            tokens=SimpleTokens(process.world.plan.token_seconds, asyncio.get_running_loop().time),
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
        """Whether clients can connect: the node has started and is not stopping."""
        self.gone = False
        """Whether the member was removed from the cluster."""
        self.stopping = False
        self.forced = False
        """Whether it is started with --force-new-cluster."""
        self.loop: ProcessLoop
        self.peers: SimulatedPeers
        self.node: ObservedNode
        self.offered: Offered

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
            wall_offset=world.rng.uniform(-1, 1) * world.plan.wall_skew,
            stepped=lambda: world.checks.stepped(self),
        )
        self.running, self.stopping = True, False
        self.loop.run(self._boot)

    @property
    def serves_all(self) -> bool:
        """Whether clients can connect, and are not sent away as by a learner."""
        return self.serving and not self.node.is_learner

    def start_torn(self) -> None:
        """Begin with --force-new-cluster, and lose power before what that writes is synced."""
        loop = ProcessLoop(
            self.world.scheduler, self.disk, rate=1.0, offset=0.0, stepped=lambda: None
        )

        def boot() -> None:
            storage = self.disk.open(loop)
            storage.wal = Unsynced(storage.wal)
            expel_others(storage)

        loop.run(boot)
        loop.kill()
        self.disk.crash()

    def _boot(self) -> None:
        storage = self.disk.open(self.loop)
        if self.forced:
            expel_others(storage)
        self.world.checks.opened(self, storage)
        self.peers = SimulatedPeers(self)
        self.node = ObservedNode(self, self.config, storage)
        self.offered = Offered(self)
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

    def stop(self) -> None:
        """End the process gracefully, as SIGTERM does; nothing when it is not up."""
        if self.serving:
            self.serving, self.stopping = False, True
            self.loop.run(lambda: self.loop.create_task(self._stop(self.loop)))

    async def _stop(self, loop: ProcessLoop) -> None:
        await self.node.stop()
        self.world.scheduler.after(0.0, lambda: self._exit() if self.loop is loop else None)

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
            self.disk.files_by_path.clear()
            self.world.disconnected(self)

    def pause(self, seconds: float) -> None:
        """Stop the process for a while; its clock runs on."""
        if self.running:
            self.loop.pause(seconds)


def current_disk() -> Disk:
    """The disk of the process whose turn it is."""
    return cast(ProcessLoop, asyncio.get_running_loop()).disk
