"""The transport for blocking callers: one connection an endpoint, which all threads share."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

from pykvd.client.transport import CallError
from pykvd.client.wire.limits import CLOSED, DEADLINE, READ_BYTES, Times
from pykvd.client.wire.shared import Connection, opened, over
from pykvd.client.wire.tls import TlsSession
from pykvd.status import Code

if TYPE_CHECKING:
    from pykvd.client.transport import Metadata
    from pykvd.client.wire.endpoint import Endpoint
    from pykvd.client.wire.tls import TLS
    from pykvd.transport.client_call import Call


class BlockingTransport:
    """One endpoint, dialled when it is first needed and again whenever the connection is lost."""

    def __init__(
        self, endpoint: Endpoint, tls: TLS | None = None, times: Times | None = None
    ) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._times = times or Times()
        self._connection: Connection | None = None
        self._draining: list[Connection] = []
        """Takes no more calls, but may still answer some."""
        self._dialling = threading.Lock()
        self._closed = False

    def unary(self, path: str, request: bytes, deadline: float, metadata: Metadata) -> bytes:
        """See `pykvd.client.transport.Transport`."""
        connection, call = self._start(path, deadline, metadata, request)
        started = time.monotonic()
        try:
            connection.wait(call, deadline, over)
        except TimeoutError:
            connection.cancel(call)
            connection.doubt(started)
            raise CallError(Code.DEADLINE_EXCEEDED, DEADLINE, sent=call.opened) from None
        except BaseException:  # a KeyboardInterrupt must not leave the call behind
            connection.cancel(call)
            raise
        if call.code or not call.messages:
            raise CallError(
                call.code or Code.INTERNAL, call.text or "no reply", sent=not call.refused
            )
        return call.messages[0]

    def stream(self, path: str, deadline: float, metadata: Metadata) -> BlockingStream:
        """See `pykvd.client.transport.Transport`."""
        connection, call = self._start(path, deadline, metadata, None)
        try:
            connection.wait(call, deadline, opened)
        except TimeoutError:
            connection.cancel(call)
            raise CallError(Code.DEADLINE_EXCEEDED, DEADLINE, sent=False) from None
        except BaseException:  # a KeyboardInterrupt must not leave the call behind
            connection.cancel(call)
            raise
        return BlockingStream(connection, call)

    def close(self) -> None:
        """End all calls and close the socket."""
        self._closed = True
        for connection in (self._connection, *self._draining):
            if connection is not None:
                connection.close(CLOSED)

    def _start(
        self, path: str, deadline: float, metadata: Metadata, request: bytes | None
    ) -> tuple[Connection, Call]:
        while True:
            connection = self._ready(deadline)
            call = connection.start(path, deadline, metadata, request)
            if call is not None:
                return connection, call

    def _ready(self, deadline: float) -> Connection:
        """The connection, dialled if there is none; raises CallError."""
        connection = self._connection
        if connection is not None and connection.usable:
            return connection
        if not self._dialling.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise CallError(Code.DEADLINE_EXCEEDED, DEADLINE, sent=False)
        try:
            if self._closed:
                raise CallError(Code.CANCELLED, CLOSED, sent=False)
            connection = self._connection
            if connection is None or not connection.usable:
                self._draining = [one for one in (connection, *self._draining) if one and one.open]
                self._connection = None
                connection = dial(self._endpoint, self._tls, self._times, deadline)
                self._connection = connection
            if self._closed:  # meanwhile
                connection.close(CLOSED)
            return connection
        except (OSError, ssl.CertificateError) as error:
            text = f"cannot connect to {self._endpoint.text}: {error or type(error).__name__}"
            raise CallError(Code.UNAVAILABLE, text, sent=False) from None
        finally:
            self._dialling.release()


class BlockingStream:
    """See `pykvd.client.transport.Stream`."""

    def __init__(self, connection: Connection, call: Call) -> None:
        self._connection = connection
        self._call = call
        self._interrupted = False

    def send(self, message: bytes, *, last: bool = False) -> None:
        """Queue a message."""
        self._connection.send(self._call, message, last=last)

    def receive(self, deadline: float | None = None) -> bytes | None:
        """The next message, None at the end; raises CallError or TimeoutError."""
        call = self._call
        self._connection.wait(call, deadline, self._ready)
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
        self._connection.nudge(self._call)

    def _ready(self, call: Call) -> bool:
        return bool(call.messages) or self._interrupted

    def close(self) -> None:
        """Cancel the call and wake its reader."""
        self._connection.cancel(self._call)


def dial(endpoint: Endpoint, tls: TLS | None, times: Times, deadline: float) -> Connection:
    """A connection whose server has greeted; raises OSError (also TimeoutError, ssl.SSLError)."""
    now = time.monotonic()
    until = min(deadline, now + times.dial)
    sock = _connect(endpoint, max(0.001, until - now))
    try:
        session = _secure(sock, endpoint, tls, until) if tls is not None else None
        connection = Connection(sock, session, endpoint.authority, times.keepalive())
    except BaseException:
        sock.close()
        raise
    try:
        connection.greet(until)
    except BaseException:
        connection.close("the server did not greet")
        raise
    return connection


def _connect(endpoint: Endpoint, seconds: float) -> socket.socket:
    if not endpoint.path:
        sock = socket.create_connection((endpoint.host, endpoint.port), seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(seconds)
        sock.connect(endpoint.path)
    except BaseException:
        sock.close()
        raise
    return sock


def _secure(sock: socket.socket, endpoint: Endpoint, tls: TLS, deadline: float) -> TlsSession:
    session = TlsSession(tls.context, tls.server_name or endpoint.host or "localhost")
    data, done = b"", False
    while True:
        done, out = session.handshake(data)
        if out:
            sock.sendall(out)
        if done:
            return session
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        data = sock.recv(READ_BYTES)
        if not data:
            raise OSError("the server ended the TLS handshake")
