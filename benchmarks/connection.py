"""A client HTTP/2 connection that carries gRPC calls and parses no more than it must.

It keeps to the protocol where that matters to a server: flow control both ways, SETTINGS and PING
are answered, GOAWAY and RST_STREAM fail the calls they hit. Receive windows are so large that the
server under test and not the window decides the figures; that of the connection is renewed, that
of a stream outlasts any workload here. The calls of one read share one write.
"""

import asyncio
import ssl
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import unquote

from benchmarks import frames
from benchmarks.errors import BenchmarkError, CallError
from benchmarks.frames import FRAME_HEADER, FRAME_HEADER_SIZE
from benchmarks.headers import HeaderEncoder, Method, ResponseHeaders

if TYPE_CHECKING:
    from collections.abc import Callable

_RECEIVE_WINDOW = 1 << 30
_CONNECT_SECONDS = 20.0
_CALL_SECONDS = 60.0
_pack_header = FRAME_HEADER.pack
_unpack_header = FRAME_HEADER.unpack_from


class Stream(Protocol):
    """What a connection tells about one call."""

    def data(self, payload: bytes) -> None:
        """The payload of a DATA frame arrived."""

    def end(self) -> None:
        """The call ended with status OK."""

    def fail(self, error: BenchmarkError) -> None:
        """The call ended otherwise, or the connection was lost."""


@dataclass(slots=True)
class _OpenStream:
    """The sending half of a stream that stays open: its window and what waits for it."""

    window: int
    waiting: deque[bytes]


