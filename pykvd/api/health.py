"""grpc.health.v1.Health: the server as a whole, under the empty service name."""

import asyncio

from pykvd.api.decode import decode
from pykvd.errors import Code, RpcError
from pykvd.pb import health_pb2 as health
from pykvd.transport import AsyncStream, Call, StreamHandler, UnaryHandler, async_stream

_SERVING = health.HealthCheckResponse(status=health.HealthCheckResponse.SERVING)


class HealthService:
    """Check and Watch."""

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's unary methods by path."""
        return {"/grpc.health.v1.Health/Check": self.check}

    def streams(self) -> dict[str, StreamHandler]:
        """The service's streaming methods by path."""
        return {"/grpc.health.v1.Health/Watch": async_stream(self.watch)}

    def check(self, _call: Call, payload: bytes) -> bytes:
        """SERVING for the whole server; other names are not known, as in etcd."""
        if decode(health.HealthCheckRequest, payload).service:
            raise RpcError(Code.NOT_FOUND, "unknown service")
        return _SERVING.SerializeToString()

    async def watch(self, stream: AsyncStream) -> None:
        """Tell the status once; it does not change while the server answers."""
        request = decode(health.HealthCheckRequest, await stream.recv() or b"")
        status = health.HealthCheckResponse(status=health.HealthCheckResponse.SERVICE_UNKNOWN)
        await stream.send((status if request.service else _SERVING).SerializeToString())
        await asyncio.get_running_loop().create_future()
