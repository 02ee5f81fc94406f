"""One socket that speaks HTTP/1.1: requests are answered one after the other, in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from pykvd.http.exchange import Exchange
from pykvd.http.message import Head, Headers, Response, render_head
from pykvd.http.parser import BadRequestError, RequestParser

if TYPE_CHECKING:
    from pykvd.http.server import HttpServer

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REQUESTS_A_TURN = 8
_BODILESS = frozenset({204, 304})


class HttpConnection(asyncio.Protocol):
    """The state of one socket.

    Invariant: while `_exchange` is set no further request is begun; what the client sends ahead
    waits in the parser, and above a bound in the kernel.
    """

    def __init__(self, server: HttpServer, peer: str) -> None:
        self.congested = False
        self.peer = peer
        self.secure = False
        self._server = server
        self._limits = server.limits
        self._parser = RequestParser(server.limits)
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._keep_alive = True
        self._closing = False
        self._answered = False
        self._half_closed = False
        self._serving = False
        self._reading_paused = False
        self._held = 0
        self._deadline: float | None = None
        self._expected: tuple[bool, bool] | None = None
        self._unsent_before = 0

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken."""
        return self._transport.get_write_buffer_size()

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(
            high=self._limits.high_water, low=self._limits.low_water
        )
        self.secure = transport.get_extra_info("ssl_object") is not None
        self._server.admit(self)
        self._watch_input()

    def data_received(self, data: bytes) -> None:
        """Feed the parser and serve what is complete."""
        if self._closing:
            return
        self._parser.feed(data)
        self._serve()
        if self._busy and self._parser.buffered > self._limits.max_pipelined_bytes:
            self._reading_paused = True
            self._transport.pause_reading()
        if self._held or not self._parser.idle:
            self._count_held()

    def _count_held(self) -> None:
        """Keep the server's sum; who makes it too large with much of its own is refused."""
        server = self._server
        held = 0 if self._closing else self._parser.held
        server.held += held - self._held
        self._held = held
        limits = self._limits
        too_much = server.held > limits.max_held_bytes and held > limits.max_pipelined_bytes
        if too_much and not self._busy:
            self._refuse(BadRequestError(503, "too many requests are under way"))

    def eof_received(self) -> bool:
        """The client sends nothing more: answer what it asked, end what would go on for ever."""
        self._half_closed = True
        exchange = self._exchange
        if not self._busy or self._closing or self.secure:
            return False
        if exchange is not None and exchange.started:
            exchange.gone()
            return False
        self._set_deadline(self._limits.half_closed_timeout)
        return True

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self.congested = True
        self._unsent_before = self.unsent
        self._set_deadline(self._limits.write_timeout)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.congested = False
        if self._closing:
            return
        if self._exchange is None:
            self._expected = None
            self._resume_reading()
            self._serve()
            return
        if not self._half_closed:
            self._deadline = None
        if self._exchange.on_writable is not None:
            self._exchange.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone, and with it the answer under way."""
        del exc
        self._closing = True
        self._count_held()
        self._server.forget(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.gone()

    # Requests.

    def _serve(self) -> None:
        """Begin the next requests, as long as their answers come at once.

        Only a few in a turn of the loop: other connections have their turn in between. None while
        the client does not take the answers that it has.
        """
        if self._serving:
            return
        self._serving = True
        for _ in range(_REQUESTS_A_TURN):
            if self._busy or self._closing or not self._serve_one():
                self._serving = False
                return
        self._server.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._serving = False
        self._serve()

    @property
    def _busy(self) -> bool:
        return self._exchange is not None or self.congested

    def _serve_one(self) -> bool:
        try:
            request = self._parser.next()
        except BadRequestError as error:
            self._refuse(error)
            return False
        if request is None:
            if self._half_closed:
                self._close()
                return False
            if self._parser.take_continue():
                self._transport.write(_CONTINUE)
            self._watch_input()
            return False
        self._handle(*request)
        return True

    def _handle(self, head: Head, body: bytes) -> None:
        self._answered = True
        self._expected = None
        self._deadline = None
        last = self._server.draining or (self._half_closed and self._parser.idle)
        self._keep_alive = head.keep_alive and not last
        self._exchange = Exchange(self, head, body)
        self._server.serve(self._exchange)

    def _refuse(self, error: BadRequestError) -> None:
        """Answer what is no request, if the client speaks HTTP at all, and close."""
        if error.head is None and not self._answered and not self._parser.speaks_http:
            self.cut()
            return
        self._keep_alive = False
        response = self._server.refusal(error.status, error.message, error.head)
        self._write_response(response)
        self._close()

    # Answers, for the exchange.

    def answer(self, response: Response, extra: Headers) -> None:
        """Send a whole answer, with more headers in front, and go on with the next request."""
        exchange = self._exchange
        assert exchange is not None
        self._write_response(response, extra, head_only=exchange.head.method == "HEAD")
        self._finish()

    def _write_response(
        self, response: Response, extra: Headers = (), *, head_only: bool = False
    ) -> None:
        status, headers, body = response
        data = render_head(status, extra + headers) + self._common_headers()
        if status in _BODILESS:
            data += b"\r\n"
        else:
            data += b"Content-Length: %d\r\n\r\n" % len(body)
        self._transport.write(data if head_only else data + body)

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head of a long answer."""
        assert self._exchange is not None
        if self._exchange.head.version == "1.0":
            self._keep_alive = False  # the end of the connection is the end of the body
        self._transport.write(render_head(status, headers) + self._common_headers() + b"\r\n")

    def send(self, data: bytes) -> None:
        """Send a part of a long answer."""
        self._transport.write(data)

    def end(self, last: bytes) -> None:
        """End a long answer and go on with the next request."""
        if last:
            self._transport.write(last)
        self._finish()

    def _common_headers(self) -> bytes:
        text = f"Date: {self._server.date}\r\n"
        if not self._keep_alive:
            text += "Connection: close\r\n"
        elif self._exchange is not None and self._exchange.head.version == "1.0":
            text += "Connection: keep-alive\r\n"
        return text.encode()

    def _finish(self) -> None:
        self._exchange = None
        if not self._keep_alive or self._server.draining:
            self._close()
            return
        if self.congested:
            return
        self._resume_reading()
        if not self._parser.idle or self._half_closed:
            self._serve()
        else:
            self._expected = None
            self._set_deadline(self._limits.idle_timeout)

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    # The end.

    def _close(self) -> None:
        """Close once the answer has reached the client, or after `linger` whatever is left.

        Our side is closed first and the client's rest read away: closing a socket with unread
        input resets it, and the client might never see the answer.
        """
        self._closing = True
        if self._half_closed or not self._transport.can_write_eof():
            self._transport.close()
            self._set_deadline(self._limits.write_timeout)
            return
        self._resume_reading()
        self._transport.write_eof()
        self._set_deadline(self._limits.linger if not self.unsent else self._limits.write_timeout)

    def cut(self) -> None:
        """Drop the socket and whatever it still holds."""
        self._closing = True
        self._transport.abort()

    def drain(self) -> None:
        """The server stops: close when idle, else after the answer."""
        if self._exchange is None:
            if not self._closing:
                self._close()
        elif self._exchange.on_drain is not None:
            self._exchange.on_drain()

    # Time.

    def _watch_input(self) -> None:
        """Give the client its time for what comes next: a request, its headers or its body."""
        state = (self._parser.idle, self._parser.in_body)
        if state == self._expected and not state[0]:
            return  # more bytes of the same part do not give it more time
        self._expected = state
        idle, in_body = state
        limits = self._limits
        if idle:
            self._set_deadline(limits.idle_timeout if self._answered else limits.head_timeout)
        else:
            self._set_deadline(limits.body_timeout if in_body else limits.head_timeout)

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = self._server.time() + seconds

    def tick(self, now: float) -> None:
        """Look at the time that the client takes."""
        if self._deadline is None or now < self._deadline:
            return
        unsent = self.unsent
        if unsent and unsent < self._unsent_before:
            self._unsent_before = unsent  # slow, but it reads
            self._set_deadline(self._limits.write_timeout)
        elif self._exchange or self._closing or unsent or self._parser.idle:
            self.cut()
        else:
            self._refuse(BadRequestError(408, "the request came too slowly"))
