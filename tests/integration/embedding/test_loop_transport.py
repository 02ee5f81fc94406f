"""Calls of coroutines to a server on the same loop, held against the contract of the seam."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import pykvd
from pykvd.client.transport import CallError
from pykvd.embedded.loop_transport import LoopTransport
from pykvd.pb import rpc_pb2 as rpc
from pykvd.status import Code
from tests.integration.embedding.requests import PUT, WATCH, put, revision, soon, watch


@pytest.fixture
async def server() -> AsyncIterator[pykvd.Server]:
    async with pykvd.Server(port=None) as server:
        yield server


@pytest.fixture
async def transport(server: pykvd.Server) -> AsyncIterator[LoopTransport]:
    transport = LoopTransport(server)
    yield transport
    await transport.close()


async def test_calls_at_the_same_time(transport: LoopTransport) -> None:
    calls = [transport.unary(PUT, put(), soon(), ()) for _ in range(50)]
    assert sorted(map(revision, await asyncio.gather(*calls))) == list(range(2, 52))


@pytest.mark.parametrize(
    ("path", "request_", "said"),
    [
        (PUT, put(key=b""), "INVALID_ARGUMENT: etcdserver: key is not provided"),
        (PUT, put(value=bytes(3_000_000)), "RESOURCE_EXHAUSTED: grpc: received message larger"),
        ("/etcdserverpb.KV/Nothing", b"", "UNIMPLEMENTED: unknown method Nothing"),
    ],
    ids=["no key", "too large", "no method"],
)
async def test_failures(transport: LoopTransport, path: str, request_: bytes, said: str) -> None:
    with pytest.raises(CallError, match=said):
        await transport.unary(path, request_, soon(), ())


async def test_a_watch(transport: LoopTransport) -> None:
    stream = await transport.stream(WATCH, soon(), ())
    stream.send(watch())
    assert rpc.WatchResponse.FromString(await stream.receive() or b"").created
    with pytest.raises(TimeoutError):
        await stream.receive(time.monotonic() + 0.01)
    receiving = asyncio.ensure_future(stream.receive(soon()))
    await transport.unary(PUT, put(value=b"new"), soon(), ())
    told = rpc.WatchResponse.FromString(await receiving or b"")
    assert [event.kv.value for event in told.events] == [b"new"]
    receiving = asyncio.ensure_future(stream.receive())
    await asyncio.sleep(0)
    stream.close()
    with pytest.raises(CallError, match="CANCELLED"):
        await receiving


async def test_a_call_that_is_cancelled_leaves_nothing(
    server: pykvd.Server, transport: LoopTransport
) -> None:
    call = asyncio.ensure_future(transport.unary(PUT, put(), soon(), ()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert revision(await transport.unary(PUT, put(), soon(), ())) in {2, 3}


async def test_a_deadline_ends_a_call_that_hangs(tmp_path: Path) -> None:
    """Of two members one is on this loop, and hangs when the other is gone."""
    cluster = pykvd.serve_cluster(2, data_dir=tmp_path)
    mine, other = pykvd.Server(cluster[0].config), cluster[1]
    await asyncio.gather(mine.start(), asyncio.to_thread(other.start))
    transport = LoopTransport(mine)
    assert revision(await transport.unary(PUT, put(), soon(), ())) == 2
    await asyncio.to_thread(other.kill)
    with pytest.raises(CallError) as caught:
        await transport.unary(PUT, put(), time.monotonic() + 0.1, ())
    assert (caught.value.code, caught.value.sent) == (Code.DEADLINE_EXCEEDED, True)
    await mine.kill()
    cluster.close()


async def test_a_closed_transport(transport: LoopTransport) -> None:
    stream = await transport.stream(WATCH, soon(), ())
    await transport.close()
    await transport.close()
    for attempt in (transport.unary(PUT, put(), soon(), ()), transport.stream(WATCH, soon(), ())):
        with pytest.raises(CallError, match="CANCELLED") as caught:
            await attempt
        assert not caught.value.sent
    with pytest.raises(CallError, match="CANCELLED"):
        await stream.receive()


async def test_a_server_that_stops_and_comes_back(
    server: pykvd.Server, transport: LoopTransport
) -> None:
    stream = await transport.stream(WATCH, soon(), ())
    await server.stop()
    with pytest.raises(CallError, match="UNAVAILABLE: etcdserver: server stopped"):
        await stream.receive(soon())
    with pytest.raises(CallError) as caught:
        await transport.unary(PUT, put(), soon(), ())
    assert (caught.value.code, caught.value.sent) == (Code.UNAVAILABLE, False)
    await server.start()
    assert revision(await transport.unary(PUT, put(), soon(), ())) == 2


async def test_another_loop_is_told(transport: LoopTransport) -> None:
    def elsewhere() -> None:
        asyncio.run(transport.unary(PUT, put(), soon(), ()))

    with pytest.raises(RuntimeError, match="belongs to the event loop"):
        await asyncio.to_thread(elsewhere)
