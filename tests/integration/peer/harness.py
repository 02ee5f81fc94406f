"""Members that only have a peer service: what they are told is recorded."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Protocol

from pykvd.peer import PeerLimits, PeerNetwork
from pykvd.raft import ConfState, Entry, EntryKind, Message, MessageKind, Snapshot
from pykvd.transport import RpcError, Server
from tests.harness import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

CLUSTER = 0xC0FFEE

#: Everything that waits, a good deal shorter than in life.
QUICK = PeerLimits(
    backoff_min=0.01,
    backoff_max=0.1,
    connect_timeout=2.0,
    keepalive_interval=0.2,
    keepalive_timeout=1.0,
    snapshot_stall_timeout=2.0,
)


class Recorder:
    """A `PeerHandler` that remembers."""

    def __init__(self) -> None:
        self.batches: list[list[Message]] = []
        self.lost: list[int] = []
        self.removed = 0
        self.sent: list[tuple[int, bool]] = []
        self.snapshots: list[tuple[Message, bytes]] = []
        self.cancelled: list[str] = []
        self.on_receive: Callable[[Sequence[Message]], None] | None = None
        self.install_gate: asyncio.Event | None = None

    @property
    def messages(self) -> list[Message]:
        return [message for batch in self.batches for message in batch]

    def receive(self, messages: Sequence[Message]) -> None:
        self.batches.append(list(messages))
        if self.on_receive is not None:
            self.on_receive(messages)

    def unreachable(self, peer_id: int) -> None:
        self.lost.append(peer_id)

    def removed_from_cluster(self) -> None:
        self.removed += 1

    def snapshot_sent(self, peer_id: int, ok: bool) -> None:
        self.sent.append((peer_id, ok))

    async def snapshot_received(self, message: Message, path: Path) -> None:
        if self.install_gate is not None:
            await self.install_gate.wait()
        self.snapshots.append((message, path.read_bytes()))  # noqa: ASYNC240 - a test's file

    async def forwarded(self, kind: str, payload: bytes) -> bytes:
        if kind == "wait":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(kind)
                raise
        if kind == "fail":
            raise RpcError(5, "etcdserver: requested lease not found")
        if kind == "break":
            raise KeyError(kind)
        return kind.encode() + b":" + payload

    def members(self) -> Sequence[bytes]:
        return [b"one", b"", b"three"]


class Station:
    """One member: a network, its listener and its recorder."""

    def __init__(
        self,
        member_id: int,
        scratch: Path,
        *,
        cluster_id: int = CLUSTER,
        limits: PeerLimits = QUICK,
    ) -> None:
        self.id = member_id
        self._cluster_id = cluster_id
        self._limits = limits
        self._scratch = scratch / f"{member_id:x}"
        self.handler = Recorder()
        self.port = free_port()
        self.network: PeerNetwork
        self.server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port each time."""
        self.network = PeerNetwork(
            member_id=self.id,
            cluster_id=self._cluster_id,
            handler=self.handler,
            scratch=self._scratch,
            limits=self._limits,
            rng=random.Random(self.id),
        )
        self.server = Server(
            unary=self.network.unary(),
            streams=self.network.streams(),
            limits=self._limits.listener(),
        )
        _, self.port = await self.server.listen_tcp("127.0.0.1", self.port, reuse_address=True)

    async def stop(self) -> None:
        await self.network.close()
        await self.server.close()

    @property
    def scratch_files(self) -> list[Path]:
        return sorted(self._scratch.glob("*"))


class Builder(Protocol):
    """The fixture `build`."""

    async def __call__(
        self, member_id: int, *, cluster_id: int = CLUSTER, limits: PeerLimits = QUICK
    ) -> Station: ...


def introduce(*stations: Station) -> None:
    """Tell everybody where everybody is, themselves included."""
    for one in stations:
        for other in stations:
            one.network.set_peer(other.id, [other.url])


async def connected(*stations: Station) -> None:
    """Wait until everybody reaches everybody."""

    def complete() -> bool:
        return all(
            one is other or one.network.connected_since(other.id) is not None
            for one in stations
            for other in stations
        )

    await until(complete, "all connections")


async def until(condition: Callable[[], bool], what: str, patience: float = 60.0) -> None:
    """Return when `condition()` is true."""
    deadline = asyncio.get_running_loop().time() + patience
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {patience} s for {what}")
        await asyncio.sleep(0.002)


def append(to: int, sender: int, index: int, data: bytes = b"") -> Message:
    entry = Entry(1, index, EntryKind.NORMAL, data)
    return Message(MessageKind.APPEND, to, sender, term=1, index=index - 1, entries=(entry,))


def snapshot_message(to: int, sender: int, index: int = 7) -> Message:
    snapshot = Snapshot(index, 2, ConfState(voters=tuple(sorted((sender, to)))))
    return Message(MessageKind.SNAPSHOT, to, sender, term=2, snapshot=snapshot)
