"""A disk that fails: writes stop, nobody is told what is not true, nothing acknowledged is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from pykvd.embed import Server
from tests.integration.store.descriptors import redirect
from tests.integration.store.serving import Client, config, connected, refused, serving

STOPPED = "etcdserver: server stopped"
DEADLINE_S = 60.0


@asynccontextmanager
async def stopping(data_dir: Path) -> AsyncIterator[Server]:
    """A server whose stop must not wait for the disk that failed."""
    server = Server(config(data_dir))
    await server.start()
    try:
        yield server
    finally:
        await asyncio.wait_for(server.stop(), DEADLINE_S)


async def write_until_refused(client: Client) -> tuple[set[bytes], grpc.aio.AioRpcError]:
    """Put new keys, several at a time; returns those acknowledged and the first failure."""
    acknowledged: set[bytes] = set()
    number = 0
    while True:
        keys = [b"after-%06d" % each for each in range(number, number + 10)]
        number += 10
        answers = await asyncio.gather(
            *(client.put(key, bytes(500)) for key in keys), return_exceptions=True
        )
        failures = [each for each in answers if isinstance(each, BaseException)]
        acknowledged |= {
            key for key, each in zip(keys, answers, strict=True) if isinstance(each, int)
        }
        if failures:
            (failure, *_) = failures
            assert isinstance(failure, grpc.aio.AioRpcError)
            return acknowledged, failure


async def test_a_log_that_cannot_be_written_stops_the_writes(tmp_path: Path) -> None:
    async with stopping(tmp_path) as server, connected(server) as client:
        before = {b"before-%d" % number for number in range(20)}
        for key in before:
            await client.put(key)
        assert redirect(".wal", tmp_path, "/dev/full") == 1
        acknowledged, failure = await asyncio.wait_for(write_until_refused(client), DEADLINE_S)
        assert (failure.code(), failure.details()) == (grpc.StatusCode.UNAVAILABLE, STOPPED)
        # Nothing of the batch that failed is told to have happened.
        assert acknowledged == set()
        async with refused(grpc.StatusCode.UNAVAILABLE, STOPPED):
            await client.put(b"again")
        async with refused(grpc.StatusCode.UNAVAILABLE, STOPPED):
            await client.all()
        error = await asyncio.wait_for(server.wait_failed(), DEADLINE_S)
        assert "failed" in str(error)
    async with serving(tmp_path) as client:
        assert {kv.key for kv in (await client.all()).kvs} == before


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
async def test_a_store_that_cannot_be_written_stops_the_writes(tmp_path: Path, device: str) -> None:
    """What was acknowledged meanwhile is in the log, and applied again at the next start."""
    async with stopping(tmp_path) as server, connected(server) as client:
        before = {b"before-%d" % number for number in range(20)}
        for key in before:
            await client.put(key)
        assert redirect("/data.mdb", tmp_path, device) >= 1
        acknowledged, failure = await asyncio.wait_for(write_until_refused(client), DEADLINE_S)
        assert (failure.code(), failure.details()) == (grpc.StatusCode.UNAVAILABLE, STOPPED)
        await asyncio.wait_for(server.wait_failed(), DEADLINE_S)
    async with serving(tmp_path) as client:
        found = {kv.key for kv in (await client.all()).kvs}
        assert found >= before | acknowledged
