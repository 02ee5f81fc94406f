"""`PeerNetwork`: everything between this member and the others."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pykvd.errors import Code, RpcError
from pykvd.histogram import Histogram, exponential, timing
from pykvd.logs import get_logger
from pykvd.peer import wire
from pykvd.peer.inbound import CallDesk, Doorkeeper, Inbox
from pykvd.peer.limits import PeerLimits
from pykvd.peer.outbound import Peer, PeerContext
from pykvd.peer.snapshot_receiver import SnapshotReceiver
from pykvd.peer.snapshot_sender import SnapshotSender
from pykvd.raft import MessageKind
from pykvd.transport import async_stream

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from pathlib import Path

    from pykvd.peer.handler import PeerHandler
    from pykvd.peer.outbound import PeerStatistics
    from pykvd.raft import Message
    from pykvd.tls import TlsClient
    from pykvd.transport import Call, StreamHandler, UnaryHandler

_log = get_logger("peer")


@dataclass(frozen=True, slots=True)
class NetworkStatistics:
    """A snapshot of a network's counters."""

    peers: Mapping[int, PeerStatistics]
    messages_received: int
    batches_received: int
    bytes_received: Mapping[int, int]
    """By sender."""
    batches_rejected: Mapping[int, int]
    """By sender."""
    snapshots_received: Mapping[int, int]
    """By sender."""


