"""The server end of handshakes: bounded in number, in time and in work a turn of the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pykvd.logs import get_logger
from pykvd.tls.addresses import check_names
from pykvd.tls.errors import TlsError, reason
from pykvd.tls.layer import TlsLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.tls.certificate import PeerCertificate
    from pykvd.tls.endpoints import TlsServer

STEPS_A_TURN = 4
"""Steps of handshakes in one turn of the loop. Each costs up to a millisecond of signing, during
which those who are let in already wait."""
LOGGED_A_SECOND = 20
"""Rejections that are logged; of more, only the number."""
EOF = "EOF"

_log = get_logger("tls")


@dataclass(slots=True)
class _Open:
    """A handshake under way."""

    deadline: float
    step: Callable[[], None]
    queued: bool = False
    look_up: asyncio.Task[None] | None = None


class Handshakes:
    """The handshakes under way at a server, over all its listeners.

    When there are too many the oldest is dropped: one that goes on takes milliseconds, so a flood
    of those that never do pushes out its own.
    """

    def __init__(self, limit: int, timeout: float) -> None:
        """`timeout`: seconds from the connection to its being let in."""
        self._limit = limit
        self._timeout = timeout
        self._open: dict[TlsLayer, _Open] = {}
        self._dropped: set[TlsLayer] = set()
        self._gone = asyncio.Event()
        self._queue: deque[TlsLayer] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, layer: TlsLayer, step: Callable[[], None]) -> None:
        """Count a connection in; `step` goes on with it."""
        if self._closed:
            self._end(layer, "server stopped")
            return
        if len(self._open) >= self._limit:
            self._end(next(iter(self._open)), "too many TLS handshakes at a time")
        loop = asyncio.get_running_loop()
        self._open[layer] = _Open(loop.time() + self._timeout, step)
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._expire)

    def queue(self, layer: TlsLayer) -> None:
        """Have the connection's step taken when it is its turn."""
        entry = self._open.get(layer)
        if entry is None or entry.queued or entry.look_up:
            return
        entry.queued = True
        if not self._queue:
            asyncio.get_running_loop().call_soon(self._work)
        self._queue.append(layer)

    def wait_for(self, layer: TlsLayer, task: asyncio.Task[None]) -> None:
        """A check of the connection goes on in a task; it ends with the handshake."""
        self._open[layer].look_up = task

    def done(self, layer: TlsLayer) -> None:
        """The connection is let in, or gone."""
        entry = self._open.pop(layer, None)
        if entry is not None and entry.look_up is not None:
            entry.look_up.cancel()

    def lost(self, layer: TlsLayer) -> None:
        """A socket is gone that was never let in."""
        self.done(layer)
        self._dropped.discard(layer)
        if not self._dropped:
            self._gone.set()

    def close(self) -> None:
        """Drop all that is under way, and whatever comes."""
        self._closed = True
        for layer in list(self._open):
            self._end(layer, "server stopped")
        if self._timer is not None:
            self._timer.cancel()

    async def wait_closed(self) -> None:
        """Wait, after `close`, for the sockets to be gone."""
        if self._dropped:
            self._gone.clear()
            await self._gone.wait()

    def _work(self) -> None:
        turn = [self._queue.popleft() for _ in range(min(STEPS_A_TURN, len(self._queue)))]
        if self._queue:
            asyncio.get_running_loop().call_soon(self._work)
        for layer in turn:
            entry = self._open.get(layer)
            if entry is not None:
                entry.queued = False
                entry.step()

    def _expire(self) -> None:
        """All have the same time, so the oldest are the first to have used it up."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for layer, entry in list(self._open.items()):
            if entry.deadline > now:
                self._timer = loop.call_at(entry.deadline, self._expire)
                return
            self._end(layer, "i/o timeout")

    def _end(self, layer: TlsLayer, why: str) -> None:
        self.done(layer)
        self._dropped.add(layer)
        layer.drop(TlsError(why))


class Acceptor:
    """Makes TLS connections of one listener's sockets. `make` is the factory of `create_server`."""

    def __init__(
        self, tls: TlsServer, make_protocol: Callable[[], asyncio.Protocol], handshakes: Handshakes
    ) -> None:
        """`make_protocol` makes what is attached to each connection that is let in."""
        self._tls = tls
        self._make_protocol = make_protocol
        self._handshakes = handshakes
        self._journal = _Journal(f"rejected connection on {tls.kind} endpoint")

    def make(self) -> TlsLayer:
        """The protocol for a new socket."""
        return TlsLayer(self)

    # Handshaker.

    def connected(self, layer: TlsLayer) -> None:
        """Begin."""
        self._handshakes.begin(layer, lambda: self._step(layer))
        try:
            layer.wrap(self._tls.context(), server_side=True)
        except TlsError as error:
            self._refuse(layer, error)

    def readable(self, layer: TlsLayer) -> None:
        """Go on, in turn with the others."""
        self._handshakes.queue(layer)

    def lost(self, layer: TlsLayer, error: Exception | None) -> None:
        """The client went away, or took too long; who looks whether the port is open does too."""
        self._handshakes.lost(layer)
        if not layer.refused:
            self._journal.note(layer, reason(error) if error else EOF)

    def _step(self, layer: TlsLayer) -> None:
        try:
            if not layer.step():
                return
            certificate = layer.certificate = self._tls.check(layer.ssl_object)
            address = str(layer.peername[0]) if isinstance(layer.peername, tuple) else ""
            names = self._tls.names_to_look_up(certificate, address)
        except TlsError as error:
            self._refuse(layer, error)
            return
        if names:
            layer.pause_reading()
            task = asyncio.get_running_loop().create_task(self._look_up(layer, names, address))
            self._handshakes.wait_for(layer, task)
        else:
            self._let_in(layer, certificate)

    async def _look_up(self, layer: TlsLayer, names: tuple[str, ...], address: str) -> None:
        try:
            await check_names(names, address)
        except TlsError as error:
            self._refuse(layer, error)
        else:
            layer.resume_reading()
            self._let_in(layer, layer.certificate)

    def _let_in(self, layer: TlsLayer, certificate: PeerCertificate | None) -> None:
        self._handshakes.done(layer)
        if certificate is not None and self._tls.settings.client_cert_auth:
            layer.common_name = certificate.common_name
        layer.attach(self._make_protocol())

    def _refuse(self, layer: TlsLayer, error: TlsError) -> None:
        self._journal.note(layer, str(error))
        layer.refuse()


class _Journal:
    """Logs rejections; a flood of them does not fill the disk."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._second = 0
        self._count = 0
        self._suppressed = 0

    def note(self, layer: TlsLayer, error: str) -> None:
        """One line, as etcd writes it."""
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._count > LOGGED_A_SECOND:
            self._suppressed += 1
            return
        fields: dict[str, object] = {"remote_addr": _remote(layer)}
        if layer.certificate is not None:
            fields["ip_addresses"] = layer.certificate.ip_addresses
            fields["dns_names"] = layer.certificate.dns_names
        if self._suppressed:
            fields["not_logged_before"], self._suppressed = self._suppressed, 0
        write = _log.debug if error == EOF else _log.warn
        write(self._text, **fields, error=error)


def _remote(layer: TlsLayer) -> str:
    peer = layer.peername
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "@"
