"""A `ServerConnection` in memory, and builders for what clients send to it."""

from collections.abc import Callable

from hpack import Decoder, Encoder

from pykvd.transport import frames, grpc
from pykvd.transport.connection import ServerConnection
from pykvd.transport.deadlines import DeadlineWheel
from pykvd.transport.dispatch import Dispatcher
from pykvd.transport.limits import Limits
from pykvd.transport.service import Call, Stream, StreamHandler, UnaryHandler
from pykvd.transport.statistics import Counters

ECHO = "/test.Test/Echo"
LATER = "/test.Test/Later"
CHAT = "/test.Test/Chat"

Headers = list[tuple[str, str]]


def request_headers(path: str = ECHO, extra: Headers | None = None) -> Headers:
    """The headers of a gRPC request as clients send them."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *(extra or []),
    ]


class Recorder:
    """A StreamReceiver that writes down what it is told."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.events: list[object] = []

    def message_received(self, message: bytes) -> None:
        self.events.append(message)

    def half_closed(self) -> None:
        self.events.append("half_closed")

    def closed(self) -> None:
        self.events.append("closed")

    def writable(self) -> None:
        self.events.append("writable")


class Frame:
    """One frame that the server sent."""

    def __init__(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self.kind = kind
        self.flags = flags
        self.stream_id = stream_id
        self.payload = payload

    def __repr__(self) -> str:
        return f"Frame({self.kind}, {self.flags}, {self.stream_id}, {self.payload!r})"


def split_frames(data: bytes) -> list[Frame]:
    """The frames in `data`, which must be complete."""
    result = []
    position = 0
    while position < len(data):
        high, low, kind, flags, stream_id = frames.unpack_header(data, position)
        end = position + 9 + (high << 8 | low)
        assert end <= len(data)
        result.append(Frame(kind, flags, stream_id, data[position + 9 : end]))
        position = end
    return result


class Peer:
    """A hand-driven client talking to a `ServerConnection`.

    `frames` are all that the server sent.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        unary: dict[str, UnaryHandler] | None = None,
        streams: dict[str, StreamHandler] | None = None,
        start: bool = True,
        timed: bool = False,
    ) -> None:
        self.calls: list[Call] = []
        self.recorders: list[Recorder] = []
        self.wakes = 0
        self.timers: list[float] = []
        self.now = 1000.0
        self.deadlines = DeadlineWheel(self.timers.append)
        self.counters = Counters()
        dispatcher = Dispatcher(
            unary or {ECHO: lambda _, message: message, LATER: self._later},
            streams or {CHAT: self._chat},
            self.counters,
            timed=timed,
        )
        self.connection = ServerConnection(
            limits=limits or Limits(),
            route=dispatcher.route,
            deadlines=self.deadlines,
            counters=self.counters,
            wake=self._wake,
            peer="test",
            now=self.now,
        )
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.frames: list[Frame] = []
        self.output = b""
        self.next_stream_id = 1
        if start:
            self.send(frames.CLIENT_PREFACE, frames.settings_frame({}))
            self.frames.clear()

    def _wake(self) -> None:
        self.wakes += 1

    def _later(self, call: Call, _: bytes) -> None:
        self.calls.append(call)

    def _chat(self, stream: Stream) -> Recorder:
        recorder = Recorder(stream)
        self.recorders.append(recorder)
        return recorder

    # Sending.

    def send(self, *parts: bytes) -> list[Frame]:
        """Feed the server; returns the frames it answers with."""
        self.connection.dirty = True
        self.connection.receive(b"".join(parts), self.now)
        return self.collect()

    def collect(self) -> list[Frame]:
        """The frames that the server has ready now, after as many turns as it wants."""
        fresh: list[Frame] = []
        for _ in range(10_000):
            data = b"".join(self.connection.take_output())
            self.output += data
            fresh += split_frames(data)
            if not self.connection.dirty:
                break
        self.frames += fresh
        return fresh

    def headers(
        self, stream_id: int, fields: Headers | None = None, *, end_stream: bool = False
    ) -> bytes:
        """A HEADERS frame."""
        block = self.encoder.encode(fields or request_headers())
        return frames.headers_frame(stream_id, block, end_stream=end_stream)

    def start_call(self, path: str = ECHO, extra: Headers | None = None) -> tuple[int, bytes]:
        """A new stream id and its HEADERS frame."""
        stream_id = self.next_stream_id
        self.next_stream_id += 2
        return stream_id, self.headers(stream_id, request_headers(path, extra))

    def call(self, path: str = ECHO, message: bytes = b"", extra: Headers | None = None) -> int:
        """Send a whole unary request; returns its stream id."""
        stream_id, head = self.start_call(path, extra)
        self.send(head, data_frame(stream_id, grpc.frame_message(message), end_stream=True))
        return stream_id

    def advance(self, seconds: float) -> list[Frame]:
        """Let time pass: deadlines, then time limits."""
        self.now += seconds
        self.connection.now = self.now
        self.deadlines.expire(self.now)
        self.connection.tick(self.now)
        return self.collect()

    # Looking at what came.

    def of(self, stream_id: int, kind: int | None = None) -> list[Frame]:
        """The frames of one stream, of one type if given."""
        return [
            frame
            for frame in self.frames
            if frame.stream_id == stream_id and kind in (None, frame.kind)
        ]

    def fields(self, frame: Frame) -> dict[str, str]:
        """The decoded header block of a HEADERS frame (our encoder uses no table.

        Any order works).
        """
        return {str(k): str(v) for k, v in Decoder().decode(frame.payload)}

    def status(self, stream_id: int) -> tuple[int, str]:
        """The gRPC status that ended a call."""
        last = self.of(stream_id, frames.HEADERS)[-1]
        assert last.flags & frames.END_STREAM
        fields = self.fields(last)
        return int(fields["grpc-status"]), fields.get("grpc-message", "")

    def body(self, stream_id: int) -> bytes:
        """The DATA of a stream."""
        return b"".join(frame.payload for frame in self.of(stream_id, frames.DATA))

    def goaway(self) -> tuple[int, int, bytes] | None:
        """(last stream id, code, debug) of the last GOAWAY."""
        for frame in reversed(self.frames):
            if frame.kind == frames.GOAWAY:
                return (
                    frames.read_uint32(frame.payload, 0),
                    frames.read_uint32(frame.payload, 4),
                    frame.payload[8:],
                )
        return None

    def resets(self) -> list[tuple[int, int]]:
        """(stream id, code) of all RST_STREAM frames."""
        return [
            (frame.stream_id, frames.read_uint32(frame.payload, 0))
            for frame in self.frames
            if frame.kind == frames.RST_STREAM
        ]


def data_frame(stream_id: int, payload: bytes, *, end_stream: bool = False) -> bytes:
    """DATA frames of at most the default size; the last one carries END_STREAM if asked for."""
    size = frames.MIN_MAX_FRAME_SIZE
    chunks = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    out = b""
    for number, chunk in enumerate(chunks, 1):
        flags = frames.END_STREAM if end_stream and number == len(chunks) else 0
        out += frames.frame_header(len(chunk), frames.DATA, flags, stream_id) + chunk
    return out


def raw_frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Any frame."""
    return frames.frame_header(len(payload), kind, flags, stream_id) + payload


Build = Callable[[Peer], bytes]
