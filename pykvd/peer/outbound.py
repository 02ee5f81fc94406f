"""The way to one peer: its queue, its connection, and when to dial again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pykvd.errors import Code, RpcError
from pykvd.logs import get_logger
from pykvd.peer import wire
from pykvd.peer.channel import Channel
from pykvd.peer.send_queue import SendQueue
from pykvd.raft import MessageKind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from pykvd.peer.limits import PeerLimits
    from pykvd.raft import Message
    from pykvd.tls import TlsClient
    from pykvd.transport.client_call import Call

REFUSALS = frozenset({Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT})
"""Answers to a greeting that another attempt will not change soon."""
REMOVED = Code.PERMISSION_DENIED
"""The code that only a removed member gets."""
PATIENCE = 0.001
"""How long a COMMIT waits for an append that says the same, seconds."""

_log = get_logger("peer")


@dataclass(frozen=True, slots=True)
class PeerContext:
    """What all peers of a network share."""

    limits: PeerLimits
    rng: random.Random
    greeting: Callable[[int], wire.Greeting]
    """For the member with this id."""
    unreachable: Callable[[int], None]
    removed: Callable[[], None]
    """We were told that we are no longer a member."""
    tls: TlsClient | None = None
    """For URLs that ask for it."""


@dataclass(slots=True)
class PeerStatistics:
    """One peer as seen from here; totals since it was added. A snapshot when handed out."""

    connected_since: float | None = None
    """On the loop's clock, while the peer takes our messages."""
    rejected: str = ""
    """Why the peer refuses us, if it does."""
    error: str = ""
    """What went wrong last."""
    connections: int = 0
    messages_sent: int = 0
    batches_sent: int = 0
    bytes_sent: int = 0
    messages_dropped: int = 0
    queued_messages: int = 0
    queued_bytes: int = 0
    snapshot_sent: int = 0
    """Bytes of the snapshot under way that the peer has confirmed."""
    snapshot_size: int = 0
    """Size of that snapshot; 0 when there is none."""
    snapshots_sent: int = 0
    snapshots_failed: int = 0


