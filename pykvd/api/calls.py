"""A `Call` and a `Stream` of the transport's contract whose client is in the same process.

That is the program around an embedded server, or a service that is a layer over others. Both live
on the server's loop. What the client hears is given to a callback: a message, None after the last
one, or the RpcError that ended the call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pykvd.logs import get_logger
from pykvd.status import Code, RpcError
from pykvd.transport.calls import INTERNAL_TEXT
from pykvd.transport.grpc import PREFIX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pykvd.transport import StreamHandler, StreamReceiver, UnaryHandler

Heard: TypeAlias = bytes | RpcError | None

#: Unread bytes of a stream above which it counts as slow, and at which it is writable again: the
#: figures of the network path (`pykvd.transport.Limits`).
HIGH_WATER = 1 << 20
LOW_WATER = 256 << 10

_log = get_logger("api")


class Caller(Protocol):
    """Whoever is served: a `Call` or a `Stream`, or the program around the server."""

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


class LocalCall:
    """A unary call (`pykvd.transport.Call`); `answered` is called once at most, on the loop."""

    __slots__ = (
        "answered",
        "common_name",
        "deadline",
        "done",
        "metadata",
        "on_done",
        "on_end",
        "peer",
    )

    def __init__(self, caller: Caller, answered: Callable[[bytes | RpcError], None]) -> None:
        self.metadata = caller.metadata
        self.deadline = caller.deadline
        self.peer = caller.peer
        self.common_name = caller.common_name
        self.answered = answered
        self.done = False
        self.on_done: Callable[[], None] | None = None
        self.on_end: Callable[[LocalCall], None] | None = None

    def run(self, handler: UnaryHandler, request: bytes) -> None:
        """Have the service answer; its mistakes are logged and told as on the network."""
        try:
            reply = handler(self, request)
        except RpcError as error:
            self._answer(error)
        except Exception:  # noqa: BLE001 - a service's mistake ends one call
            _log.exception("a handler failed")
            self.fail(Code.UNKNOWN, INTERNAL_TEXT)
        else:
            if reply is not None:
                self.reply(reply)

    def reply(self, message: bytes) -> None:
        """As `Call.reply`."""
        self._answer(message)

    def fail(self, code: int, message: str) -> None:
        """As `Call.fail`."""
        self._answer(RpcError(code, message))

    def _answer(self, answer: bytes | RpcError) -> None:
        if not self.done:
            self._end()
            self.answered(answer)

    def abandon(self) -> None:
        """The client does not wait any more: whoever works for it is told."""
        if not self.done:
            self._end()
            if self.on_done is not None:
                self.on_done()

    def _end(self) -> None:
        self.done = True
        if self.on_end is not None:
            self.on_end(self)


class LocalStream:
    """A streaming call (`pykvd.transport.Stream`); `deliver` gets all that the client hears.

    The service's methods come first, the client's after them.
    """

    __slots__ = (
        "_half_closed",
        "_paused",
        "_receiver",
        "_requests",
        "buffered",
        "common_name",
        "congested",
        "deadline",
        "deliver",
        "done",
        "metadata",
        "on_end",
        "peer",
    )

    def __init__(self, caller: Caller, deliver: Callable[[Heard], None]) -> None:
        self.metadata = caller.metadata
        self.deadline = caller.deadline
        self.peer = caller.peer
        self.common_name = caller.common_name
        self.deliver = deliver
        self.on_end: Callable[[LocalStream], None] | None = None
        self.done = False
        self.buffered = 0
        self.congested = False
        self._receiver: StreamReceiver | None = None
        self._requests: deque[bytes] = deque()
        self._half_closed = self._paused = False

    def send_headers(self) -> None:
        """There are none."""

    def send(self, message: bytes) -> None:
        """As `Stream.send`."""
        if not self.done:
            self.buffered += len(message)
            self.congested = self.congested or self.buffered > HIGH_WATER
            self.deliver(message)

    def send_shared(self, framed: bytes) -> None:
        """As `Stream.send_shared`."""
        self.send(framed[PREFIX_BYTES:])

    def finish(self, code: int = 0, message: str = "") -> None:
        """As `Stream.finish`."""
        if not self.done:
            self._end()
            self.deliver(RpcError(code, message) if code else None)

    def pause_reading(self) -> None:
        """As `Stream.pause_reading`: requests wait here."""
        self._paused = True

    def resume_reading(self) -> None:
        """As `Stream.resume_reading`."""
        if self._paused:
            self._paused = False
            # Later, for the service may be in the middle of something.
            asyncio.get_running_loop().call_soon(self._hand_over)

    def start(self, handler: StreamHandler) -> None:
        """Begin the call."""
        self._guarded(partial(self._begin, handler))

    def _begin(self, handler: StreamHandler) -> None:
        self._receiver = handler(self)

    def request(self, message: bytes, *, last: bool) -> None:
        """The client sends a message; `last` if it is its last."""
        self._requests.append(message)
        self._half_closed = self._half_closed or last
        self._hand_over()

    def _hand_over(self) -> None:
        while self._requests and not self._paused and not self.done:
            self._guarded(partial(self._told().message_received, self._requests.popleft()))
        if self._half_closed and not self._requests and not self.done:
            self._half_closed = False
            self._guarded(self._told().half_closed)

    def _told(self) -> StreamReceiver:
        assert self._receiver is not None
        return self._receiver

    def consumed(self, size: int) -> None:
        """The client has read messages of so many bytes."""
        self.buffered -= size
        if self.congested and self.buffered <= LOW_WATER:
            self.congested = False
            if not self.done:
                self._guarded(self._told().writable)

    def cancel(self) -> None:
        """The client is gone."""
        if not self.done:
            self._end()
            if self._receiver is not None:
                self._receiver.closed()

    def refuse(self, error: RpcError) -> None:
        """End the call without the service's doing: the client and the service are told."""
        if not self.done:
            self.cancel()
            self.deliver(error)

    def _end(self) -> None:
        self.done = True
        self._requests.clear()
        if self.on_end is not None:
            self.on_end(self)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Run the service's code; what it raises ends the call, and the service is told."""
        try:
            step()
        except RpcError as error:
            self.refuse(error)
        except Exception:  # noqa: BLE001 - a service's mistake ends one stream
            _log.exception("a stream handler failed")
            self.refuse(RpcError(Code.UNKNOWN, INTERNAL_TEXT))
