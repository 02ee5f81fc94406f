"""A thin synchronous gRPC client on grpcio, an implementation independent of the server's."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from pykvd.pb import rpc_pb2
from tests.harness.methods import Method, Reply, Request

Metadata = tuple[tuple[str, str | bytes], ...]
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)
TIMEOUT = 60.0


@dataclass(frozen=True)
class Failure:
    """A gRPC status other than OK."""

    code: str
    text: str

    @classmethod
    def of(cls, error: grpc.RpcError) -> "Failure":
        """The status that a grpcio error carries."""
        return cls(error.code().name, error.details() or "")


class Client:
    """One connection to one server."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.channel = grpc.insecure_channel(endpoint, options=OPTIONS)
        self._calls: dict[str, Callable[..., Any]] = {}

    def call(
        self,
        method: Method[Request, Reply],
        request: Request | None = None,
        metadata: Metadata = (),
        timeout: float = TIMEOUT,
    ) -> Reply:
        """The reply; raises `grpc.RpcError`. No request means an empty one."""
        call = self._calls.get(method.path)
        if call is None:
            call = self._calls[method.path] = self.channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.reply.FromString,
            )
        body = method.request() if request is None else request
        reply: Reply = call(body, timeout=timeout, metadata=metadata)
        return reply

    def attempt(
        self,
        method: Method[Request, Reply],
        request: Request | None = None,
        metadata: Metadata = (),
        timeout: float = TIMEOUT,
    ) -> Reply | Failure:
        """The reply, or the status of a refused call."""
        try:
            return self.call(method, request, metadata, timeout)
        except grpc.RpcError as error:
            return Failure.of(error)

    def keep_alive(
        self, requests: Iterable[rpc_pb2.LeaseKeepAliveRequest], metadata: Metadata = ()
    ) -> Iterator[rpc_pb2.LeaseKeepAliveResponse]:
        """The replies of one LeaseKeepAlive stream, ended after the last request."""
        call = self.channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=rpc_pb2.LeaseKeepAliveRequest.SerializeToString,
            response_deserializer=rpc_pb2.LeaseKeepAliveResponse.FromString,
        )
        replies: Iterator[rpc_pb2.LeaseKeepAliveResponse] = call(
            iter(requests), timeout=TIMEOUT, metadata=metadata
        )
        return replies

    def snapshot(self, metadata: Metadata = ()) -> Iterator[rpc_pb2.SnapshotResponse]:
        """The messages of Maintenance.Snapshot."""
        call = self.channel.unary_stream(
            "/etcdserverpb.Maintenance/Snapshot",
            request_serializer=rpc_pb2.SnapshotRequest.SerializeToString,
            response_deserializer=rpc_pb2.SnapshotResponse.FromString,
        )
        messages: Iterator[rpc_pb2.SnapshotResponse] = call(
            rpc_pb2.SnapshotRequest(), timeout=TIMEOUT, metadata=metadata
        )
        return messages

    def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
