"""The server side of the peer service: who may speak, and what is done with what they say."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from pykvd.errors import Code, RpcError
from pykvd.logs import get_logger
from pykvd.peer import wire
from pykvd.raft import MessageKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pykvd.peer.handler import PeerHandler
    from pykvd.peer.limits import PeerLimits
    from pykvd.transport import Call, Stream

REMOVED_TEXT = "etcdserver: the member has been permanently removed from the cluster"

_log = get_logger("peer")


class Doorkeeper:
    """Decides by the greeting; raises RpcError for those who are not let in."""

    def __init__(self, member_id: int, cluster_id: int, removed: set[int]) -> None:
        self._member_id = member_id
        self._cluster_id = cluster_id
        self._removed = removed
        self._refused: dict[int, str] = {}

    def check(self, metadata: Mapping[str, str | bytes]) -> wire.Greeting:
        """The greeting of a sender that is let in."""
        greeting = wire.Greeting.parse(metadata)
        try:
            self._check(greeting)
        except RpcError as error:
            self._note(greeting, error)
            raise
        self._refused.pop(greeting.sender, None)
        return greeting

    def _check(self, greeting: wire.Greeting) -> None:
        if greeting.version != wire.VERSION:
            raise RpcError(
                Code.FAILED_PRECONDITION,
                f"etcdserver: peer protocol version {greeting.version} is not {wire.VERSION}",
            )
        if greeting.cluster_id != self._cluster_id:
            raise RpcError(Code.FAILED_PRECONDITION, "etcdserver: cluster ID mismatch")
        if greeting.to != self._member_id:
            raise RpcError(
                Code.FAILED_PRECONDITION,
                f"etcdserver: member ID mismatch: this is {self._member_id:x}, not {greeting.to:x}",
            )
        self.check_member(greeting.sender)

    def check_member(self, sender: int) -> None:
        """Refuse a removed member."""
        if sender in self._removed:
            raise RpcError(Code.PERMISSION_DENIED, REMOVED_TEXT)

    def _note(self, greeting: wire.Greeting, error: RpcError) -> None:
        """Log each reason once a sender; senders that are made up do not fill memory."""
        if self._refused.get(greeting.sender) == error.message:
            return
        while len(self._refused) >= 256:
            del self._refused[next(iter(self._refused))]
        self._refused[greeting.sender] = error.message
        _log.warn("refused a peer", remote_peer_id=f"{greeting.sender:x}", reason=error.message)


class Inbox:
    """Takes raft messages off the streams of the other members."""

    def __init__(
        self,
        door: Doorkeeper,
        handler: PeerHandler,
        welcome: Callable[[wire.Greeting], None],
        left: Callable[[int], None],
    ) -> None:
        """`welcome` hears of each new stream, and may refuse it; `left`, of a sender's last one."""
        self._door = door
        self._handler = handler
        self._welcome = welcome
        self._left = left
        self._streams: dict[MessageReceiver, None] = {}
        self.messages = 0
        self.batches = 0
        self.bytes: Counter[int] = Counter()
        """Received, by sender."""
        self.rejected: Counter[int] = Counter()
        """Batches that could not be used, by sender."""

    def open(self, stream: Stream) -> MessageReceiver:
        """A `StreamHandler`."""
        greeting = self._door.check(stream.metadata)
        self._welcome(greeting)
        receiver = MessageReceiver(self, stream, greeting.sender)
        self._streams[receiver] = None
        stream.send_headers()  # the sender waits for it
        return receiver

    def forget(self, receiver: MessageReceiver) -> None:
        """A stream is over."""
        self._streams.pop(receiver, None)
        if all(each.sender != receiver.sender for each in self._streams):
            self._left(receiver.sender)

    def deliver(self, sender: int, data: bytes) -> None:
        """Hand a batch on. Raises RpcError for one that cannot be from this sender."""
        self._door.check_member(sender)
        self.bytes[sender] += len(data)
        try:
            messages = wire.decode_batch(data)
        except wire.WireError as error:
            self.rejected[sender] += 1
            raise RpcError(Code.INVALID_ARGUMENT, f"peer: {error}") from error
        for message in messages:
            if message.sender != sender or message.kind is MessageKind.SNAPSHOT:
                self.rejected[sender] += 1
                raise RpcError(Code.INVALID_ARGUMENT, "peer: misplaced raft message")
        self.batches += 1
        self.messages += len(messages)
        self._handler.receive(messages)

    def expel(self, member_id: int) -> None:
        """Tell a removed member on its open streams."""
        for receiver in [each for each in self._streams if each.sender == member_id]:
            receiver.finish(Code.PERMISSION_DENIED, REMOVED_TEXT)

    def close(self) -> None:
        """End all streams."""
        for receiver in list(self._streams):
            receiver.finish(Code.UNAVAILABLE, "etcdserver: server stopped")


class MessageReceiver:
    """One stream of raft messages."""

    def __init__(self, inbox: Inbox, stream: Stream, sender: int) -> None:
        self._inbox = inbox
        self._stream = stream
        self.sender = sender

    def message_received(self, message: bytes) -> None:
        """A batch."""
        try:
            self._inbox.deliver(self.sender, message)
        except RpcError as error:
            self.finish(error.code, error.message)

    def half_closed(self) -> None:
        """The sender is done."""
        self.finish(Code.OK, "")

    def closed(self) -> None:
        """The sender is gone."""
        self._inbox.forget(self)

    def writable(self) -> None:
        """Nothing is ever queued here."""

    def finish(self, code: int, text: str) -> None:
        """End the stream with this status."""
        self._inbox.forget(self)
        self._stream.finish(code, text)


class CallDesk:
    """Serves forwarded calls, each in a task."""

    def __init__(self, door: Doorkeeper, handler: PeerHandler, limits: PeerLimits) -> None:
        self._door = door
        self._handler = handler
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, call: Call, request: bytes) -> None:
        """A `UnaryHandler`."""
        self._door.check(call.metadata)
        if len(self._tasks) >= self._limits.max_calls:
            raise RpcError(Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests")
        try:
            kind, payload = wire.decode_call(request)
        except wire.WireError as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"peer: {error}") from error
        task = asyncio.get_running_loop().create_task(self._serve(call, kind, payload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def abandon() -> None:
            task.cancel()

        call.on_done = abandon

    async def _serve(self, call: Call, kind: str, payload: bytes) -> None:
        try:
            call.reply(await self._handler.forwarded(kind, payload))
        except RpcError as error:
            call.fail(error.code, error.message)
        except asyncio.CancelledError:
            call.fail(Code.UNAVAILABLE, "etcdserver: server stopped")
            raise
        except Exception as error:  # noqa: BLE001 - the caller must be told something
            _log.error("forwarded call failed", kind=kind, error=repr(error))
            call.fail(Code.UNKNOWN, "internal error")

    async def close(self) -> None:
        """Cancel what is being served."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
