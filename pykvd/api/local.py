"""Calls that a member makes to its own services on behalf of a client.

The services that are layers over others (locks, elections) call them as the client could have done
itself: with the client's metadata and certificate name, so that every permission is checked where
it always is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from pykvd.errors import Code, RpcError
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import StreamHandler, StreamReceiver, UnaryHandler

R = TypeVar("R", bound=Message)

RANGE = "/etcdserverpb.KV/Range"
TXN = "/etcdserverpb.KV/Txn"
DELETE_RANGE = "/etcdserverpb.KV/DeleteRange"
LEASE_GRANT = "/etcdserverpb.Lease/LeaseGrant"
LEASE_TIME_TO_LIVE = "/etcdserverpb.Lease/LeaseTimeToLive"
WATCH = "/etcdserverpb.Watch/Watch"

#: Length of gRPC's frame around a shared message.
FRAME_BYTES = 5
#: Bytes of messages that nobody has taken, above which a watch waits.
CONGESTED_BYTES = 1 << 20
#: Codes that tell how a call ended; all others are answers of an inner call.
CONTEXT_CODES = frozenset({Code.CANCELLED, Code.DEADLINE_EXCEEDED})


class Caller(Protocol):
    """Whoever is served: a Call, a Stream or an AsyncStream of the transport."""

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """As `Call.metadata`."""

    @property
    def deadline(self) -> float | None:
        """As `Call.deadline`."""

    @property
    def peer(self) -> str:
        """As `Call.peer`."""

    @property
    def common_name(self) -> str:
        """As `Call.common_name`."""


class LocalClient:
    """Calls handlers by method path in the name of `caller`.

    Failures of inner calls become Unknown with their text, as they leave etcd's layered services;
    only the codes of a call that ran out of time stay.
    """

    def __init__(
        self,
        unary: Mapping[str, UnaryHandler],
        streams: Mapping[str, StreamHandler],
        caller: Caller,
    ) -> None:
        self._unary = unary
        self._streams = streams
        self._caller = caller

    async def call(self, path: str, request: Message, reply: type[R]) -> R:
        """The answer of a unary method; raises RpcError."""
        call = _LocalCall(self._caller)
        try:
            answer = self._unary[path](call, request.SerializeToString())
            if answer is None:
                answer = await call.answer
        except RpcError as error:
            raise _inner_failure(error) from None
        finally:
            call.abandon()
        return reply.FromString(answer)

    @asynccontextmanager
    async def watch(
        self, request: rpc.WatchCreateRequest
    ) -> AsyncIterator[AsyncIterator[rpc.WatchResponse]]:
        """Run one watch; iterating gives its responses, see `_Responses`."""
        stream = _LocalStream(self._caller)
        receiver = self._streams[WATCH](stream)
        receiver.message_received(rpc.WatchRequest(create_request=request).SerializeToString())
        try:
            yield _Responses(stream, receiver)
        finally:
            stream.done = True
            receiver.closed()


class _Responses:
    """What a watch sends after its confirmation.

    Raises RpcError when it is refused or cancelled; a compaction is a response as any other.
    """

    def __init__(self, stream: "_LocalStream", receiver: StreamReceiver) -> None:
        self._stream = stream
        self._receiver = receiver

    def __aiter__(self) -> "_Responses":
        return self

    async def __anext__(self) -> rpc.WatchResponse:
        while True:
            item = await self._stream.messages.get()
            if isinstance(item, RpcError):
                raise _inner_failure(item)
            self._stream.buffered -= len(item)
            if self._stream.congested and not self._stream.buffered:
                self._stream.congested = False
                self._receiver.writable()
            response = rpc.WatchResponse.FromString(item)
            if response.canceled and not response.compact_revision:
                raise RpcError(Code.UNKNOWN, response.cancel_reason)
            if not response.created:
                return response


def _inner_failure(error: RpcError) -> RpcError:
    return error if error.code in CONTEXT_CODES else RpcError(Code.UNKNOWN, error.message)


class _Local:
    """What a client's call and the calls made for it have in common."""

    def __init__(self, caller: Caller) -> None:
        self.metadata = caller.metadata
        self.deadline = caller.deadline
        self.peer = caller.peer
        self.common_name = caller.common_name


class _LocalCall(_Local):
    """A `Call` whose answer is a future."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller)
        self.on_done: Callable[[], None] | None = None
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @property
    def done(self) -> bool:
        """Whether it is answered or given up."""
        return self.answer.done()

    def reply(self, message: bytes) -> None:
        """Resolve the future."""
        if not self.done:
            self.answer.set_result(message)

    def fail(self, code: int, message: str) -> None:
        """Fail the future."""
        if not self.done:
            self.answer.set_exception(RpcError(code, message))

    def abandon(self) -> None:
        """Nobody waits any more: tell who still works on it."""
        unanswered = self.answer.cancel() or self.answer.cancelled()
        if unanswered and self.on_done is not None:
            self.on_done()


class _LocalStream(_Local):
    """A `Stream` whose messages wait in a queue, the final status last."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller)
        self.messages: asyncio.Queue[bytes | RpcError] = asyncio.Queue()
        self.done = False
        self.congested = False
        self.buffered = 0

    def send_headers(self) -> None:
        """There are none."""

    def send(self, message: bytes) -> None:
        """Queue it."""
        if not self.done:
            self.messages.put_nowait(message)
            self.buffered += len(message)
            self.congested = self.congested or self.buffered > CONGESTED_BYTES

    def send_shared(self, framed: bytes) -> None:
        """Queue what is in the frame."""
        self.send(framed[FRAME_BYTES:])

    def finish(self, code: int = 0, message: str = "") -> None:
        """Queue the status."""
        if not self.done:
            self.done = True
            self.messages.put_nowait(RpcError(code, message))

    def pause_reading(self) -> None:
        """One request is all there is."""

    def resume_reading(self) -> None:
        """One request is all there is."""
