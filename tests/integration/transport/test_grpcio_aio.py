"""grpcio's asyncio client, an independent implementation, against the server."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from pykvd.transport import Call, Limits, Server
from tests.integration.transport.service import (
    CHAT,
    COUNT,
    ECHO,
    FAIL,
    HANG,
    METADATA,
    NEVER,
    QUIET,
    SIZED,
    SUM,
    Service,
    eventually,
    running,
)

Running = tuple[Server, Service, grpc.aio.Channel]


@pytest.fixture
async def live() -> AsyncIterator[Running]:
    async with running() as (server, service, target), channel_to(target) as channel:
        yield server, service, channel


def channel_to(target: str) -> grpc.aio.Channel:
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    return grpc.aio.insecure_channel(target, options=unlimited)


def unary_unary(
    channel: grpc.aio.Channel, path: str
) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(path)


def unary_stream(
    channel: grpc.aio.Channel, path: str
) -> grpc.aio.UnaryStreamMultiCallable[bytes, bytes]:
    return channel.unary_stream(path)


def stream_unary(
    channel: grpc.aio.Channel, path: str
) -> grpc.aio.StreamUnaryMultiCallable[bytes, bytes]:
    return channel.stream_unary(path)


def stream_stream(
    channel: grpc.aio.Channel, path: str
) -> grpc.aio.StreamStreamMultiCallable[bytes, bytes]:
    return channel.stream_stream(path)


async def test_unary(live: Running) -> None:
    _, _, channel = live
    echo = unary_unary(channel, ECHO)
    assert await echo(b"hello") == b"hello"
    assert await echo(b"") == b""
    assert await echo(b"later") == b"here it is"


async def test_many_calls_at_once_with_and_without_deadline(live: Running) -> None:
    server, _, channel = live
    echo = unary_unary(channel, ECHO)
    calls = [
        echo(b"%d" % number, timeout=None if number % 3 else 5 + number / 977)
        for number in range(600)
    ]
    assert await asyncio.gather(*calls) == [b"%d" % number for number in range(600)]
    assert server.statistics().calls == 600
    assert server.statistics().streams_open == 0


async def test_large_request_and_20_mb_reply(live: Running) -> None:
    _, _, channel = live
    assert len(await unary_unary(channel, ECHO)(bytes(2_000_000))) == 2_000_000
    assert len(await unary_unary(channel, SIZED)(b"20000000")) == 20_000_000


async def test_status_and_text(live: Running) -> None:
    _, _, channel = live
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary_unary(channel, FAIL)("Grüße, 100 %\n".encode())
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "Grüße, 100 %\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/test.Test/Nope", "unknown method Nope for service test.Test"),
        ("/no.Such/Nope", "unknown service no.Such"),
    ],
)
async def test_unknown_methods(live: Running, path: str, text: str) -> None:
    _, _, channel = live
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary_unary(channel, path)(b"x")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == text


async def test_metadata_text_and_binary(live: Running) -> None:
    _, _, channel = live
    metadata = (("token", "abc.def"), ("raw-bin", b"\x00\xff\x01"))
    reply = await unary_unary(channel, METADATA)(b"", metadata=metadata)
    assert reply == repr(("abc.def", b"\x00\xff\x01")).encode()


async def test_gzip_requests(live: Running) -> None:
    _, _, channel = live
    echo = unary_unary(channel, ECHO)
    reply = await echo(b"squeeze" * 1000, compression=grpc.Compression.Gzip)
    assert reply == b"squeeze" * 1000


async def test_deflate_requests_are_refused(live: Running) -> None:
    _, _, channel = live
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary_unary(channel, ECHO)(b"x" * 1000, compression=grpc.Compression.Deflate)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_too_large_message() -> None:
    async with running(Limits(max_message_bytes=1000)) as (_, _, target), channel_to(target) as ch:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary_unary(ch, ECHO)(bytes(1_000_000))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == (
            "grpc: received message larger than max (1000000 vs. 1000)"
        )
        assert await unary_unary(ch, ECHO)(b"still there") == b"still there"


async def test_deadline(live: Running) -> None:
    server, service, channel = live
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary_unary(channel, NEVER)(b"", timeout=0.1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: service.abandoned == 1)
    await eventually(lambda: server.statistics().streams_open == 0)


async def test_cancellation(live: Running) -> None:
    _, service, channel = live
    call = unary_unary(channel, NEVER)(b"")
    waiting = asyncio.ensure_future(call)
    await eventually(lambda: len(service.waiting) == 1)
    waiting.cancel()
    await eventually(lambda: service.abandoned == 1)


async def test_closed_channel_ends_calls() -> None:
    async with running() as (_, service, target):
        channel = channel_to(target)
        unary = asyncio.ensure_future(unary_unary(channel, NEVER)(b""))
        stream = stream_stream(channel, QUIET)()
        await stream.initial_metadata()
        await eventually(lambda: len(service.waiting) == 1)
        await channel.close()
        await eventually(lambda: service.abandoned == 1 and service.closed == 1)
        await asyncio.gather(unary, return_exceptions=True)


async def test_server_streaming(live: Running) -> None:
    _, _, channel = live
    received = [message async for message in unary_stream(channel, COUNT)(b"500 10")]
    assert received == [b"%d" % number + bytes(10) for number in range(500)]


async def test_server_streaming_more_than_all_windows(live: Running) -> None:
    _, _, channel = live
    total = 0
    async for message in unary_stream(channel, COUNT)(b"300 100000"):
        total += len(message)
    assert total > 30_000_000


async def test_client_streaming(live: Running) -> None:
    _, _, channel = live

    async def numbers() -> AsyncIterator[bytes]:
        for number in range(1000):
            yield b"%d" % number

    assert await stream_unary(channel, SUM)(numbers()) == b"499500"


async def test_bidirectional_streaming(live: Running) -> None:
    _, _, channel = live
    call = stream_stream(channel, CHAT)()
    for word in (b"one", b"two", b"three"):
        await call.write(word)
        assert await call.read() == word.upper()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() == grpc.StatusCode.OK


async def test_stream_handler_errors(live: Running, caplog: pytest.LogCaptureFixture) -> None:
    _, _, channel = live
    outcomes = []
    with caplog.at_level(logging.ERROR):
        for word in (b"fail", b"explode"):
            call = stream_stream(channel, CHAT)()
            await call.write(word)
            outcomes.append((await call.code(), await call.details()))
    assert outcomes == [
        (grpc.StatusCode.ABORTED, "as you wish"),
        (grpc.StatusCode.UNKNOWN, "internal error"),
    ]
    assert "ValueError" in caplog.text


async def test_client_that_leaves_cancels_the_task(live: Running) -> None:
    _, service, channel = live
    call = stream_stream(channel, HANG)()
    await call.initial_metadata()
    call.cancel()
    await eventually(lambda: service.cancelled == 1)


async def test_stream_deadline_cancels_the_task(live: Running) -> None:
    _, service, channel = live
    call = stream_stream(channel, HANG)(timeout=0.2)
    assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: service.cancelled == 1)


async def test_drain_lets_running_calls_finish() -> None:
    async with running() as (server, service, target), channel_to(target) as channel:
        running_call = asyncio.ensure_future(unary_unary(channel, NEVER)(b""))
        await eventually(lambda: len(service.waiting) == 1)
        sent = server.statistics().bytes_sent
        draining = asyncio.ensure_future(server.drain(20))
        await eventually(lambda: server.statistics().bytes_sent > sent)
        assert not draining.done()
        service.waiting[0].reply(b"finished")
        assert await running_call == b"finished"
        await draining
        assert server.statistics().connections == 0


async def test_drain_cuts_what_does_not_end() -> None:
    async with running() as (server, service, target), channel_to(target) as channel:
        call = stream_stream(channel, HANG)()
        await call.initial_metadata()
        await server.drain(0.3)
        assert await call.code() == grpc.StatusCode.UNAVAILABLE
        assert service.cancelled == 1


async def test_too_many_pings_end_the_connection() -> None:
    """grpcio pings far too often for a server that wants five seconds between pings."""
    options = [
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_timeout_ms", 5000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.enable_retries", 0),
    ]
    async with (
        running() as (_, _, target),
        grpc.aio.insecure_channel(target, options=options) as channel,
    ):
        call = stream_stream(channel, QUIET)()
        assert await call.code() == grpc.StatusCode.UNAVAILABLE
        assert "too_many_pings" in str(await call.details())


async def test_allowed_keepalive_keeps_the_connection() -> None:
    options = [("grpc.keepalive_time_ms", 100), ("grpc.http2.max_pings_without_data", 0)]
    async with (
        running(Limits(keepalive_min_time=0.01)) as (server, _, target),
        grpc.aio.insecure_channel(target, options=options) as channel,
    ):
        call = stream_stream(channel, QUIET)()
        await call.initial_metadata()
        before = server.statistics().bytes_received
        await eventually(lambda: server.statistics().bytes_received >= before + 3 * 17)
        assert not call.done()
        call.cancel()


async def test_server_pings_keep_a_living_client() -> None:
    limits = Limits(keepalive_interval=0.1, keepalive_timeout=5)
    async with running(limits) as (server, _, target), channel_to(target) as channel:
        assert await unary_unary(channel, ECHO)(b"x") == b"x"
        sent = server.statistics().bytes_sent
        await eventually(lambda: server.statistics().bytes_sent >= sent + 5 * 17)
        assert server.statistics().connections == 1


async def test_unix_socket(tmp_path: Path) -> None:
    peers: list[str] = []

    def who(call: Call, message: bytes) -> bytes:
        peers.append(call.peer)
        return message

    server = Server(unary={ECHO: who}, streams={})
    path = tmp_path / "s.sock"
    await server.listen_unix(str(path))
    try:
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            assert await unary_unary(channel, ECHO)(b"x") == b"x"
        assert peers[0].startswith("unix:")
    finally:
        await server.close()
    assert not path.exists()
