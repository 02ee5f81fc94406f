"""Streams that end for want of a leader leave nothing behind."""

import contextlib
from pathlib import Path
from typing import Any

import grpc.aio

from pykvd.pb import rpc_pb2 as rpc
from tests.integration.cluster.together import NAMES, together
from tests.integration.store.serving import eventually


async def test_their_watchers_are_forgotten(tmp_path: Path) -> None:
    async with together(tmp_path) as cluster:
        leader = await cluster.leader()
        left = next(name for name in NAMES if name != leader)
        open_stream: Any = cluster.clients[left].channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=rpc.WatchRequest.SerializeToString,
            response_deserializer=rpc.WatchResponse.FromString,
        )
        watch = open_stream(metadata=(("hasleader", "true"),))
        create = rpc.WatchCreateRequest(key=b"k")
        await watch.write(rpc.WatchRequest(create_request=create))
        await watch.read()
        hub = cluster.node(left).hub
        assert hub.watchers == 1
        for name in NAMES:
            if name != left:
                await cluster.servers[name].kill()
        cluster.servers = {left: cluster.servers[left]}
        with contextlib.suppress(grpc.aio.AioRpcError):
            await watch.read()
        assert await watch.code() is grpc.StatusCode.UNAVAILABLE

        async def forgotten() -> bool:
            return bool(hub.watchers == 0)

        await eventually(forgotten, "the watcher to be forgotten")
