"""The listener.

Sockets, all connections, one timer for deadlines, one for time limits, one flush a loop turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from typing import TYPE_CHECKING, cast

from pykvd.transport.connection import ServerConnection
from pykvd.transport.deadlines import DeadlineWheel
from pykvd.transport.dispatch import Dispatcher, is_grpc
from pykvd.transport.driver import Http2Protocol
from pykvd.transport.limits import Limits
from pykvd.transport.statistics import Counters, Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pykvd.tls import Acceptor, Handshakes, TlsServer
    from pykvd.transport.request import RequestHead
    from pykvd.transport.service import Http, StreamHandler, UnaryHandler

BACKLOG = 1024
"""Connections that wait in the kernel while the loop is busy."""
MAX_TICK_S = 1.0
"""Time limits are looked at this often, or four times within the shortest of them."""


class Server:
    """A gRPC server. Belongs to the loop on which its first `listen_*` runs; not thread-safe."""

    def __init__(
        self,
        *,
        unary: Mapping[str, UnaryHandler],
        streams: Mapping[str, StreamHandler],
        limits: Limits | None = None,
        logger: logging.Logger | None = None,
        http: Http | None = None,
        timed: bool = False,
    ) -> None:
        """`unary` and `streams` map full paths to handlers.

        `http` serves the clients of HTTP/1.1, and over TLS those of HTTP/2 that do not speak gRPC.
        `timed` has `counters` tell how long calls take.
        """
        self.limits = limits or Limits()
        self.logger = logger or logging.getLogger("pykvd.transport")
        self.counters = Counters()
        self._dispatcher = Dispatcher(unary, streams, self.counters, timed=timed)
        self._deadlines = DeadlineWheel(self._arm_deadlines)
        self._http = http
        self._loop: asyncio.AbstractEventLoop
        self.time: Callable[[], float]
        self._listeners: list[asyncio.Server] = []
        self._unix_paths: list[str] = []
        self._handshakes: Handshakes | None = None
        # A dict as ordered set: what is iterated must not depend on addresses in memory.
        self._protocols: dict[Http2Protocol, None] = {}
        self._dirty: list[Http2Protocol] = []
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._tick_timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None
        self._draining = False

    # Listening.

    async def listen_tcp(
        self,
        host: str,
        port: int,
        *,
        reuse_port: bool = False,
        reuse_address: bool = False,
        tls: TlsServer | None = None,
        plain: bool = False,
    ) -> tuple[str, int]:
        """Accept connections on a TCP address; returns the bound address (port 0 picks a free one).

        With `tls` none of them is plain, unless `plain` says that both are served.

        Raises:
            OSError: the address cannot be bound.

        """
        self._start()
        # As bytes: uvloop encodes text by the codec `idna`, whose tables take milliseconds to load.
        hosts = cast("list[str]", [host.encode()])
        listener = await self._loop.create_server(
            self._factory(tls, plain),
            hosts,
            port,
            reuse_port=reuse_port or None,
            # Unset means on (as in Go): a restart must not wait for old connections to time out.
            reuse_address=reuse_address or None,
            backlog=BACKLOG,
        )
        self._listeners.append(listener)
        address = listener.sockets[0].getsockname()
        return address[0], address[1]

    async def listen_unix(
        self, path: str, *, tls: TlsServer | None = None, plain: bool = False
    ) -> None:
        """Accept connections on a unix socket; a socket left there by a dead process is replaced.

        `tls` and `plain` are as with `listen_tcp`.

        Raises:
            OSError: the path cannot be bound, or something else than a socket is there.

        """
        self._start()
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode):
                os.unlink(path)
        factory = self._factory(tls, plain)
        listener = await self._loop.create_unix_server(factory, path, backlog=BACKLOG)
        self._listeners.append(listener)
        self._unix_paths.append(path)

    def _start(self) -> None:
        if self._tick_timer is None:
            self._loop = asyncio.get_running_loop()
            self.time = self._loop.time
            self._empty = asyncio.Event()
            self._empty.set()
            self._tick()

    def _factory(self, tls: TlsServer | None, plain: bool) -> Callable[[], asyncio.Protocol]:
        if tls is None:
            return self._make_protocol
        from pykvd.tls import Acceptor, Handshakes  # noqa: PLC0415 - most servers do without

        if self._handshakes is None:
            self._handshakes = Handshakes(self.limits.max_handshakes, self.limits.handshake_timeout)
        acceptor = Acceptor(tls, self._make_protocol, self._handshakes)
        return (lambda: Http2Protocol(self, acceptor)) if plain else acceptor.make

    def _make_protocol(self) -> Http2Protocol:
        return Http2Protocol(self)

    # Stopping.

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - the contract's name
        """Stop accepting, send clients away, let calls run for `timeout` seconds, then cut."""
        self._draining = True
        self._stop_listening()
        if self._empty is None:
            return
        now = self.time()
        for protocol in list(self._protocols):
            protocol.connection.drain(now)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout)
        await self.close()

    async def close(self) -> None:
        """Stop accepting and cut all connections; returns when they are gone."""
        self._draining = True
        self._stop_listening()
        for protocol in list(self._protocols):
            protocol.cut()
        if self._empty is not None:
            await self._empty.wait()
            if self._handshakes:
                await self._handshakes.wait_closed()
        for timer in (self._deadline_timer, self._tick_timer):
            if timer is not None:
                timer.cancel()
        self._deadline_timer = self._tick_timer = None

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            _shut(listener)
            listener.close()
        self._listeners.clear()
        if self._handshakes:
            self._handshakes.close()
        for path in self._unix_paths:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._unix_paths.clear()

    # For the drivers.

    def make_connection(
        self, protocol: Http2Protocol, peer: str, *, secure: bool
    ) -> ServerConnection:
        """The protocol state for a new socket."""
        return ServerConnection(
            limits=self.limits,
            route=self._route_secure if secure else self._dispatcher.route,
            deadlines=self._deadlines,
            counters=self.counters,
            wake=lambda: self.wake(protocol),
            peer=peer,
            now=self.time(),
        )

    def _route_secure(self, head: RequestHead) -> None:
        """Over TLS clients agree on HTTP/2 before either side knows what they want."""
        if self._http is None or is_grpc(head.content_type):
            self._dispatcher.route(head)
        else:
            self._http.open_stream(head)

    def admit(self, protocol: Http2Protocol) -> bool:
        """Count a new connection in; False when there are too many or the server is stopping."""
        elsewhere = self._http.connections if self._http else 0
        if self._draining or len(self._protocols) + elsewhere >= self.limits.max_connections:
            self.counters.connections_refused += 1
            return False
        self.counters.connections_accepted += 1
        self._protocols[protocol] = None
        assert self._empty is not None
        self._empty.clear()
        return True

    def forget(self, protocol: Http2Protocol) -> None:
        """A socket is gone."""
        self._protocols.pop(protocol, None)
        if not self._protocols and self._empty is not None:
            self._empty.set()

    def hand_over(
        self, transport: asyncio.Transport, data: bytes, peer: str, acceptor: Acceptor | None
    ) -> None:
        """The client does not speak HTTP/2: give the socket and its first bytes away.

        To `acceptor`, whose protocol is TLS, or where there is none to HTTP/1.1.
        """
        if self._draining or not (acceptor or self._http):
            transport.abort()
            return
        successor: asyncio.Protocol
        if acceptor:
            successor = acceptor.make()
        else:
            assert self._http
            successor = self._http.make_protocol(peer)
        transport.set_protocol(successor)
        successor.connection_made(transport)
        successor.data_received(data)

    def wake(self, protocol: Http2Protocol) -> None:
        """A connection has output.

        Flush all such connections once, in the next turn of the loop.
        """
        if not self._dirty:
            self._loop.call_soon(self._flush)
        self._dirty.append(protocol)

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """A timer on the server's loop."""
        return self._loop.call_later(delay, callback)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for protocol in dirty:
            protocol.flush()

    # Time.

    def _arm_deadlines(self, when: float) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._deadline_timer = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._deadline_timer = None
        following = self._deadlines.expire(self.time())
        if following is not None and self._deadline_timer is None:
            self._arm_deadlines(following)

    def _tick(self) -> None:
        now = self.time()
        for protocol in list(self._protocols):
            protocol.connection.tick(now)
        limits = self.limits
        times = (
            limits.preface_timeout,
            limits.keepalive_interval,
            limits.keepalive_timeout,
            limits.drain_ping_timeout,
        )
        delay = min(MAX_TICK_S, *(seconds / 4 for seconds in times if seconds))
        self._tick_timer = self._loop.call_later(delay, self._tick)

    def statistics(self) -> Statistics:
        """A snapshot of the counters."""
        counters = self.counters
        return Statistics(
            connections=len(self._protocols),
            streams_open=sum(len(protocol.connection.streams) for protocol in self._protocols),
            connections_accepted=counters.connections_accepted,
            connections_refused=counters.connections_refused,
            calls=counters.calls,
            bytes_received=counters.bytes_received,
            bytes_sent=counters.bytes_sent,
        )


def _shut(listener: asyncio.Server) -> None:
    """End the listening itself: forks of this process have copies of the sockets."""
    for each in listener.sockets:
        with socket.socket(fileno=os.dup(each.fileno())) as copy, contextlib.suppress(OSError):
            copy.shutdown(socket.SHUT_RDWR)
