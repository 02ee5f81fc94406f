"""Connections for threads, without a thread or an event loop of their own.

Whoever waits for an answer reads the socket, for everybody: one waiting thread *leads*, the others
sleep until their call has changed or the lead is passed on to them. A program with one thread pays
for one `poll` and one `recv` a call.

While nobody waits nothing is read. Before an idle connection is used what has arrived meanwhile is
read first, so that a server that went away in between is noticed before a request is sent to it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Final

from pykvd.client.transport import CallError
from pykvd.client.wire.http2 import Call, ClientConnection, timeout_text, unheard
from pykvd.client.wire.limits import DIAL_TIMEOUT, KEEPALIVE_PAUSE, READ_BYTES, keepalive
from pykvd.client.wire.tls import TlsSession
from pykvd.status import Code
from pykvd.transport.keepalive import Action

if TYPE_CHECKING:
    from pykvd.client.transport import Metadata
    from pykvd.client.wire.endpoint import Endpoint
    from pykvd.client.wire.tls import TLS

DEADLINE: Final = "context deadline exceeded"
CLOSED: Final = "the client is closed"
_GONE: Final = "the connection was lost"


class BlockingTransport:
    """One endpoint, dialled when it is first needed and again whenever the connection is lost."""

    def __init__(self, endpoint: Endpoint, tls: TLS | None = None) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._connection: Connection | None = None
        self._draining: list[Connection] = []
        """Takes no more calls, but may still answer some."""
        self._dialling = threading.Lock()
        self._closed = False

    def unary(self, path: str, request: bytes, deadline: float, metadata: Metadata) -> bytes:
        """See `pykvd.client.transport.Transport`."""
        connection, call = self._start(path, deadline, metadata, request)
        try:
            connection.wait(call, deadline, whole=True)
        except TimeoutError:
            connection.cancel(call)
            raise CallError(Code.DEADLINE_EXCEEDED, DEADLINE) from None
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
        return BlockingStream(*self._start(path, deadline, metadata, None))

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
                connection = self._connection = dial(self._endpoint, self._tls, deadline)
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

    def send(self, message: bytes, *, last: bool = False) -> None:
        """Queue a message."""
        self._connection.send(self._call, message, last=last)

    def receive(self, deadline: float | None = None) -> bytes | None:
        """The next message, None at the end; raises CallError or TimeoutError."""
        call = self._call
        self._connection.wait(call, deadline)
        if call.messages:
            return self._connection.take(call)
        if call.code:
            raise CallError(call.code, call.text, sent=not call.refused)
        return None

    def close(self) -> None:
        """Cancel the call and wake its reader."""
        self._connection.cancel(self._call)


class _Waiter:
    """A thread that sleeps until its call has changed or it shall lead."""

    __slots__ = ("_lock", "_set")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._set = False

    def set(self) -> None:
        """Wake it; under the connection's lock."""
        if not self._set:
            self._set = True
            self._lock.release()

    def wait(self, seconds: float) -> None:
        """Sleep; outside of that lock."""
        self._lock.acquire(timeout=seconds)


