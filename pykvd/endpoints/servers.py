"""The HTTP servers of a member, with all that they serve at which path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pykvd.endpoints import about
from pykvd.endpoints.checks import HealthChecks
from pykvd.endpoints.health import health_routes
from pykvd.endpoints.peers import peer_routes
from pykvd.endpoints.pprof import pprof_routes
from pykvd.gateway import Gateway
from pykvd.gateway.errors import error_response
from pykvd.http import Application, Handler, Head, HttpLimits, HttpServer, Response
from pykvd.node.node import GRPC_OVERHEAD_BYTES
from pykvd.status import Code
from pykvd.transport.statistics import Counters

if TYPE_CHECKING:
    from pykvd.api.services import Services
    from pykvd.config import Config
    from pykvd.metrics import Metrics
    from pykvd.node.node import Node

#: Room for a request's other fields and for white space, beside its largest value.
_JSON_OVERHEAD_BYTES: Final = 64 << 10
_CODES: Final = {413: Code.RESOURCE_EXHAUSTED, 500: Code.INTERNAL, 503: Code.UNAVAILABLE}


class HttpServers:
    """One for the clients, one for ports of metrics alone, one for the peer port."""

    def __init__(self, node: Node, services: Services, config: Config, metrics: Metrics) -> None:
        self._gateway: Gateway | None = None
        watching = self._watching_routes(node, metrics)
        routes = watching | {
            "/version": about.get_only(about.version),
            "/debug/vars": about.get_only(about.variables(node)),
        }
        max_message_bytes = config.max_request_bytes + GRPC_OVERHEAD_BYTES
        if config.enable_grpc_gateway:
            counters = Counters()
            metrics.clients.append(counters)
            self._gateway = Gateway(
                services.unary,
                services.streams,
                max_message_bytes=max_message_bytes,
                counters=counters,
                timed=config.metrics == "extensive",
            )
            routes |= self._gateway.routes()
            routes["/openapi.json"] = about.get_only(about.openapi)
        if config.enable_pprof or config.log_level == "debug":
            routes |= pprof_routes()
        clients = Application(routes, cors=config.cors, hosts=config.host_whitelist)
        # Base64 takes four thirds of the room.
        limits = HttpLimits(max_body_bytes=max_message_bytes * 4 // 3 + _JSON_OVERHEAD_BYTES)
        self.clients = HttpServer(clients, _refusal, limits)
        self.metrics = HttpServer(Application(watching), _refusal)
        self.peers = HttpServer(
            Application(peer_routes(node) | {"/version": about.get_only(about.version)}), _refusal
        )

    def _watching_routes(self, node: Node, metrics: Metrics) -> dict[str, Handler]:
        """What those who watch the member ask for."""
        routes = health_routes(HealthChecks(node), metrics.health)
        return {**routes, "/metrics": about.metrics(metrics.render)}

    def refuse(self) -> None:
        """Keep no connection beyond one request: the member stops."""
        for server in (self.clients, self.metrics, self.peers):
            server.draining = True

    async def close(self) -> None:
        """Cut what is left of all connections; take no new ones."""
        for server in (self.clients, self.metrics, self.peers):
            await server.close()
        if self._gateway is not None:
            self._gateway.close()


def _refusal(status: int, message: str, head: Head | None) -> Response:
    """The answer to what is no request, or cannot be served, in JSON.

    A body that is too large for any message is a message that is too large to a gateway's client.
    """
    code = _CODES.get(status, Code.INVALID_ARGUMENT)
    if status == 413 and head is not None and head.path.startswith("/v3"):
        status = 429
    return error_response(code, message, status=status)
