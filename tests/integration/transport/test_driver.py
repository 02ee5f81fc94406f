"""The asyncio side with raw sockets: first bytes, limits, lost connections, slow readers."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import cast

import pytest
from hpack import Encoder

from pykvd.transport import Call, Limits, Server, frame_message, frames
from pykvd.transport.driver import PIECE_BYTES
from pykvd.transport.request import RequestHead
from tests.integration.transport.service import (
    ECHO,
    NEVER,
    QUIET,
    SIZED,
    eventually,
    running,
    started,
)


class Raw:
    """A client that writes frames by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.encoder = Encoder()
        self.next_stream_id = 1

    @classmethod
    async def connect(cls, target: str, opening: bytes | None = None) -> "Raw":
        host, port = target.split(":")
        raw = cls(*await asyncio.open_connection(host, int(port)))
        raw.writer.write(
            frames.CLIENT_PREFACE + frames.settings_frame({}) if opening is None else opening
        )
        return raw

    def request(self, path: str, message: bytes = b"", *, end_stream: bool = True) -> bytes:
        block = self.encoder.encode(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                ("content-type", "application/grpc"),
            ]
        )
        stream_id, self.next_stream_id = self.next_stream_id, self.next_stream_id + 2
        body = frame_message(message)
        flags = frames.END_STREAM if end_stream else 0
        return (
            frames.headers_frame(stream_id, block, end_stream=False)
            + frames.frame_header(len(body), frames.DATA, flags, stream_id)
            + body
        )

    async def frame(self) -> tuple[int, int, bytes]:
        """(type, stream id, payload) of the next frame."""
        header = await self.reader.readexactly(9)
        high, low, kind, _, stream_id = frames.unpack_header(header, 0)
        return kind, stream_id, await self.reader.readexactly(high << 8 | low)

    async def frame_of(self, wanted: int) -> tuple[int, bytes]:
        """(stream id, payload) of the next frame of a type."""
        while True:
            kind, stream_id, payload = await self.frame()
            if kind == wanted:
                return stream_id, payload

    async def ended(self) -> bool:
        """Read to the end of the connection."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        self.writer.transport.abort()


@pytest.fixture
async def clients() -> AsyncIterator[list[Raw]]:
    opened: list[Raw] = []
    yield opened
    for raw in opened:
        raw.close()


async def test_replies_of_one_read_leave_together(clients: list[Raw]) -> None:
    async with running() as (server, _, target):
        raw = await Raw.connect(target)
        clients.append(raw)
        raw.writer.write(b"".join(raw.request(ECHO, b"x") for _ in range(50)))
        for expected in range(1, 101, 2):
            stream_id, payload = await raw.frame_of(frames.DATA)
            assert (stream_id, payload) == (expected, frame_message(b"x"))
        assert server.statistics().calls == 50


async def test_preface_in_single_bytes(clients: list[Raw]) -> None:
    async with running() as (_, _, target):
        raw = await Raw.connect(target, b"")
        clients.append(raw)
        data = frames.CLIENT_PREFACE + frames.settings_frame({}) + raw.request(ECHO, b"x")
        for at in range(len(data)):
            raw.writer.write(data[at : at + 1])
            await asyncio.sleep(0)
        assert (await raw.frame_of(frames.DATA))[1] == frame_message(b"x")


async def test_slow_first_byte_is_cut(clients: list[Raw]) -> None:
    async with running(Limits(preface_timeout=0.1)) as (server, _, target):
        openings = (b"", b"PRI", frames.CLIENT_PREFACE)
        clients += [await Raw.connect(target, opening) for opening in openings]
        for raw in clients:
            assert await raw.ended()
        await eventually(lambda: server.statistics().connections == 0)


async def test_other_protocols_are_cut_when_there_is_no_http1(clients: list[Raw]) -> None:
    async with running() as (_, _, target):
        raw = await Raw.connect(target, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        clients.append(raw)
        assert await raw.ended()


class Parrot(asyncio.Protocol):
    """Stands for an HTTP/1.1 server: sends back what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Parrots:
    """Stands for the server that has them."""

    connections = 0

    def make_protocol(self, peer: str) -> Parrot:
        assert peer
        return Parrot()

    def open_stream(self, head: RequestHead) -> None:
        raise NotImplementedError


