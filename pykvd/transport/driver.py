"""asyncio around `ServerConnection`: one Protocol object a socket.

The first bytes decide here, and only here, who speaks on the socket: an HTTP/2 preface starts a
ServerConnection, a handshake is handed to the TLS of a port that has both, anything else to the
HTTP/1.1 protocol that the server was given, or cut.
"""

from __future__ import annotations

import asyncio
import socket
from time import monotonic
from typing import TYPE_CHECKING, cast

from pykvd.transport.frames import CLIENT_PREFACE, ErrorCode

if TYPE_CHECKING:
    from pykvd.tls import Acceptor
    from pykvd.transport.connection import ServerConnection
    from pykvd.transport.server import Server

# The shortest beginning of the preface that no HTTP/1.1 request shares ("PRI " could be a method).
_HTTP2_MARK = CLIENT_PREFACE[:14]
#: A record of a handshake (RFC 8446 5.1).
_TLS_MARK = b"\x16"
#: A connection has the loop for so many seconds; what it sent beyond waits for the next turn, and
#: is not read any more meanwhile. The clock is looked at after so many bytes.
SLICE = 0.01
PIECE_BYTES = 16 << 10
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)


class Http2Protocol(asyncio.Protocol):
    """The driver of one socket."""

    def __init__(self, server: Server, acceptor: Acceptor | None = None) -> None:
        """`acceptor` takes the socket where the client begins a TLS handshake."""
        self._server = server
        self._acceptor = acceptor
        self._transport: asyncio.Transport
        self._connection: ServerConnection
        self._head = b""
        self._speaking = False
        self._lost = False
        self._rest = b""
        self._reading_paused = False
        self._cut_handle: asyncio.TimerHandle | None = None

    @property
    def connection(self) -> ServerConnection:
        """The protocol state behind this socket."""
        return self._connection

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set socket options and make the connection's state."""
        self._transport = cast("asyncio.Transport", transport)
        server = self._server
        limits = server.limits
        self._transport.set_write_buffer_limits(
            high=limits.socket_buffer_bytes, low=limits.socket_buffer_bytes // 4
        )
        _set_socket_options(transport.get_extra_info("socket"), limits.keepalive_timeout)
        self._connection = server.make_connection(
            self,
            _describe_peer(transport),
            secure=transport.get_extra_info("ssl_object") is not None,
        )
        self._connection.common_name = transport.get_extra_info("common_name", "")
        if not server.admit(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Feed the connection and send what it answers, in one write."""
        if not self._speaking:
            data = self._decide(data)
            if not data:
                return
        self._server.counters.bytes_received += len(data)
        if self._rest:
            self._rest += data
        else:
            self._handle(data)

    def _handle(self, data: bytes) -> None:
        connection = self._connection
        server = self._server
        connection.dirty = True  # no wake-up for output that leaves right below
        try:
            if len(data) <= PIECE_BYTES:
                connection.receive(data, server.time())
            else:
                self._handle_pieces(data)
        except Exception:
            server.logger.exception("internal error on the connection of %s", connection.peer)
            connection.terminate(ErrorCode.INTERNAL_ERROR, "internal error")
        self.flush()

    def _handle_pieces(self, data: bytes) -> None:
        end = monotonic() + SLICE
        for start in range(0, len(data), PIECE_BYTES):
            if monotonic() > end:
                self._rest = data[start:]
                self._transport.pause_reading()
                self._server.call_later(0, self._handle_rest)
                return
            self._connection.receive(data[start : start + PIECE_BYTES], self._server.time())

    def _handle_rest(self) -> None:
        if self._lost:
            return
        data, self._rest = self._rest, b""
        self._handle(data)
        if not self._rest and not self._reading_paused and not self._lost:
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        """The peer sends nothing more: it cannot keep a gRPC connection up like this."""
        return False

    def pause_writing(self) -> None:
        """The socket is full."""
        self._connection.set_writable(False)

    def resume_writing(self) -> None:
        """The socket has room."""
        self._connection.set_writable(True)
        if self._reading_paused:
            self._reading_paused = False
            if not self._rest:
                self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """All calls of the connection end."""
        del exc
        if self._cut_handle is not None:
            self._cut_handle.cancel()
        self._let_go()

    # Called by the server.

    def flush(self) -> None:
        """Write all pending output.

        More may be pending afterwards (`dirty`), for the next turn of the loop.
        """
        if self._lost:
            return
        connection = self._connection
        transport = self._transport
        out = connection.take_output()
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            self._server.counters.bytes_sent += len(data)
            transport.write(data)
        if connection.closing:
            self._begin_close()
        elif connection.dirty:
            self._server.wake(self)
        elif not connection.writable:
            self._relieve()

    def cut(self) -> None:
        """Drop the socket and whatever it still holds."""
        self._transport.abort()

    def _relieve(self) -> None:
        """The socket is full: when far too much waits, stop reading what would only produce more.

        Only then: the kernel alone decides when the socket has room again, so nothing that the
        peer still has to say (a WINDOW_UPDATE) can be what we wait for.
        """
        waiting = self._connection.queued_bytes + self._transport.get_write_buffer_size()
        if not self._reading_paused and waiting > self._server.limits.stalled_output_bytes:
            self._reading_paused = True
            self._transport.pause_reading()

    def _let_go(self) -> None:
        """The socket is no longer ours: end the calls, send nothing more."""
        self._lost = True
        self._connection.dirty = True  # and so is never flushed again
        self._connection.close()
        self._server.forget(self)

    def _begin_close(self) -> None:
        """Close once the output has reached the peer, or after `linger` whatever is left.

        Our side is closed first and the peer's rest read away: closing a socket with unread input
        resets it, and the peer might never see the GOAWAY.
        """
        linger = self._connection.linger
        if not linger:
            self.cut()
        elif self._cut_handle is None:
            self._cut_handle = self._server.call_later(linger, self.cut)
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()

    def _decide(self, data: bytes) -> bytes:
        """HTTP/2, TLS, HTTP/1.1 or nothing.

        The bytes to go on with, empty while undecided or given away.
        """
        data = self._head + data
        if _HTTP2_MARK.startswith(data):
            self._head = data
            return b""
        self._head = b""
        if not data.startswith(_HTTP2_MARK):
            self._let_go()
            acceptor = self._acceptor if data.startswith(_TLS_MARK) else None
            self._server.hand_over(self._transport, data, self._connection.peer, acceptor)
            return b""
        self._speaking = True
        return data


def _describe_peer(transport: asyncio.BaseTransport) -> str:
    address = transport.get_extra_info("peername")
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"unix:{address or ''}"


def _set_socket_options(sock: socket.socket | None, keepalive_timeout: float) -> None:
    """No Nagle delay.

    And unacknowledged output ends a dead connection as soon as a lost ping would.
    """
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _TCP_USER_TIMEOUT is not None and keepalive_timeout:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(keepalive_timeout * 1000))
