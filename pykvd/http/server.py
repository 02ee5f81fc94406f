"""The HTTP server: the connections that listeners hand over, and one timer for their limits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from email.utils import formatdate
from time import time
from typing import TYPE_CHECKING

from pykvd.http.connection import HttpConnection
from pykvd.http.limits import HttpLimits
from pykvd.http.stream import HttpStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.http.exchange import Exchange
    from pykvd.http.message import Head, Response
    from pykvd.transport.request import RequestHead

_logger = logging.getLogger("pykvd.http")

MAX_TICK_S = 1.0
"""Time limits are looked at this often, or four times within the shortest of them."""


class HttpServer:
    """Serves one application on the sockets that `transport.Server` gives it (`transport.Http`).

    `application` begins the answer of an exchange; `refusal` makes the answer for what is no
    request or fails, from a status, a text and the head if there is one.
    """

    def __init__(
        self,
        application: Callable[[Exchange], None],
        refusal: Callable[[int, str, Head | None], Response],
        limits: HttpLimits | None = None,
    ) -> None:
        self.application = application
        self.refusal = refusal
        self.limits = limits or HttpLimits()
        loop = asyncio.get_running_loop()
        self.time = loop.time
        self.call_soon = loop.call_soon
        self.draining = False
        #: Bytes of incomplete requests.
        self.held = 0
        self._connections: dict[HttpConnection, None] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._timer: asyncio.TimerHandle | None = None
        self._second, self._date = 0, ""
        limits = self.limits
        shortest = min(
            limits.head_timeout,
            limits.body_timeout,
            limits.idle_timeout,
            limits.write_timeout,
            limits.half_closed_timeout,
            limits.linger,
        )
        self._tick_seconds = min(MAX_TICK_S, shortest / 4)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def date(self) -> str:
        """The time as responses tell it (RFC 9110 6.6.1)."""
        now = int(time())
        if now != self._second:
            self._second, self._date = now, formatdate(now, usegmt=True)
        return self._date

    def make_protocol(self, peer: str) -> asyncio.Protocol:
        """The protocol of one socket."""
        return HttpConnection(self, peer)

    def open_stream(self, head: RequestHead) -> None:
        """Have a request on HTTP/2 that is no gRPC call served here."""
        head.open, head.target = HttpStream, self

    def serve(self, exchange: Exchange) -> None:
        """Begin the answer of an exchange; what goes wrong is answered and told in the log."""
        try:
            self.application(exchange)
        except Exception:
            head = exchange.head
            _logger.exception("the handler of %s %s failed", head.method, head.target)
            if exchange.started:
                exchange.abort()
            else:
                exchange.respond(self.refusal(500, "internal error", head))

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - the contract's name
        """Close idle connections, end streams, let requests run for `timeout` seconds, then cut."""
        self.draining = True
        for connection in list(self._connections):
            connection.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout)
        await self.close()

    async def close(self) -> None:
        """Cut all connections; returns when they are gone."""
        self.draining = True
        for connection in list(self._connections):
            connection.cut()
        await self._empty.wait()

    # For the connections.

    def admit(self, connection: HttpConnection) -> None:
        """Count a connection in."""
        self._connections[connection] = None
        self._empty.clear()
        if self._timer is None:
            self._tick()

    def forget(self, connection: HttpConnection) -> None:
        """A connection is gone."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._empty.set()

    def _tick(self) -> None:
        self._timer = None
        now = self.time()
        for connection in list(self._connections):
            connection.tick(now)
        if self._connections:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._tick_seconds, self._tick)
