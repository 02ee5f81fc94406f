"""A connection that threads share, without a thread or an event loop of its own.

Whoever waits for an answer reads the socket, for everybody: one waiting thread *leads*, the others
sleep until their call has changed or the lead is passed on to them. A program with one thread pays
for one `poll` and one `recv` a call.

While nobody waits nothing is read. Before a connection is used what has arrived meanwhile is read
first, so that a server that went away in between is noticed before a request is sent to it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from pykvd.client.wire.limits import (
    DEADLINE,
    DOUBT_AFTER,
    KEEPALIVE_PAUSE,
    READ_BYTES,
    SILENT,
)
from pykvd.transport.client_call import Call, timeout_text, unheard
from pykvd.transport.client_connection import ClientConnection
from pykvd.transport.keepalive import Action, KeepAlive

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.client.transport import Metadata
    from pykvd.client.wire.tls import TlsSession

_GONE: Final = "the connection was lost"


def over(call: Call) -> bool:
    """Whether there is nothing more to come."""
    return call.code is not None


def opened(call: Call) -> bool:
    """Whether the server has admitted it."""
    return call.opened


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

    def __init__(
        self,
        sock: socket.socket,
        session: TlsSession | None,
        authority: str,
        keepalive: KeepAlive,
    ) -> None:
        self._sock = sock
        self._session = session
        self._core = ClientConnection(authority, secure=session is not None)
        self._lock = threading.Lock()
        self._leading = False
        self._waiters: list[_Waiter] = []
        self._unsent = b""
        self._polling_out = False
        self._keepalive = keepalive
        self._last_received = self._listening_since = time.monotonic()
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

    def nudge(self, call: Call) -> None:
        """Have the thread that waits for a call look again whether it is ready."""
        with self._lock:
            call.changed()
            self._wake_leader()

    def doubt(self, since: float) -> None:
        """Start no more calls here if nothing at all has come since then."""
        with self._lock:
            if self._last_received < since < time.monotonic() - DOUBT_AFTER:
                self._core.retire(SILENT)
                self._settle()

    def close(self, reason: str) -> None:
        """End all calls as CANCELLED and close the socket once nobody reads it any more."""
        with self._lock:
            self._core.cancel_all(reason)
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

    def wait(self, call: Call, deadline: float | None, ready: Callable[[Call], bool]) -> None:
        """Until the call is ready, or over at any rate; raises TimeoutError."""
        while True:
            with self._lock:
                if call.code is not None or ready(call):
                    self._pass_lead()
                    return
                if deadline is not None and time.monotonic() >= deadline:
                    self._pass_lead()
                    raise TimeoutError(DEADLINE)
                waiter = self._take_lead_or_queue(call)
            if waiter is None:
                self._lead(call, deadline, ready)
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
        self._listening_since = time.monotonic()
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

    def _lead(self, call: Call, deadline: float | None, ready: Callable[[Call], bool]) -> None:
        try:
            while call.code is None and not ready(call):
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
        heard = max(self._last_received, self._listening_since)
        action = self._keepalive.tick(time.monotonic(), heard)
        if action is Action.SEND_PING:
            self._core.ping()
        elif action is Action.CUT:
            self._core.close(SILENT)

    def _flush(self) -> None:
        """Write what is ready; what the socket does not take waits for the leader."""
        if self._sock.fileno() < 0:
            return
        data = b"".join(self._core.take_output())
        try:
            self._unsent += data if self._session is None else self._session.encrypt(data)
            if self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:  # also what TLS objects to
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
