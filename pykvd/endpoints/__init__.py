"""What each listener serves over HTTP/1.1: clients' ports, metrics ports, the peer port.

`servers` puts it together. It and all below it are imported for the first connection that speaks
HTTP: many servers in programs never see one, and start sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.listening import by_address
from pykvd.logs import get_logger
from pykvd.transport import Server as Listener

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from pykvd.api.services import Services
    from pykvd.config import Config
    from pykvd.config.urls import URL
    from pykvd.endpoints.servers import HttpServers
    from pykvd.http import HttpServer
    from pykvd.metrics import Metrics
    from pykvd.node.node import Node
    from pykvd.transport.request import RequestHead

_log = get_logger("http")


class Endpoints:
    """The HTTP of one member.

    `clients` belongs to the client port, or, with --listen-client-http-urls, to ports of its own;
    `peers` to the peer port.
    """

    def __init__(self, node: Node, services: Services, config: Config, metrics: Metrics) -> None:
        self._parts = node, services, config, metrics
        self._servers: HttpServers | None = None
        self._listeners: list[Listener] = []
        self._closed = False
        self.clients = LateHttp(lambda: self._made().clients)
        self._metrics = LateHttp(lambda: self._made().metrics)
        self.peers = LateHttp(lambda: self._made().peers)

    def _made(self) -> HttpServers:
        if self._servers is None:
            from pykvd.endpoints.servers import HttpServers  # noqa: PLC0415 - heavy

            self._servers = HttpServers(*self._parts)
            if self._closed:
                self._servers.refuse()
        return self._servers

    async def listen(self, listen: Callable[[Listener, list[URL]], Awaitable[object]]) -> None:
        """Open the ports that speak HTTP alone: a gRPC client there finds no service."""
        _, _, config, _ = self._parts
        for urls, http in (
            (config.listen_client_http_urls, self.clients),
            (config.listen_metrics_urls, self._metrics),
        ):
            listener = Listener(unary={}, streams={}, http=http)
            self._listeners.append(listener)
            for group in by_address(urls):
                await listen(listener, group)
                for url in group:
                    _log.info("serving HTTP alone", address=url)

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - the contract's name
        """Let requests of clients end for `timeout` seconds, then cut; take no new ones."""
        for listener in self._listeners:
            await listener.close()
        if self._servers:
            await self._servers.clients.drain(timeout)

    async def close(self) -> None:
        """Cut what is left of all connections."""
        self._closed = True
        for listener in self._listeners:
            await listener.close()
        if self._servers:
            await self._servers.close()


class LateHttp:
    """An HTTP server that is made when it is first needed (`transport.Http`)."""

    def __init__(self, make: Callable[[], HttpServer]) -> None:
        self._make = make
        self._server: HttpServer | None = None

    @property
    def connections(self) -> int:
        """Open connections."""
        return self._server.connections if self._server else 0

    def make_protocol(self, peer: str) -> asyncio.Protocol:
        """As `HttpServer.make_protocol`."""
        return self._made().make_protocol(peer)

    def open_stream(self, head: RequestHead) -> None:
        """As `HttpServer.open_stream`."""
        self._made().open_stream(head)

    def _made(self) -> HttpServer:
        if self._server is None:
            self._server = self._make()
        return self._server
