"""Connections for an event loop: one `asyncio.Protocol` each, no task.

What the calls of one turn of the loop have to send leaves in one write at its end.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, cast

from pykvd.client.transport import CallError
from pykvd.client.wire.limits import (
    CLOSED,
    DEADLINE,
    DOUBT_AFTER,
    KEEPALIVE_PAUSE,
    SILENT,
    Times,
)
from pykvd.status import Code
from pykvd.transport.client_call import Call, timeout_text, unheard
from pykvd.transport.client_connection import ClientConnection
from pykvd.transport.keepalive import Action

if TYPE_CHECKING:
    from pykvd.client.transport import Metadata
    from pykvd.client.wire.endpoint import Endpoint
    from pykvd.client.wire.tls import TLS


class AsyncioTransport:
    """One endpoint, dialled when it is first needed and again whenever the connection is lost."""

    def __init__(
        self, endpoint: Endpoint, tls: TLS | None = None, times: Times | None = None
    ) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._times = times or Times()
        self._connection: Connection | None = None
        self._connections: set[Connection] = set()
        """All that are open: also those that take no more calls but may still answer some."""
        self._dialling: asyncio.Future[Connection] | None = None
        self._closed = False

    async def unary(self, path: str, request: bytes, deadline: float, metadata: Metadata) -> bytes:
        """See `pykvd.client.transport.AsyncTransport`."""
        connection = self._connection
        if connection is None or not connection.usable:
            connection = await self._dial(deadline)
        call = connection.start(path, deadline, metadata, request)
        started = time.monotonic()
        try:
            while call.code is None:
                await connection.wait(call, deadline)
        except TimeoutError:
            connection.cancel(call)
            connection.doubt(started)
            raise CallError(Code.DEADLINE_EXCEEDED, DEADLINE, sent=call.opened) from None
        except BaseException:  # the caller was cancelled
            connection.cancel(call)
            raise
        if call.code or not call.messages:
            text = call.text or "no reply"
            raise CallError(call.code or Code.INTERNAL, text, sent=not call.refused)
        return call.messages[0]

    async def stream(self, path: str, deadline: float, metadata: Metadata) -> AsyncioStream:
        """See `pykvd.client.transport.AsyncTransport`."""
        connection = self._connection
        if connection is None or not connection.usable:
            connection = await self._dial(deadline)
        call = connection.start(path, deadline, metadata, None)
        try:
            while not call.opened and call.code is None:
                await connection.wait(call, deadline)
        except TimeoutError:
            connection.cancel(call)
            raise CallError(Code.DEADLINE_EXCEEDED, DEADLINE, sent=False) from None
        except BaseException:  # the caller was cancelled
            connection.cancel(call)
            raise
        return AsyncioStream(connection, call)

    async def close(self) -> None:
        """End all calls and close the socket."""
        self._closed = True
        if self._dialling is not None:
            self._dialling.cancel()
        for connection in list(self._connections):
            connection.close(CLOSED)
            await asyncio.wait([connection.gone])

    async def _dial(self, deadline: float) -> Connection:
        """A new connection, made once for all that wait for it; raises CallError."""
        if self._closed:
            raise CallError(Code.CANCELLED, CLOSED, sent=False)
        if self._dialling is None or self._dialling.done():
            self._dialling = asyncio.ensure_future(self._connect())
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                connection = await asyncio.shield(self._dialling)
        except OSError as error:  # also TimeoutError and ssl.SSLError
            text = f"cannot connect to {self._endpoint.text}: {error or type(error).__name__}"
            raise CallError(Code.UNAVAILABLE, text, sent=False) from None
        except asyncio.CancelledError:
            if self._closed:
                raise CallError(Code.CANCELLED, CLOSED, sent=False) from None
            raise
        self._connection = connection
        return connection

    async def _connect(self) -> Connection:
        connection = await dial(self._endpoint, self._tls, self._times)
        self._connections.add(connection)
        connection.gone.add_done_callback(lambda _: self._connections.discard(connection))
        return connection


class AsyncioStream:
    """See `pykvd.client.transport.AsyncStream`."""

    def __init__(self, connection: Connection, call: Call) -> None:
        self._connection = connection
        self._call = call
        self._interrupted = False

    def send(self, message: bytes, *, last: bool = False) -> None:
        """Queue a message."""
        self._connection.send(self._call, message, last=last)

    async def receive(self, deadline: float | None = None) -> bytes | None:
        """The next message, None at the end; raises CallError or TimeoutError."""
        call = self._call
        while call.code is None and not call.messages and not self._interrupted:
            await self._connection.wait(call, deadline)
        if call.messages:
            return self._connection.take(call)
        if self._interrupted:
            self._interrupted = False
            raise TimeoutError("interrupted")
        if call.code:
            raise CallError(call.code, call.text, sent=not call.refused)
        return None

    def interrupt(self) -> None:
        """End the `receive` that waits, or the next one, with TimeoutError."""
        self._interrupted = True
        self._call.changed()

    def close(self) -> None:
        """Cancel the call and wake its reader."""
        self._connection.cancel(self._call)


class Connection(asyncio.Protocol):
    """A socket of the running loop and the `ClientConnection` on it."""

    def __init__(self, authority: str, times: Times, *, secure: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._core = ClientConnection(authority, secure=secure)
        self._transport: asyncio.Transport
        self._keepalive = times.keepalive()
        self._last_received = self._expecting_since = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        """Done when the server has shown that it speaks HTTP/2, or is gone."""
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done when the socket is closed."""

    @property
    def usable(self) -> bool:
        """Whether calls can be started."""
        return not self._core.lost

    @property
    def lost(self) -> str:
        """Why they cannot."""
        return self._core.lost

    def start(self, path: str, deadline: float, metadata: Metadata, request: bytes | None) -> Call:
        """Start a call on a usable connection, unary if there is a request."""
        timeout = timeout_text(deadline - time.monotonic()) if request is not None else ""
        call = self._core.start(path, metadata, timeout)
        if request is not None:
            self._core.send(call, request, last=True)
        self._flush_soon()
        return call

    def send(self, call: Call, message: bytes, *, last: bool) -> None:
        """Queue a message of a call."""
        self._core.send(call, message, last=last)
        self._flush_soon()

    def take(self, call: Call) -> bytes:
        """The oldest message of a call."""
        message = self._core.take(call)
        self._flush_soon()
        return message

    def cancel(self, call: Call) -> None:
        """End a call."""
        self._core.cancel(call)
        self._flush_soon()

    def doubt(self, since: float) -> None:
        """Start no more calls here if nothing at all has come since then."""
        if self._last_received < since < time.monotonic() - DOUBT_AFTER:
            self._core.retire(SILENT)
            self._flush_soon()

    def close(self, reason: str) -> None:
        """End all calls as CANCELLED and close; `gone` follows."""
        self._core.cancel_all(reason)
        self._flush()
        self._core.close(reason)
        self._transport.abort()

    async def wait(self, call: Call, deadline: float | None) -> None:
        """Until the call has changed; raises TimeoutError."""
        changed = self._loop.create_future()

        def wake() -> None:
            if not changed.done():
                changed.set_result(None)

        def expire() -> None:
            if not changed.done():
                changed.set_exception(TimeoutError(DEADLINE))

        call.changed = wake
        timer = None
        if deadline is not None:
            timer = self._loop.call_later(max(0.0, deadline - time.monotonic()), expire)
        try:
            await changed
        finally:
            call.changed = unheard
            if timer is not None:
                timer.cancel()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        out = self._core.take_output()
        if out and not self._transport.is_closing():
            self._transport.write(b"".join(out))
        if self._core.lost and not self._core.calls:
            self._transport.close()

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the server."""
        self._transport = cast(asyncio.Transport, transport)
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._flush()
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Feed the connection."""
        self._last_received = time.monotonic()
        self._core.receive(data)
        if not self.greeted.done() and (self._core.greeted or self._core.lost):
            self.greeted.set_result(None)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """All calls end."""
        if self._timer is not None:
            self._timer.cancel()
        self._core.close(f"the connection was lost: {exc}" if exc else "the connection was lost")
        for future in (self.greeted, self.gone):
            if not future.done():
                future.set_result(None)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(KEEPALIVE_PAUSE, self._tick)
        if not self._core.calls:
            self._expecting_since = time.monotonic()
            return
        heard = max(self._last_received, self._expecting_since)
        action = self._keepalive.tick(time.monotonic(), heard)
        if action is Action.SEND_PING:
            self._core.ping()
            self._flush()
        elif action is Action.CUT:
            self._core.close(SILENT)
            self._transport.abort()


async def dial(endpoint: Endpoint, tls: TLS | None, times: Times) -> Connection:
    """A connection whose server has greeted; raises OSError (also TimeoutError, ssl.SSLError)."""
    loop = asyncio.get_running_loop()
    context = tls.context if tls is not None else None
    name = None
    if tls is not None:
        name = tls.server_name or endpoint.host or "localhost"

    def make() -> Connection:
        return Connection(endpoint.authority, times, secure=tls is not None)

    async with asyncio.timeout(times.dial):
        if endpoint.path:
            _, connection = await loop.create_unix_connection(
                make, endpoint.path, ssl=context, server_hostname=name
            )
        else:
            _, connection = await loop.create_connection(
                make, endpoint.host, endpoint.port, ssl=context, server_hostname=name
            )
        try:
            await asyncio.shield(connection.greeted)
        except BaseException:
            connection.close("the server did not greet")
            raise
    if not connection.usable:
        raise OSError(connection.lost)
    return connection
