"""The client connection against the empty responder, and against peers that play odd frames."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks import frames
from benchmarks.closed_loop import CallSource, ClosedLoop, Share, check_streams
from benchmarks.connection import Connection, call, connect
from benchmarks.errors import BenchmarkError, CallError
from benchmarks.headers import Method
from benchmarks.messages import framed
from benchmarks.responder import Responder
from benchmarks.workloads.put import put_calls, put_calls_with_deadline
from pykvd.pb import rpc_pb2

METHOD = Method("/etcdserverpb.KV/Put", "localhost")
MESSAGE = framed(rpc_pb2.PutRequest(key=b"k", value=b"v"))
STATUS_OK = b"\x00\x0bgrpc-status\x010"
STATUS_5 = b"\x00\x0bgrpc-status\x015\x00\x0cgrpc-message\x0bnot%20found"
ENDED = frames.END_HEADERS | frames.END_STREAM

Frame = tuple[int, int, int, bytes]
Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """A server that a test writes by hand, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def read(self) -> Frame:
        header = await self._reader.readexactly(frames.FRAME_HEADER_SIZE)
        high, low, kind, flags, stream = frames.FRAME_HEADER.unpack(header)
        return kind, flags, stream, await self._reader.readexactly(high << 16 | low)

    async def read_until(self, wanted: int) -> Frame:
        while (found := await self.read())[0] != wanted:
            pass
        return found

    async def expect_silence(self) -> None:
        """No DATA precedes the answer to a PING: the client waits for a window."""
        self.write(frames.PING, 0, 0, bytes(8))
        while (found := await self.read())[:2] != (frames.PING, frames.ACK):
            assert found[0] != frames.DATA

    def write(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.writer.write(frames.frame(kind, flags, stream, payload))


@asynccontextmanager
async def connected(script: Script, settings: dict[int, int]) -> AsyncIterator[Connection]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(frames.PREFACE))
        writer.write(frames.settings(settings))
        await script(Peer(reader, writer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        connection = await connect(server.sockets[0].getsockname()[1])
        try:
            yield connection
        finally:
            connection.close()


@asynccontextmanager
async def responder() -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Responder, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def share(port: int, seconds: float) -> Share:
    now = time.monotonic_ns()
    return Share(port, 0, 1, now, now + int(seconds * 1e9))


async def test_call_returns_the_reply() -> None:
    async with responder() as port:
        connection = await connect(port)
        reply = rpc_pb2.PutResponse.FromString(await call(connection, METHOD, MESSAGE))
        connection.close()

    assert reply.header.revision == 1


@pytest.mark.parametrize("source", [put_calls, put_calls_with_deadline])
async def test_closed_loop_counts_every_answer(source: Callable[[Share], CallSource]) -> None:
    async with responder() as port:
        # 300 callers of 300 bytes outgrow the connection's first window of 65 535.
        outcome = await ClosedLoop(300, 1, source)(share(port, 0.2))

    assert outcome.latencies.count >= 300
    assert 0 < outcome.latencies.percentile(50) <= outcome.latencies.percentile(99)


async def test_short_replies_are_an_error() -> None:
    async with responder() as port:
        with pytest.raises(BenchmarkError, match="replies had"):
            await ClosedLoop(1, 1, put_calls, min_reply_bytes=1000)(share(port, 0.05))


async def test_settings_and_pings_are_acknowledged() -> None:
    seen: list[tuple[int, bytes]] = []

    async def script(peer: Peer) -> None:
        peer.write(frames.PING, 0, 0, b"01234567")
        while len(seen) < 2:
            kind, flags, _, payload = await peer.read()
            if flags & frames.ACK and kind in (frames.SETTINGS, frames.PING):
                seen.append((kind, payload))
        peer.write(frames.HEADERS, ENDED, 1, STATUS_OK)

    async with connected(script, {}) as connection:
        await call(connection, METHOD, MESSAGE)

    assert seen == [(frames.SETTINGS, b""), (frames.PING, b"01234567")]


async def test_calls_wait_for_the_window() -> None:
    big = framed(rpc_pb2.PutRequest(key=b"k", value=b"v" * 16_000))
    sent: list[int] = []

    async def script(peer: Peer) -> None:
        while sum(sent) + len(big) <= frames.DEFAULT_WINDOW:
            sent.append(len((await peer.read_until(frames.DATA))[3]))
        await peer.expect_silence()
        peer.write(frames.WINDOW_UPDATE, 0, 0, (1 << 20).to_bytes(4))
        while len(sent) < 8:
            sent.append(len((await peer.read_until(frames.DATA))[3]))
        for stream in range(1, 17, 2):
            peer.write(frames.HEADERS, ENDED, stream, STATUS_OK)

    async with connected(script, {}) as connection:
        await asyncio.gather(*(call(connection, METHOD, big) for _ in range(8)))

    assert sent == [len(big)] * 8


async def test_streams_wait_for_their_own_window() -> None:
    class Ended:
        def __init__(self) -> None:
            self.done = asyncio.get_running_loop().create_future()

        def data(self, payload: bytes) -> None:
            assert payload

        def end(self) -> None:
            self.done.set_result(None)

        def fail(self, error: BenchmarkError) -> None:
            self.done.set_exception(error)

    async def script(peer: Peer) -> None:
        await peer.read_until(frames.DATA)
        await peer.expect_silence()
        peer.write(frames.WINDOW_UPDATE, 0, 1, len(MESSAGE).to_bytes(4))
        await peer.read_until(frames.DATA)
        peer.write(frames.HEADERS, ENDED, 1, STATUS_OK)

    window = {frames.SETTINGS_INITIAL_WINDOW_SIZE: len(MESSAGE)}
    async with connected(script, window) as connection:
        stream = Ended()
        number = connection.open_stream(METHOD, stream)
        connection.send(number, MESSAGE)
        connection.send(number, MESSAGE)
        connection.flush()
        await stream.done


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((frames.HEADERS, ENDED, 1, STATUS_5), "grpc-status 5: not found"),
        ((frames.RST_STREAM, 0, 1, (11).to_bytes(4)), "stream reset, code 11"),
        ((frames.GOAWAY, 0, 0, bytes(7) + b"\x0bcalm"), "GOAWAY, code 11: calm"),
        ((frames.HEADERS, 0, 1, STATUS_OK), "larger than a frame"),
        (None, "connection lost"),
    ],
)
async def test_failures_reach_the_caller(answer: Frame | None, message: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_until(frames.DATA)
        if answer is not None:
            peer.write(*answer)

    async with connected(script, {}) as connection:
        with pytest.raises(CallError, match=message):
            await call(connection, METHOD, MESSAGE)


async def test_padding_is_stripped() -> None:
    body = framed(rpc_pb2.PutResponse(header={"revision": 7}))

    async def script(peer: Peer) -> None:
        await peer.read_until(frames.DATA)
        padded = b"\2" + body + b"\0\0"
        peer.write(frames.DATA, frames.PADDED, 1, padded)
        peer.write(frames.HEADERS, ENDED | frames.PADDED, 1, b"\1" + STATUS_OK + b"\0")

    async with connected(script, {}) as connection:
        reply = await call(connection, METHOD, MESSAGE)

    assert rpc_pb2.PutResponse.FromString(reply).header.revision == 7


async def test_frames_may_arrive_in_any_pieces() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_until(frames.DATA)
        answer = frames.frame(frames.DATA, 0, 1, MESSAGE) + frames.frame(
            frames.HEADERS, ENDED, 1, STATUS_OK
        )
        for octet in answer:
            peer.writer.write(bytes((octet,)))
            await peer.writer.drain()
            await asyncio.sleep(0)

    async with connected(script, {}) as connection:
        assert await call(connection, METHOD, MESSAGE) == MESSAGE[5:]


async def test_too_few_streams_are_refused() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_until(frames.SETTINGS)

    async with connected(script, {frames.SETTINGS_MAX_CONCURRENT_STREAMS: 3}) as connection:
        check_streams([connection], 3)
        with pytest.raises(BenchmarkError, match="allows 3 streams a connection, not 4"):
            check_streams([connection], 4)
