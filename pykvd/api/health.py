"""grpc.health.v1.Health: the server as a whole under the empty name, and each of its services.

The server as a whole answers as long as it runs, as etcd's does. A service that cannot do its work
without a leader is not serving while this member knows none.
"""

import asyncio
from collections.abc import Iterable

from pykvd.api.decode import decode
from pykvd.errors import Code, RpcError
from pykvd.node.node import Node
from pykvd.pb import health_pb2 as health
from pykvd.transport import AsyncStream, Call, StreamHandler, UnaryHandler, async_stream

_Status = health.HealthCheckResponse.ServingStatus

#: The server as a whole.
WHOLE = ""
#: What a member can do on its own.
LEADERLESS = frozenset({WHOLE, "etcdserverpb.Maintenance", "grpc.health.v1.Health"})
#: Seconds between two looks on behalf of those who watch.
PERIOD = 0.5


class HealthService:
    """Check and Watch. `paths` are the paths of all methods that the server has."""

    def __init__(self, node: Node, paths: Iterable[str]) -> None:
        self._node = node
        self._names = {path.rpartition("/")[0].removeprefix("/") for path in paths}
        self._names |= {WHOLE, "grpc.health.v1.Health"}

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's unary methods by path."""
        return {"/grpc.health.v1.Health/Check": self.check}

    def streams(self) -> dict[str, StreamHandler]:
        """The service's streaming methods by path."""
        return {"/grpc.health.v1.Health/Watch": async_stream(self.watch)}

    def check(self, _call: Call, payload: bytes) -> bytes:
        """Tell whether a service can do its work now; NOT_FOUND for a name that is none."""
        status = self._status(decode(health.HealthCheckRequest, payload).service)
        if status == health.HealthCheckResponse.SERVICE_UNKNOWN:
            raise RpcError(Code.NOT_FOUND, "unknown service")
        return health.HealthCheckResponse(status=status).SerializeToString()

    async def watch(self, stream: AsyncStream) -> None:
        """Tell it now, and again whenever it changes."""
        name = decode(health.HealthCheckRequest, await stream.recv() or b"").service
        last = None
        while True:
            status = self._status(name)
            if status != last:
                last = status
                await stream.send(health.HealthCheckResponse(status=status).SerializeToString())
            await asyncio.sleep(PERIOD)

    def _status(self, name: str) -> _Status:
        if name not in self._names:
            return health.HealthCheckResponse.SERVICE_UNKNOWN
        if name in LEADERLESS or self._node.leader:
            return health.HealthCheckResponse.SERVING
        return health.HealthCheckResponse.NOT_SERVING