class Peer:
    """Sends to one member. A task keeps the connection up; sending never waits."""

    def __init__(self, context: PeerContext, member_id: int, urls: Sequence[str]) -> None:
        self._context = context
        self.member_id = member_id
        self.urls = tuple(urls)
        self.closed = False
        self._url = ""  # of the connection, or tried last
        self.totals = PeerStatistics()
        limits = context.limits
        self._queue = SendQueue(limits.queue_bytes, limits.queue_messages)
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._stream: Call | None = None
        self._dialling = True
        self._flush_armed = False
        self._patience: asyncio.TimerHandle | None = None
        self._dropped = 0
        self._settled = asyncio.Event()
        self._retry = asyncio.Event()
        self._task = self._loop.create_task(self._keep_connected(), name=f"peer-{member_id:x}")

    @property
    def connected_since(self) -> float | None:
        """When the peer accepted our stream, on the loop's clock."""
        return self.totals.connected_since

    def statistics(self) -> PeerStatistics:
        """The totals, with the queue as it is now."""
        return replace(self.totals, queued_messages=len(self._queue), queued_bytes=self._queue.size)

    # Sending.

    def enqueue(self, message: Message) -> None:
        """Send a message at the end of this turn of the loop; a COMMIT within `PATIENCE`."""
        self._dropped += self._queue.push(message)
        if message.kind is not MessageKind.COMMIT:
            self.hurry()
        elif self._patience is None and not self._flush_armed:
            self._patience = self._loop.call_later(PATIENCE, self.flush)

    def hurry(self) -> None:
        """Send what is queued at the end of this turn of the loop."""
        if not self._flush_armed:
            self._flush_armed = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what is queued now."""
        self._flush_armed = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        channel, stream = self._channel, self._stream
        if channel is None or stream is None:
            # While the first bytes are under way there is hope; while waiting to dial there is not.
            if not self._dialling:
                self._dropped += self._queue.clear()
        else:
            self._write(channel, stream)
        if self._dropped:
            self.totals.messages_dropped += self._dropped
            self._dropped = 0
            self._context.unreachable(self.member_id)

    def _write(self, channel: Channel, stream: Call) -> None:
        totals, limit = self.totals, self._context.limits.max_batch_bytes
        while self._queue and not stream.congested:
            messages = self._queue.take(limit)
            data = wire.encode_batch(messages)
            channel.send(stream, data)
            totals.messages_sent += len(messages)
            totals.batches_sent += 1
            totals.bytes_sent += len(data)
        channel.flush()

    async def call(self, kind: str, payload: bytes, limit: float) -> bytes:
        """Make a unary call within `limit` seconds; waits for a dial under way. Raises RpcError."""
        deadline = self._loop.time() + limit
        if self._stream is None and self._dialling:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._settled.wait()
            except TimeoutError:
                raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
        channel = self._channel
        if channel is None or self._stream is None:
            raise RpcError(Code.UNAVAILABLE, f"peer {self.member_id:x} is unreachable")
        metadata = self._context.greeting(self.member_id).metadata()
        request = wire.encode_call(kind, payload)
        return await channel.unary(wire.CALL, metadata, request, deadline - self._loop.time())

    # The connection.

    def set_urls(self, urls: Sequence[str]) -> None:
        """Where the peer listens from now on; a connection to a former address is given up."""
        self.urls = tuple(urls)
        if self._url not in self.urls:
            self._retry.set()
            if self._channel is not None:
                self._channel.close()

    def retry_now(self) -> None:
        """The peer seems to be alive: do not wait any longer before dialling."""
        if self._stream is None:
            self._retry.set()

    async def close(self) -> None:
        """Send what is queued if that is possible at once, and hang up."""
        self.closed = True
        if self._channel is not None and self._stream is not None:
            self._write(self._channel, self._stream)
        self._task.cancel()
        await asyncio.wait([self._task])
        channel, self._channel, self._stream = self._channel, None, None
        if channel is not None:
            await channel.wait_closed()

    async def _keep_connected(self) -> None:
        limits = self._context.limits
        pause = limits.backoff_min
        while True:
            self._dialling = True
            self._settled.clear()
            self._retry.clear()
            accepted = await self._connect()
            self._dialling = False
            self._settled.set()
            if accepted:
                pause = limits.backoff_min
                assert self._channel is not None
                await asyncio.wait([self._channel.lost])
            self._hang_up()
            if self.totals.rejected:
                pause = limits.backoff_max
            await self._wait(pause * self._context.rng.uniform(0.5, 1.0))
            pause = min(2 * pause, limits.backoff_max)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._retry.wait()
        except TimeoutError:
            pass

    async def _connect(self) -> bool:
        """Try the URLs in turn; whether one of them accepted our stream."""
        for url in self.urls:
            self._url = url
            try:
                context = self._context
                self._channel = await Channel.connect(url, context.limits, context.tls)
                await self._open_stream(self._channel)
                if url not in self.urls:
                    raise RpcError(Code.UNAVAILABLE, "the peer's URLs have changed")  # noqa: TRY301
            except RpcError as error:
                self._failed(error.message, refused=error.code in REFUSALS)
                if error.code == REMOVED:
                    self._context.removed()
            except (OSError, ValueError, TimeoutError) as error:
                self._failed(f"{url}: {error or 'no answer'}", refused=False)
            else:
                self._connected(url)
                return True
            self._stream = None
            if self._channel is not None:
                self._channel.close()
                self._channel = None
        return False

    async def _open_stream(self, channel: Channel) -> None:
        """Greet the peer and wait for its answer."""
        metadata = self._context.greeting(self.member_id).metadata()
        stream = channel.open(wire.STREAM, metadata)
        answered = asyncio.Event()
        stream.changed = answered.set
        async with asyncio.timeout(self._context.limits.connect_timeout):
            while not stream.accepted and stream.code is None:
                answered.clear()
                await answered.wait()
        if stream.code is not None:
            text = stream.text or "peer ended the stream"
            raise RpcError(stream.code or Code.UNAVAILABLE, text)
        stream.changed = partial(self._stream_changed, channel, stream)
        self._stream = stream

    def _connected(self, url: str) -> None:
        self.totals.connected_since = self._loop.time()
        self.totals.connections += 1
        self.totals.rejected = self.totals.error = ""
        _log.info("established connection to peer", remote_peer_id=f"{self.member_id:x}", url=url)
        self.flush()

    def _failed(self, text: str, *, refused: bool) -> None:
        """Note why; the same reason is logged once, not at every attempt."""
        self.totals.rejected = text if refused else ""
        if self.totals.error != text:
            self.totals.error = text
            _log.warn("peer is unreachable", remote_peer_id=f"{self.member_id:x}", error=text)

    def _hang_up(self) -> None:
        self._stream = None
        self.totals.connected_since = None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        # Whatever was under way may be lost, also when nothing waits here.
        self._dropped += self._queue.clear()
        self.totals.messages_dropped += self._dropped
        self._dropped = 0
        self._context.unreachable(self.member_id)

    def _stream_changed(self, channel: Channel, stream: Call) -> None:
        """There is room again, or the peer ended the stream, or the connection is gone.

        Peers send no messages on it.
        """
        stream.messages.clear()
        if channel is not self._channel:
            return
        if stream.code is None:
            if self._queue:
                self.hurry()
            return
        self._failed(stream.text, refused=stream.code in REFUSALS)
        self._stream = None
        self.totals.connected_since = None
        if stream.code == REMOVED:
            self._context.removed()
        channel.close()