async def test_other_protocols_are_handed_over_with_their_first_bytes(clients: list[Raw]) -> None:
    server = Server(unary={}, streams={}, http=Parrots())
    async with started(server) as target:
        raw = await Raw.connect(target, b"GE")
        clients.append(raw)
        assert await raw.reader.readexactly(2) == b"GE"
        raw.writer.write(b"T /")
        assert await raw.reader.readexactly(3) == b"T /"
        assert server.statistics().connections == 0
        raw.close()


async def test_fatal_error_reaches_the_client_before_the_end(clients: list[Raw]) -> None:
    """GOAWAY arrives although the client goes on sending."""
    async with running() as (server, _, target):
        raw = await Raw.connect(target)
        clients.append(raw)
        raw.writer.write(frames.window_update_frame(0, 0) + frames.ping_frame(bytes(8)) * 1000)
        _, payload = await raw.frame_of(frames.GOAWAY)
        assert frames.read_uint32(payload, 4) == frames.ErrorCode.PROTOCOL_ERROR
        assert await raw.ended()
        raw.close()
        await eventually(lambda: server.statistics().connections == 0)


async def test_client_that_ignores_goaway_is_cut(clients: list[Raw]) -> None:
    async with running(Limits(goaway_linger=0.1)) as (server, _, target):
        raw = await Raw.connect(target)
        clients.append(raw)
        raw.writer.write(frames.window_update_frame(0, 0))
        await eventually(lambda: server.statistics().connections == 0)


async def test_connection_limit(clients: list[Raw]) -> None:
    async with running(Limits(max_connections=2)) as (server, _, target):
        for _ in range(2):
            raw = await Raw.connect(target)
            clients.append(raw)
            await raw.frame_of(frames.SETTINGS)
        refused = await Raw.connect(target)
        clients.append(refused)
        assert await refused.ended()
        assert server.statistics().connections_refused == 1
        clients[0].abort()
        await eventually(lambda: server.statistics().connections == 1)
        another = await Raw.connect(target)
        clients.append(another)
        await another.frame_of(frames.SETTINGS)


async def test_lost_connection_ends_calls_and_streams(clients: list[Raw]) -> None:
    async with running() as (server, service, target):
        raw = await Raw.connect(target)
        clients.append(raw)
        raw.writer.write(raw.request(NEVER) + raw.request(QUIET, end_stream=False))
        await eventually(lambda: server.statistics().streams_open == 2)
        raw.abort()
        await eventually(lambda: server.statistics().connections == 0)
        assert (service.abandoned, service.closed) == (1, 1)
        service.waiting[0].reply(b"nobody is there")


async def test_client_that_never_reads_is_not_read_either(clients: list[Raw]) -> None:
    """Open windows and a full socket: memory stays bounded, and reading starts again later."""
    limits = Limits(stalled_output_bytes=1 << 20, max_idle_frames=10**9)
    async with running(limits) as (server, _, target):
        raw = await Raw.connect(target, b"")
        clients.append(raw)
        transport = cast("asyncio.Transport", raw.writer.transport)
        transport.pause_reading()
        windows = {frames.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 30}
        raw.writer.write(
            frames.CLIENT_PREFACE
            + frames.settings_frame(windows)
            + frames.window_update_frame(0, 1 << 30)
        )
        wanted = 60
        requests = b"".join(raw.request(SIZED, b"1000000") for _ in range(wanted))
        for at in range(0, len(requests), 100):
            raw.writer.write(requests[at : at + 100])
            await asyncio.sleep(0)
        (protocol,) = server._protocols
        await eventually(lambda: protocol._reading_paused)
        assert server.statistics().calls < wanted
        transport.resume_reading()
        received = 0
        while received < wanted * 1_000_005:
            received += len((await raw.frame_of(frames.DATA))[1])
        assert server.statistics().calls == wanted