class Connection:
    """A socket and the `ClientConnection` on it.

    Invariant: everything but reading from the socket happens under `_lock`; only the leader reads,
    and at most one thread leads.
    """

    def __init__(self, sock: socket.socket, session: TlsSession | None, authority: str) -> None:
        self._sock = sock
        self._session = session
        self._core = ClientConnection(authority, secure=session is not None)
        self._lock = threading.Lock()
        self._leading = False
        self._waiters: list[_Waiter] = []
        self._unsent = b""
        self._polling_out = False
        self._keepalive = keepalive()
        self._last_received = time.monotonic()
        self._interrupt, self._interrupted = socket.socketpair()
        self._interrupt.setblocking(False)
        self._interrupted.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._interrupted, select.POLLIN)
        self._poll.register(sock, select.POLLIN)
        sock.setblocking(False)

    @property
    def usable(self) -> bool:
        """Whether calls can be started."""
        return not self._core.lost

    @property
    def open(self) -> bool:
        """Whether there are sockets."""
        return not self._core.closed

    def start(
        self, path: str, deadline: float, metadata: Metadata, request: bytes | None
    ) -> Call | None:
        """Start a call, unary if there is a request; None if the connection is lost."""
        with self._lock:
            core = self._core
            if not self._leading:
                self._catch_up()
            if core.lost:
                self._settle()
                return None
            timeout = timeout_text(deadline - time.monotonic()) if request is not None else ""
            call = core.start(path, metadata, timeout)
            if request is not None:
                core.send(call, request, last=True)
            self._flush()
            return call

    def send(self, call: Call, message: bytes, *, last: bool) -> None:
        """Queue a message of a call."""
        with self._lock:
            self._core.send(call, message, last=last)
            self._flush()

    def take(self, call: Call) -> bytes:
        """The oldest message of a call."""
        with self._lock:
            message = self._core.take(call)
            self._flush()
            return message

    def cancel(self, call: Call) -> None:
        """End a call; a thread that waits for it hears of it."""
        with self._lock:
            self._core.cancel(call)
            self._flush()
            self._wake_leader()
            self._settle()

    def close(self, reason: str) -> None:
        """End all calls as CANCELLED and close the socket once nobody reads it any more."""
        with self._lock:
            for call in list(self._core.calls.values()):
                self._core.cancel(call, reason)
            self._flush()
            self._core.close(reason)
            self._wake_leader()
            self._settle()

    def greet(self, deadline: float) -> None:
        """Wait until the server has shown that it speaks HTTP/2; raises OSError."""
        with self._lock:
            self._flush()
            self._leading = True
            if self._session is not None:  # it may have come with the end of the handshake
                self._core.receive(self._session.decrypt(b"")[0])
        try:
            while not self._core.greeted:
                if self._core.lost:
                    raise OSError(self._core.lost)
                if time.monotonic() >= deadline:
                    raise TimeoutError("the server does not greet")
                self._read_once(deadline)
        finally:
            self._stop_leading()

    def wait(self, call: Call, deadline: float | None, *, whole: bool = False) -> None:
        """Until the call has a message or is over (`whole`: over); raises TimeoutError."""
        while True:
            with self._lock:
                if call.code is not None or (call.messages and not whole):
                    self._pass_lead()
                    return
                if deadline is not None and time.monotonic() >= deadline:
                    self._pass_lead()
                    raise TimeoutError(DEADLINE)
                waiter = self._take_lead_or_queue(call)
            if waiter is None:
                self._lead(call, deadline, whole=whole)
            else:
                self._follow(call, waiter, deadline)

    def _take_lead_or_queue(self, call: Call) -> _Waiter | None:
        if self._leading:
            waiter = _Waiter()
            self._waiters.append(waiter)
            call.changed = waiter.set
            return waiter
        self._leading = True
        # Only silence that somebody listened to tells about the server.
        self._last_received = time.monotonic()
        return None

    def _follow(self, call: Call, waiter: _Waiter, deadline: float | None) -> None:
        """Sleep; one that was woken to lead comes back to `wait` for it."""
        try:
            waiter.wait(-1 if deadline is None else max(0.0, deadline - time.monotonic()))
        except BaseException:
            with self._lock:
                self._waiters.remove(waiter)
                self._pass_lead()
            raise
        with self._lock:
            self._waiters.remove(waiter)
            call.changed = unheard

    def _lead(self, call: Call, deadline: float | None, *, whole: bool) -> None:
        try:
            while call.code is None and (whole or not call.messages):
                if deadline is not None and time.monotonic() >= deadline:
                    return
                self._read_once(deadline)
        finally:
            self._stop_leading()

    def _stop_leading(self) -> None:
        with self._lock:
            self._leading = False
            self._pass_lead()
            self._settle()

    def _pass_lead(self) -> None:
        if not self._leading and self._waiters:
            self._waiters[0].set()

    def _read_once(self, deadline: float | None) -> None:
        """Wait for the socket and handle what comes; the leader's work."""
        left = KEEPALIVE_PAUSE
        if deadline is not None:
            left = min(left, max(0.0, deadline - time.monotonic()))
        events = dict(self._poll.poll(left * 1000 + 1))
        if self._interrupted.fileno() in events:
            with contextlib.suppress(BlockingIOError):
                self._interrupted.recv(64)
        ready = events.get(self._sock.fileno(), 0)
        data = self._receive() if ready & ~select.POLLOUT else None
        with self._lock:
            if data is not None:
                self._received(data)
            if not ready:
                self._tick()
            self._flush()

    def _receive(self) -> bytes | None:
        """What the socket has; empty at its end, None if there is nothing."""
        try:
            return self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _received(self, data: bytes) -> None:
        if not data:
            self._core.close(_GONE)
            return
        self._last_received = time.monotonic()
        if self._session is None:
            self._core.receive(data)
            return
        plain, ended = self._session.decrypt(data)
        if plain:
            self._core.receive(plain)
        if ended:
            self._core.close(_GONE)

    def _catch_up(self) -> None:
        """Handle what has arrived while nobody read."""
        while not self._core.closed and (data := self._receive()) is not None:
            self._received(data)

    def _tick(self) -> None:
        if not self._core.calls:
            return
        action = self._keepalive.tick(time.monotonic(), self._last_received)
        if action is Action.SEND_PING:
            self._core.ping()
        elif action is Action.CUT:
            self._core.close("the server does not answer")

    def _flush(self) -> None:
        """Write what is ready; what the socket does not take waits for the leader."""
        out = self._core.take_output()
        if out:
            data = b"".join(out)
            self._unsent += data if self._session is None else self._session.encrypt(data)
        if self._unsent:
            try:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
            except BlockingIOError:
                pass
            except OSError as error:
                self._core.close(f"{_GONE}: {error}")
                self._unsent = b""
        if bool(self._unsent) != self._polling_out:
            self._polling_out = not self._polling_out
            events = select.POLLIN | select.POLLOUT if self._polling_out else select.POLLIN
            self._poll.modify(self._sock, events)
            self._wake_leader()

    def _wake_leader(self) -> None:
        if self._leading:
            with contextlib.suppress(BlockingIOError):
                self._interrupt.send(b"\0")

    def _settle(self) -> None:
        """Close the sockets of a lost connection once nobody needs them."""
        if self._core.lost and not self._core.calls and not self._leading:
            self._core.close(self._core.lost)
            for sock in (self._sock, self._interrupt, self._interrupted):
                sock.close()


def dial(endpoint: Endpoint, tls: TLS | None, deadline: float) -> Connection:
    """A connection whose server has greeted; raises OSError (also TimeoutError, ssl.SSLError)."""
    now = time.monotonic()
    until = min(deadline, now + DIAL_TIMEOUT)
    sock = _connect(endpoint, max(0.001, until - now))
    try:
        session = _secure(sock, endpoint, tls, until) if tls is not None else None
        connection = Connection(sock, session, endpoint.authority)
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
