"""A whole server in the test's own event loop, and a client on grpcio's asyncio API."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from pykvd.config import Config
from pykvd.config.urls import parse_urls
from pykvd.embed import Server
from pykvd.pb import rpc_pb2 as rpc
from tests.harness import methods
from tests.harness.methods import Method, Reply, Request

TIMEOUT_S = 60.0
ANY_PORT = parse_urls("http://127.0.0.1:0")
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))


def config(data_dir: Path, **options: Any) -> Config:
    """The configuration of a single member on a port of the system's choice."""
    return Config(
        data_dir=str(data_dir),
        listen_client_urls=ANY_PORT,
        listen_peer_urls=ANY_PORT,
        **options,
    )


class Client:
    """One connection; every method raises grpc.aio.AioRpcError."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)

    async def call(self, method: Method[Request, Reply], request: Request | None = None) -> Reply:
        """The reply of a unary method."""
        call = self.channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.reply.FromString,
        )
        reply: Reply = await call(request or method.request(), timeout=TIMEOUT_S)
        return reply

    async def put(self, key: bytes, value: bytes = b"v", lease: int = 0) -> int:
        """Put; returns the revision."""
        request = rpc.PutRequest(key=key, value=value, lease=lease)
        return (await self.call(methods.PUT, request)).header.revision

    async def get(self, key: bytes, end: bytes = b"", revision: int = 0) -> rpc.RangeResponse:
        """Range."""
        request = rpc.RangeRequest(key=key, range_end=end, revision=revision)
        return await self.call(methods.RANGE, request)

    async def all(self) -> rpc.RangeResponse:
        """Every key."""
        return await self.get(b"\x00", b"\x00")

    async def delete(self, key: bytes, end: bytes = b"") -> int:
        """Delete; returns the number of keys."""
        request = rpc.DeleteRangeRequest(key=key, range_end=end)
        return (await self.call(methods.DELETE, request)).deleted

    async def compact(self, revision: int, *, physical: bool = True) -> None:
        """Compact; returns when the records are gone."""
        request = rpc.CompactionRequest(revision=revision, physical=physical)
        await self.call(methods.COMPACT, request)

    async def grant(self, lease_id: int, ttl: int) -> None:
        """Grant a lease."""
        await self.call(methods.GRANT, rpc.LeaseGrantRequest(ID=lease_id, TTL=ttl))

    async def time_to_live(self, lease_id: int) -> rpc.LeaseTimeToLiveResponse:
        """What is left of a lease, and its keys."""
        request = rpc.LeaseTimeToLiveRequest(ID=lease_id, keys=True)
        return await self.call(methods.TIME_TO_LIVE, request)

    async def alarm(self, action: int, kind: int = rpc.NONE, member: int = 0) -> list[int]:
        """Act on alarms; returns their kinds."""
        request = rpc.AlarmRequest(action=action, alarm=kind, memberID=member)  # type: ignore[arg-type]  # open enums
        return [each.alarm for each in (await self.call(methods.ALARM, request)).alarms]

    async def status(self) -> rpc.StatusResponse:
        """Status."""
        return await self.call(methods.STATUS)

    async def hash_kv(self, revision: int = 0) -> rpc.HashKVResponse:
        """HashKV."""
        return await self.call(methods.HASH_KV, rpc.HashKVRequest(revision=revision))

    def start_snapshot(self) -> grpc.aio.UnaryStreamCall[Any, rpc.SnapshotResponse]:
        """A snapshot on its way."""
        method = self.channel.unary_stream(
            "/etcdserverpb.Maintenance/Snapshot",
            request_serializer=rpc.SnapshotRequest.SerializeToString,
            response_deserializer=rpc.SnapshotResponse.FromString,
        )
        return method(rpc.SnapshotRequest(), timeout=TIMEOUT_S)

    async def snapshot(self) -> list[rpc.SnapshotResponse]:
        """All messages of a snapshot."""
        return [message async for message in self.start_snapshot()]


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Client]:
    """A client of a server that runs."""
    client = Client(server.addresses[-1][1])
    try:
        yield client
    finally:
        await client.channel.close()


@asynccontextmanager
async def serving(data_dir: Path, **options: Any) -> AsyncIterator[Client]:
    """A server on the directory, stopped gracefully at the end, and a client of it."""
    async with Server(config(data_dir, **options)) as server, connected(server) as client:
        yield client


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not await condition():
        assert time.monotonic() < deadline, f"waited {TIMEOUT_S} s for {what}"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def refused(code: grpc.StatusCode, text: str) -> AsyncIterator[None]:
    """The call inside fails with exactly this status."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield
    assert (caught.value.code(), caught.value.details()) == (code, text)