async def test_a_flood_takes_turns_with_others(clients: list[Raw]) -> None:
    """One read holds the loop up for a slice, whatever it brings; all is answered in order."""
    turns, seen = 0, [0]
    wanted = 200

    async def count_turns() -> None:
        nonlocal turns
        while len(seen) <= wanted:
            turns += 1
            await asyncio.sleep(0)

    def work(_: Call, message: bytes) -> bytes:
        time.sleep(0.001)
        seen.append(turns)
        return message[:3]

    async with started(Server(unary={ECHO: work}, streams={})) as target:
        raw = await Raw.connect(target)
        clients.append(raw)
        counting = asyncio.create_task(count_turns())
        messages = [b"%d" % number * 300 for number in range(100, 100 + wanted)]
        raw.writer.write(b"".join(raw.request(ECHO, message) for message in messages))
        answers = [(await raw.frame_of(frames.DATA))[1] for _ in messages]
        assert answers == [frame_message(message[:3]) for message in messages]
        await counting
        assert max(seen.count(turn) for turn in seen) < 2 * PIECE_BYTES / len(messages[0])


async def test_large_reply_as_the_client_opens_its_window(clients: list[Raw]) -> None:
    async with running() as (_, _, target):
        raw = await Raw.connect(target)
        clients.append(raw)
        raw.writer.write(raw.request(SIZED, b"3000000"))
        received = 0
        while received < 3_000_005:
            stream_id, payload = await raw.frame_of(frames.DATA)
            received += len(payload)
            raw.writer.write(
                frames.window_update_frame(0, len(payload))
                + frames.window_update_frame(stream_id, len(payload))
            )
        assert received == 3_000_005


async def test_drain_closes_idle_connections_at_once(clients: list[Raw]) -> None:
    async with running() as (server, _, target):
        raw = await Raw.connect(target)
        silent = await Raw.connect(target, b"")
        clients += [raw, silent]
        await raw.frame_of(frames.SETTINGS)
        draining = asyncio.ensure_future(server.drain(30))
        _, payload = await raw.frame_of(frames.GOAWAY)
        assert payload[8:] == b"graceful_stop"
        _, opaque = await raw.frame_of(frames.PING)
        raw.writer.write(frames.ping_frame(opaque, ack=True))
        assert await silent.ended()
        assert await raw.ended()
        raw.close()
        await draining
        with pytest.raises(OSError, match=r".*"):
            await Raw.connect(target)


async def test_reply_from_another_turn_of_the_loop_is_sent(clients: list[Raw]) -> None:
    waiting: list[Call] = []
    server = Server(unary={ECHO: lambda call, _: waiting.append(call)}, streams={})
    async with started(server) as target:
        raw = await Raw.connect(target)
        clients.append(raw)
        raw.writer.write(raw.request(ECHO))
        await eventually(lambda: bool(waiting))
        waiting[0].reply(b"now")
        assert (await raw.frame_of(frames.DATA))[1] == frame_message(b"now")


async def test_deadlines_far_and_near_share_one_timer(clients: list[Raw]) -> None:
    async with running() as (server, service, target):
        raw = await Raw.connect(target)
        clients.append(raw)
        for timeout in ("90S", "100m", "20S", "50m"):
            block = raw.encoder.encode(
                [
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":path", NEVER),
                    ("content-type", "application/grpc"),
                    ("grpc-timeout", timeout),
                ]
            )
            raw.writer.write(
                frames.headers_frame(raw.next_stream_id, block, end_stream=False)
                + frames.frame_header(5, frames.DATA, frames.END_STREAM, raw.next_stream_id)
                + frame_message(b"")
            )
            raw.next_stream_id += 2
        assert (await raw.frame_of(frames.HEADERS))[0] == 7
        assert (await raw.frame_of(frames.HEADERS))[0] == 3
        assert service.abandoned == 2
        assert server.statistics().streams_open == 2