class PeerNetwork:
    """Sends to the other members and serves them.

    Belongs to the running loop; its handlers go on a `transport.Server` with `limits.listener()`.
    Lost messages are reported to the handler and not repeated: Raft does that.
    """

    def __init__(
        self,
        *,
        member_id: int,
        cluster_id: int,
        handler: PeerHandler,
        scratch: Path,
        limits: PeerLimits | None = None,
        rng: random.Random | None = None,
        tls: TlsClient | None = None,
    ) -> None:
        """`scratch` is the directory of incoming snapshots; `tls` is for URLs that ask for it."""
        self.member_id = member_id
        self.cluster_id = cluster_id
        self.limits = limits or PeerLimits()
        self.removed: set[int] = set()
        """Members that were removed: they are told so and nothing else. Kept by the owner."""
        self.snapshot_seconds = Histogram(exponential(0.1, 2, 10))
        """How long sending a snapshot took, installing it included."""
        self._handler = handler
        self._own_urls: tuple[str, ...] = ()
        self._peers: dict[int, Peer] = {}
        self._strangers: set[int] = set()
        self._told_removed = False
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._context = PeerContext(
            limits=self.limits,
            rng=rng or random.Random(),
            greeting=self._greeting,
            unreachable=self._unreachable,
            removed=self._removed_from_cluster,
            tls=tls,
        )
        self._door = Doorkeeper(member_id, cluster_id, self.removed)
        self._inbox = Inbox(self._door, handler, self._welcome, self._left)
        self._desk = CallDesk(self._door, handler, self.limits)
        self._receiver = SnapshotReceiver(scratch, self._door, handler, self.limits)
        self._tasks: set[asyncio.Task[None]] = set()

    # The listener.

    def unary(self) -> dict[str, UnaryHandler]:
        """Handlers of unary calls, by path."""
        return {wire.CALL: self._desk.serve, wire.MEMBERS: self._list_members}

    def streams(self) -> dict[str, StreamHandler]:
        """Handlers of streams, by path."""
        return {wire.STREAM: self._inbox.open, wire.SNAPSHOT: async_stream(self._receiver.serve)}

    def _list_members(self, call: Call, request: bytes) -> bytes:
        del call, request
        return wire.encode_members(self.cluster_id, self._handler.members())

    # Members.

    def set_peer(self, member_id: int, urls: Sequence[str]) -> None:
        """Keep a connection to a member at these URLs; the first that answers is used.

        Our own id tells our own URLs: peers that do not know us yet answer there.
        """
        if member_id == self.member_id:
            self._own_urls = tuple(urls)
        if member_id == self.member_id or self._closed:
            return
        self._strangers.discard(member_id)
        peer = self._peers.get(member_id)
        if peer is None:
            self._peers[member_id] = Peer(self._context, member_id, urls)
        else:
            peer.set_urls(urls)

    def remove_peer(self, member_id: int) -> None:
        """Send what is queued for a member and hang up; tell it if it is in `removed`."""
        self._strangers.discard(member_id)
        peer = self._peers.pop(member_id, None)
        if peer is not None:
            self._spawn(peer.close(), f"peer-close-{member_id:x}")
        if member_id in self.removed:
            self._inbox.expel(member_id)

    def _welcome(self, greeting: wire.Greeting) -> None:
        """A sender opens its stream: make sure that it can be answered. Raises RpcError.

        A member that lags behind does not know those that joined since, and one of them may be the
        leader that helps it. They have the cluster's id, so they are answered, a few at a time.
        """
        if self._closed:
            raise RpcError(Code.UNAVAILABLE, "etcdserver: server stopped")
        peer = self._peers.get(greeting.sender)
        if peer is None:
            if not greeting.urls or len(self._strangers) >= self.limits.max_strangers:
                raise RpcError(
                    Code.FAILED_PRECONDITION, f"etcdserver: unknown member {greeting.sender:x}"
                )
            self._strangers.add(greeting.sender)
            self._peers[greeting.sender] = Peer(self._context, greeting.sender, greeting.urls)
        else:
            if greeting.sender in self._strangers:
                peer.set_urls(greeting.urls)
            peer.retry_now()

    def _left(self, sender: int) -> None:
        """A sender's last stream is over."""
        if sender in self._strangers:
            self.remove_peer(sender)

    def _greeting(self, to: int) -> wire.Greeting:
        return wire.Greeting(self.cluster_id, self.member_id, to, self._own_urls)

    # Messages.

    def send(self, messages: Sequence[Message], *, at_once: bool = False) -> None:
        """Send raft messages, those of one turn of the loop to one member together.

        Never blocks. A COMMIT waits a little for an append, unless `hurry` is called. With
        `at_once` nothing waits for the end of the turn. Messages to unknown members are dropped.
        Raises ValueError for SNAPSHOT messages, which `send_snapshot` takes.
        """
        for message in messages:
            if message.kind is MessageKind.SNAPSHOT:
                raise ValueError("SNAPSHOT messages travel with their file")
            peer = self._peers.get(message.to)
            if peer is not None:
                peer.enqueue(message)
                if at_once:
                    peer.flush()

    def hurry(self, peer_id: int) -> None:
        """The member waits for what was sent to it: do not hold back a COMMIT."""
        peer = self._peers.get(peer_id)
        if peer is not None:
            peer.hurry()

    async def send_snapshot(self, message: Message, path: Path) -> None:
        """Send a SNAPSHOT message with its file; tells `snapshot_sent` the outcome.

        The file must stay unchanged until then; the same file offered again goes on where the
        receiver stopped. Returns when the receiver has installed it.
        """
        peer = self._peers.get(message.to)
        ok = False
        try:
            if peer is not None:
                with timing(self.snapshot_seconds):
                    await SnapshotSender(self._context, peer, message, path).run()
                ok = True
        except (RpcError, OSError, ValueError) as error:
            _log.warn(
                "gave up sending a snapshot",
                remote_peer_id=f"{message.to:x}",
                error=str(error),
            )
        finally:
            if peer is not None:
                peer.totals.snapshots_sent += ok
                peer.totals.snapshots_failed += not ok
            if not self._closed:
                self._handler.snapshot_sent(message.to, ok)

    async def call(self, peer_id: int, kind: str, payload: bytes, timeout: float) -> bytes:  # noqa: ASYNC109 - the contract's name
        """Have another member serve `forwarded(kind, payload)`. Raises RpcError."""
        peer = self._peers.get(peer_id)
        if peer is None:
            raise RpcError(Code.UNAVAILABLE, f"peer {peer_id:x} is unknown")
        return await peer.call(kind, payload, timeout)

    # Reports.

    def connected_since(self, peer_id: int) -> float | None:
        """When this member accepted our stream, on the loop's clock, or None."""
        peer = self._peers.get(peer_id)
        return peer.connected_since if peer else None

    def statistics(self) -> NetworkStatistics:
        """Counters of all peers."""
        return NetworkStatistics(
            peers={member_id: peer.statistics() for member_id, peer in self._peers.items()},
            messages_received=self._inbox.messages,
            batches_received=self._inbox.batches,
            bytes_received=self._inbox.bytes,
            batches_rejected=self._inbox.rejected,
            snapshots_received=self._receiver.received,
        )

    def _unreachable(self, peer_id: int) -> None:
        if not self._closed:
            self._handler.unreachable(peer_id)

    def _removed_from_cluster(self) -> None:
        if not self._told_removed and not self._closed:
            self._told_removed = True
            self._handler.removed_from_cluster()

    # The end.

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Hang up on everybody. Calls under way fail; the listener is its owner's to close."""
        self._closed = True
        self._inbox.close()
        await self._desk.close()
        await self._receiver.close()
        peers = list(self._peers.values())
        self._peers.clear()
        await asyncio.gather(*(peer.close() for peer in peers), *self._tasks)
