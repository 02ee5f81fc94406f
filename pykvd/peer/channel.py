"""asyncio around `ClientConnection`: one socket to one peer."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Self, cast

from pykvd.config.urls import URL
from pykvd.errors import Code, RpcError
from pykvd.logs import get_logger
from pykvd.tls import Dialler
from pykvd.transport.client_call import timeout_text
from pykvd.transport.client_connection import ClientConnection
from pykvd.transport.frames import ErrorCode
from pykvd.transport.keepalive import Action, KeepAlive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pykvd.peer.limits import PeerLimits
    from pykvd.tls import TlsClient
    from pykvd.transport.client_call import Call

LOST = "connection to the peer was lost"
CLOSED = "connection closed"

_log = get_logger("peer")


class Channel(asyncio.Protocol):
    """A connection to a peer. Made by `connect`; belongs to the running loop."""

    def __init__(self, limits: PeerLimits, address: URL) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._connection = ClientConnection(
            "localhost" if address.is_unix else address.authority,
            secure=address.is_secure,
            limits=limits.client(),
        )
        self._keepalive = KeepAlive(limits.listener())
        self._timeout = limits.keepalive_timeout
        self._pause = min(limits.keepalive_interval, limits.keepalive_timeout) / 4
        self._timer: asyncio.TimerHandle | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._last_received = self._loop.time()
        self._flush_armed = False
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done when the socket is gone."""

    @classmethod
    async def connect(cls, url: str, limits: PeerLimits, tls: TlsClient | None = None) -> Self:
        """Dial a peer URL.

        Raises:
            ValueError: no URL, or one that needs TLS and there is no `tls`.
            OSError: nobody there, no answer within `connect_timeout`, or not the peer (TlsError).

        """
        address = URL.parse(url)
        channel = cls(limits, address)
        async with asyncio.timeout(limits.connect_timeout):
            if not address.is_secure:
                await _dial(address, lambda: channel)
            elif tls is None:
                raise ValueError(f"peer URL {url} needs TLS, and none is set up")
            else:
                dialler = Dialler(tls, "localhost" if address.is_unix else address.host)
                await _dial(address, lambda: dialler.layer)
                await dialler.handshake(channel)
        return channel

    @property
    def usable(self) -> bool:
        """Whether streams can be opened."""
        return not self._connection.lost

    def open(self, path: str, metadata: Iterable[tuple[str, str]], timeout: str = "") -> Call:
        """Start a call; set its `changed` before anything else happens to it.

        Raises RpcError UNAVAILABLE on a lost connection.
        """
        if self._connection.lost:
            raise RpcError(Code.UNAVAILABLE, LOST)
        call = self._connection.start(path, tuple(metadata), timeout)
        self._wake()
        return call

    def send(self, call: Call, message: bytes, *, last: bool = False) -> None:
        """Queue one message of a call."""
        self._connection.send(call, message, last=last)
        self._wake()

    def take(self, call: Call) -> bytes:
        """The oldest message of a call, of which there must be one."""
        message = self._connection.take(call)
        self._wake()
        return message

    def cancel(self, call: Call, text: str = CLOSED, code: int = Code.CANCELLED) -> None:
        """End a call with this status, unless it is over."""
        if call.code is None:
            self._connection.cancel(call, text, code)
            self._wake()

    async def unary(
        self, path: str, metadata: Iterable[tuple[str, str]], message: bytes, limit: float
    ) -> bytes:
        """Make a unary call that may take `limit` seconds. Raises RpcError."""
        call = self.open(path, metadata, timeout_text(limit))
        self.send(call, message, last=True)
        over = self._loop.create_future()

        def changed() -> None:
            if call.code is not None and not over.done():
                over.set_result(None)

        call.changed = changed
        try:
            async with asyncio.timeout(limit):
                await over
        except TimeoutError:
            raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
        finally:
            self.cancel(call)
        if call.code or not call.messages:
            raise RpcError(call.code or Code.INTERNAL, call.text or "no reply")
        return call.messages[0]

    def flush(self) -> None:
        """Write what is ready now, rather than at the end of the loop's turn."""
        out = self._connection.take_output()
        if out and not self.lost.done():
            self._transport.write(b"".join(out))
        if self._connection.closed:
            self._transport.close()

    def close(self) -> None:
        """End all streams and close once everything is written; `lost` follows."""
        self._connection.terminate(ErrorCode.NO_ERROR, CLOSED, CLOSED)
        self.flush()
        if self._cut is None and not self.lost.done():
            # A peer that reads nothing must not keep the socket.
            self._cut = self._loop.call_later(self._timeout, self._transport.abort)

    async def wait_closed(self) -> None:
        """Close and wait for the socket to be gone."""
        self.close()
        await asyncio.wait([self.lost])

    def _wake(self) -> None:
        if not self._flush_armed:
            self._flush_armed = True
            self._loop.call_soon(self._flush_later)

    def _flush_later(self) -> None:
        self._flush_armed = False
        self.flush()

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set socket options and greet the server."""
        self._transport = cast(asyncio.Transport, transport)
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.flush()
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Feed the connection."""
        self._last_received = self._loop.time()
        try:
            self._connection.receive(data)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not pass for silence
            _log.error("internal error on a peer connection", error=repr(error))
            self._connection.terminate(ErrorCode.INTERNAL_ERROR, "internal error", "internal error")
        if self._connection.lost:
            # A peer that goes away: nothing is gained by keeping our streams until it cuts them.
            self._connection.close(self._connection.lost)
        self.flush()

    def pause_writing(self) -> None:
        """The socket is full."""
        self._connection.set_writable(False)

    def resume_writing(self) -> None:
        """The socket has room."""
        self._connection.set_writable(True)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """All streams end."""
        for timer in (self._timer, self._cut):
            if timer is not None:
                timer.cancel()
        if not self.lost.done():
            self.lost.set_result(None)
        self._connection.close(f"{LOST}: {exc}" if exc else LOST)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._pause, self._tick)
        action = self._keepalive.tick(self._loop.time(), self._last_received)
        if action is Action.SEND_PING:
            self._connection.ping()
            self._wake()
        elif action is Action.CUT:
            self._connection.close("peer does not answer")
            self._transport.abort()


async def _dial(address: URL, factory: Callable[[], asyncio.Protocol]) -> None:
    loop = asyncio.get_running_loop()
    if address.is_unix:
        await loop.create_unix_connection(factory, address.socket_path)
    else:
        await loop.create_connection(factory, address.host, address.port or 0)