class Connection(asyncio.Protocol):
    """One connection; `connect` makes it. `now_ns` is the monotonic time of the last read."""

    def __init__(self) -> None:
        self.now_ns = time.monotonic_ns()
        self.max_streams = 1 << 31
        #: Gets all whole frames of a read as they are, instead of the streams their DATA.
        self.tap: Callable[[bytes], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._settled = asyncio.get_running_loop().create_future()
        self._encoder = HeaderEncoder()
        self._responses = ResponseHeaders()
        self._streams: dict[int, Stream] = {}
        self._open: dict[int, _OpenStream] = {}
        self._waiting: deque[tuple[Method, bytes, Stream]] = deque()
        self._next_stream = 1
        self._send_window = frames.DEFAULT_WINDOW
        self._initial_window = frames.DEFAULT_WINDOW
        self._consumed = 0
        self._out: list[bytes] = []
        self._rest = b""

    async def ready(self) -> None:
        """Wait for the server's first SETTINGS; raises CallError when the connection is lost."""
        await self._settled

    def request(self, method: Method, message: bytes, stream: Stream) -> None:
        """Send a whole call, once flow control allows; leaves with the next `flush`."""
        if self._waiting or len(message) > self._send_window:
            self._waiting.append((method, message, stream))
            return
        number = self._next_stream
        self._next_stream = number + 2
        self._streams[number] = stream
        block = self._encoder.encode(method)
        size = len(message)
        self._send_window -= size
        self._out.append(
            _pack_header(0, len(block), frames.HEADERS, frames.END_HEADERS, number)
            + block
            + _pack_header(0, size, frames.DATA, frames.END_STREAM, number)
            + message
        )

    def open_stream(self, method: Method, stream: Stream) -> int:
        """Start a call whose requests follow with `send`; returns its stream number."""
        number = self._next_stream
        self._next_stream = number + 2
        self._streams[number] = stream
        self._open[number] = _OpenStream(self._initial_window, deque())
        block = self._encoder.encode(method)
        self._out.append(frames.frame(frames.HEADERS, frames.END_HEADERS, number, block))
        return number

    def send(self, number: int, message: bytes) -> None:
        """Send one message on an open stream, once flow control allows."""
        sender = self._open[number]
        sender.waiting.append(message)
        self._send_waiting_messages(number, sender)

    def flush(self) -> None:
        """Hand everything gathered since the last flush to the socket, in one write."""
        if self._transport is None:
            self._fail_all(CallError("connection lost"))
        elif self._out:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def close(self) -> None:
        """Close the connection; calls still running fail."""
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface and open the receive window."""
        self._transport = cast(asyncio.Transport, transport)
        self._out += [
            frames.PREFACE,
            frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: _RECEIVE_WINDOW}),
            frames.window_update(0, _RECEIVE_WINDOW - frames.DEFAULT_WINDOW),
        ]
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whatever still waits."""
        self._transport = None
        self._fail_all(CallError(f"connection lost: {exc or 'closed'}"))

    def data_received(self, data: bytes) -> None:
        """Take every whole frame of one read, then write what the calls asked for meanwhile."""
        self.now_ns = time.monotonic_ns()
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        streams = self._streams if self.tap is None else {}
        while end - position >= FRAME_HEADER_SIZE:
            high, low, kind, flags, number = _unpack_header(data, position)
            start = position + FRAME_HEADER_SIZE
            position = start + (high << 16 | low)
            if position > end:
                position = start - FRAME_HEADER_SIZE
                break
            if kind == frames.DATA and not flags & frames.PADDED:
                self._consumed += position - start
                stream = streams.get(number)
                if stream is not None:
                    stream.data(data[start:position])
            elif kind == frames.HEADERS and flags & frames.END_HEADERS:
                self._headers(flags, number, data[start:position])
            else:
                self._rare_frame(kind, flags, number, data[start:position])
        self._rest = data[position:]
        if self.tap is not None:
            self.tap(data[:position])
        if self._consumed > _RECEIVE_WINDOW // 2:
            self._out.append(frames.window_update(0, self._consumed))
            self._consumed = 0
        self.flush()

    def _headers(self, flags: int, number: int, block: bytes) -> None:
        if flags & (frames.PADDED | frames.PRIORITY):
            block = frames.strip_padding(flags, block)
        fields = self._responses.decode(block)
        if not flags & frames.END_STREAM:
            return
        self._open.pop(number, None)
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        status = fields.get("grpc-status")
        if status == "0":
            stream.end()
        else:
            message = unquote(fields.get("grpc-message", ""))
            stream.fail(CallError(f"grpc-status {status}: {message}"))

    def _rare_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        match kind:
            case frames.SETTINGS if not flags & frames.ACK:
                self._settings(frames.parse_settings(payload))
            case frames.PING if not flags & frames.ACK:
                self._out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
            case frames.WINDOW_UPDATE:
                self._window_update(number, int.from_bytes(payload))
            case frames.DATA:
                self._consumed += len(payload)
                if (stream := self._streams.get(number)) is not None:
                    stream.data(frames.strip_padding(flags, payload))
            case frames.RST_STREAM:
                self._open.pop(number, None)
                if (stream := self._streams.pop(number, None)) is not None:
                    stream.fail(CallError(f"stream reset, code {int.from_bytes(payload)}"))
            case frames.GOAWAY:
                code = int.from_bytes(payload[4:8])
                self._fail_all(CallError(f"GOAWAY, code {code}: {payload[8:].decode()}"))
            case frames.HEADERS | frames.CONTINUATION:
                self._fail_all(CallError("response headers larger than a frame"))

    def _settings(self, values: dict[int, int]) -> None:
        self._out.append(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        self.max_streams = values.get(frames.SETTINGS_MAX_CONCURRENT_STREAMS, self.max_streams)
        if (size := values.get(frames.SETTINGS_HEADER_TABLE_SIZE)) is not None:
            self._encoder.resize(size)
        if (window := values.get(frames.SETTINGS_INITIAL_WINDOW_SIZE)) is not None:
            for sender in self._open.values():
                sender.window += window - self._initial_window
            self._initial_window = window
        if not self._settled.done():
            self._settled.set_result(None)

    def _window_update(self, number: int, increment: int) -> None:
        if number:
            if (sender := self._open.get(number)) is not None:
                sender.window += increment
                self._send_waiting_messages(number, sender)
            return
        self._send_window += increment
        for open_number, sender in self._open.items():
            self._send_waiting_messages(open_number, sender)
        waiting, self._waiting = self._waiting, deque()
        for method, message, stream in waiting:
            self.request(method, message, stream)

    def _send_waiting_messages(self, number: int, sender: _OpenStream) -> None:
        while sender.waiting and len(sender.waiting[0]) <= min(sender.window, self._send_window):
            message = sender.waiting.popleft()
            sender.window -= len(message)
            self._send_window -= len(message)
            self._out.append(frames.frame(frames.DATA, 0, number, message))

    def _fail_all(self, error: CallError) -> None:
        if not self._settled.done():
            self._settled.set_exception(error)
        waiting = [stream for _, _, stream in self._waiting]
        running = [*self._streams.values(), *waiting]
        self._streams.clear()
        self._open.clear()
        self._waiting.clear()
        for stream in running:
            stream.fail(error)


class _Reply:
    """The stream of a single awaited call."""

    def __init__(self) -> None:
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._chunks: list[bytes] = []

    def data(self, payload: bytes) -> None:
        self._chunks.append(payload)

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(b"".join(self._chunks)[5:])

    def fail(self, error: BenchmarkError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def _tls_context() -> ssl.SSLContext:
    """For any server: what is measured is not who it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


async def connect(port: int, *, tls: bool = False) -> Connection:
    """Connect to 127.0.0.1:`port`; raises OSError, or CallError when it does not speak HTTP/2."""
    loop = asyncio.get_running_loop()
    context = _tls_context() if tls else None
    _, connection = await loop.create_connection(Connection, "127.0.0.1", port, ssl=context)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await connection.ready()
    except TimeoutError:
        connection.close()
        raise CallError(f"no SETTINGS within {_CONNECT_SECONDS:g} s") from None
    return connection


async def call(connection: Connection, method: Method, message: bytes) -> bytes:
    """Make one unary call and return the serialised reply; raises CallError."""
    reply = _Reply()
    connection.request(method, message, reply)
    connection.flush()
    try:
        async with asyncio.timeout(_CALL_SECONDS):
            return await reply.done
    except TimeoutError:
        raise CallError(f"no answer within {_CALL_SECONDS:g} s") from None
