"""Streams: JSON objects in the body, one line of JSON for each message of the service."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from operator import methodcaller
from typing import TYPE_CHECKING, Final

from pykvd.gateway.context import DEADLINE_TEXT, SUCCESS_HEADERS, CallContext
from pykvd.gateway.errors import http_status, stream_error
from pykvd.http import Response
from pykvd.status import Code, RpcError
from pykvd.transport.grpc import PREFIX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pykvd.gateway.codec import Codec
    from pykvd.http import Exchange
    from pykvd.transport import StreamHandler, StreamReceiver
    from pykvd.transport.statistics import MethodCounters

#: Requests of one body are handed over for so long at a time, seconds; others have their turn then.
SLICE: Final = 0.005
STOPPED_TEXT: Final = "etcdserver: server stopped"
INTERNAL_TEXT: Final = "internal error"

_logger = logging.getLogger("pykvd.gateway")


class GatewayStream(CallContext):
    """A streaming call of any kind (see `transport.Stream`).

    All requests are in the body, so the client's side is closed once they are read. The head of
    the answer leaves with the first message: until then a failure still has a status of its own.
    """

    def __init__(
        self,
        exchange: Exchange,
        codec: Codec,
        requests: Iterable[bytes],
        counts: MethodCounters,
        *,
        timed: bool,
    ) -> None:
        super().__init__(exchange, counts, timed=timed)
        self._codec = codec
        self._requests = deque(requests)
        self._receiver: StreamReceiver | None = None
        self._paused = False
        self._feeding = False
        self._half_closed = False
        exchange.on_writable = self._writable
        exchange.on_drain = self._drain

    def run(self, handler: StreamHandler) -> None:
        """Start the service's side and give it the requests."""
        try:
            self.start_clock()
            self._receiver = handler(self)
        except RpcError as error:
            self.finish(error.code, error.message)
        except Exception:
            _logger.exception("handler of %s failed", self._exchange.head.path)
            self.finish(Code.UNKNOWN, INTERNAL_TEXT)
        self._feed()

    @property
    def buffered(self) -> int:
        """As `Stream.buffered`."""
        return self._exchange.buffered

    @property
    def congested(self) -> bool:
        """As `Stream.congested`."""
        return self._exchange.congested

    def send_headers(self) -> None:
        """Nothing: they leave with the first message."""

    def send(self, message: bytes) -> None:
        """As `Stream.send`."""
        if not self.done:
            self._counts.sent += 1
            self._exchange.begin(200, SUCCESS_HEADERS)
            self._exchange.write(b'{"result":' + self._codec.convert(message) + b"}\n")

    def send_shared(self, framed: bytes) -> None:
        """As `Stream.send_shared`."""
        self.send(framed[PREFIX_BYTES:])

    def finish(self, code: int = 0, message: str = "") -> None:
        """As `Stream.finish`."""
        if self.done:
            return
        self.settle(code)
        exchange = self._exchange
        error = stream_error(code, message) if code else b""
        if exchange.started:
            exchange.write(error)
            exchange.end()
        else:
            exchange.respond(
                Response(http_status(code), SUCCESS_HEADERS[: 1 if code else 2], error)
            )

    def pause_reading(self) -> None:
        """As `Stream.pause_reading`."""
        self._paused = True

    def resume_reading(self) -> None:
        """As `Stream.resume_reading`."""
        self._paused = False
        self._feed()

    def _feed(self) -> None:
        if self._feeding:
            return
        self._feeding = True
        loop = asyncio.get_running_loop()
        end = loop.time() + SLICE
        while self._requests and not self._waits:
            if loop.time() > end:
                loop.call_soon(self._feed_on)
                return
            request = self._requests.popleft()
            self._counts.received += 1
            self._tell(methodcaller("message_received", request))
        self._feeding = False
        if not self._requests and not self._half_closed and not self.done:
            self._half_closed = True
            self._tell(methodcaller("half_closed"))

    def _feed_on(self) -> None:
        self._feeding = False
        self._feed()

    @property
    def _waits(self) -> bool:
        """Whether the service or the client is to catch up first."""
        return self._paused or self.done or self._exchange.congested

    def _tell(self, event: Callable[[StreamReceiver], None]) -> None:
        """Tell the service something; what it raises is the stream's end."""
        if self._receiver is None:
            return
        try:
            event(self._receiver)
        except RpcError as error:
            self._end(error.code, error.message)
        except Exception:
            _logger.exception("handler of %s failed", self._exchange.head.path)
            self._end(Code.UNKNOWN, INTERNAL_TEXT)

    def _end(self, code: int, message: str) -> None:
        """Finish without the service's doing: it must let go of what it holds."""
        if not self.done:
            self.finish(code, message)
            self.abandoned()

    def _writable(self) -> None:
        if not self.done:
            self._tell(methodcaller("writable"))
            self._feed()

    def _drain(self) -> None:
        """The server stops: the stream would not end by itself."""
        self._end(Code.UNAVAILABLE, STOPPED_TEXT)

    def expire(self) -> None:
        """Answer that the client's time is over."""
        self.finish(Code.DEADLINE_EXCEEDED, DEADLINE_TEXT)

    def abandoned(self) -> None:
        """Tell the service that nobody listens any more."""
        self._tell(methodcaller("closed"))
        self._receiver = None
