"""grpcio's blocking client in another thread against the server on its loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

import grpc
import pytest
import uvloop

from tests.integration.transport.service import CHAT, COUNT, ECHO, NEVER, SUM, Service, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.transport import Server


class Background:
    """A server on a uvloop in a thread of its own."""

    def __init__(self) -> None:
        self._started: Future[tuple[Server, Service, str]] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=lambda: uvloop.run(self._main()))
        self._thread.start()
        self.server, self.service, self.target = self._started.result(10)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with running() as live:
            self._started.set_result(live)
            await self._stop.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    live = Background()
    yield live
    live.close()


@pytest.fixture
def channel(background: Background) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(background.target) as channel:
        yield channel


def unary_unary(channel: grpc.Channel, path: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(path)


def unary_stream(channel: grpc.Channel, path: str) -> grpc.UnaryStreamMultiCallable[bytes, bytes]:
    return channel.unary_stream(path)


def stream_unary(channel: grpc.Channel, path: str) -> grpc.StreamUnaryMultiCallable[bytes, bytes]:
    return channel.stream_unary(path)


def stream_stream(channel: grpc.Channel, path: str) -> grpc.StreamStreamMultiCallable[bytes, bytes]:
    return channel.stream_stream(path)


def test_unary_calls_in_a_row(channel: grpc.Channel) -> None:
    echo = unary_unary(channel, ECHO)
    for number in range(200):
        assert echo(b"%d" % number, timeout=10) == b"%d" % number


def test_large_message_both_ways(channel: grpc.Channel) -> None:
    assert len(unary_unary(channel, ECHO)(bytes(2_000_000), timeout=10)) == 2_000_000


def test_deadline(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        unary_unary(channel, NEVER)(b"", timeout=0.1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_server_streaming(channel: grpc.Channel) -> None:
    assert len(list(unary_stream(channel, COUNT)(b"1000 1000", timeout=20))) == 1000


def test_client_streaming(channel: grpc.Channel) -> None:
    numbers = (b"%d" % number for number in range(300))
    assert stream_unary(channel, SUM)(numbers, timeout=20) == b"44850"


def test_bidirectional_streaming(channel: grpc.Channel) -> None:
    replies = stream_stream(channel, CHAT)(iter([b"a", b"b", b"c"]), timeout=20)
    assert list(replies) == [b"A", b"B", b"C"]


def test_cancelling_a_stream(channel: grpc.Channel, background: Background) -> None:
    before = background.server.statistics().calls
    call = unary_stream(channel, COUNT)(b"1000000 100000")
    next(call)
    call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED
    assert unary_unary(channel, ECHO)(b"x", timeout=10) == b"x"
    assert background.server.statistics().calls == before + 2
