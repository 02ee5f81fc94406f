"""The client's HTTP/2 against the `h2` library as server, and against servers that misbehave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.errors import Code
from pykvd.peer import PeerLimits
from pykvd.peer.http2 import ClientConnection, ClientStream
from pykvd.transport import frame_message, frames
from pykvd.transport.frames import ErrorCode


class Log:
    """A Receiver that remembers."""

    def __init__(self) -> None:
        self.accepted_times = 0
        self.messages: list[bytes] = []
        self.writable_times = 0
        self.status: tuple[int, str] | None = None

    def accepted(self) -> None:
        self.accepted_times += 1

    def message_received(self, message: bytes) -> None:
        assert self.status is None
        self.messages.append(message)

    def writable(self) -> None:
        assert self.status is None
        self.writable_times += 1

    def closed(self, code: int, text: str) -> None:
        assert self.status is None
        self.status = (code, text)


class Pair:
    """Our client and h2's server, connected by hand."""

    def __init__(self, limits: PeerLimits | None = None) -> None:
        self.client = ClientConnection(limits or PeerLimits(), "peer:2380", lambda: None)
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.server = h2.connection.H2Connection(config=config)
        self.server.initiate_connection()
        self.received: dict[int, bytearray] = {}
        self.headers: dict[int, dict[str, str]] = {}
        self.events: list[Any] = []
        self.acknowledge = True

    def open(self) -> tuple[ClientStream, Log]:
        log = Log()
        return self.client.request("/pykvd.peer.Peer/Stream", [("pykvd-from", "1f")], log), log

    def exchange(self, piece: int = 1 << 20) -> None:
        """Carry bytes both ways until nothing moves."""
        while True:
            up = b"".join(self.client.take_output())
            for start in range(0, len(up), piece):
                self._serve(self.server.receive_data(up[start : start + piece]))
            down = self.server.data_to_send()
            for start in range(0, len(down), piece):
                self.client.receive(down[start : start + piece])
            if not up and not down:
                return

    def _serve(self, events: list[Any]) -> None:
        for event in events:
            self.events.append(event)
            if isinstance(event, h2.events.RequestReceived):
                self.headers[event.stream_id] = {
                    str(name): str(value) for name, value in event.headers
                }
                self.received[event.stream_id] = bytearray()
            elif isinstance(event, h2.events.DataReceived):
                self.received[event.stream_id] += event.data
                if self.acknowledge:
                    size = event.flow_controlled_length
                    self.server.acknowledge_received_data(size, event.stream_id)

    def accept(self, stream: ClientStream) -> None:
        self.exchange()
        fields = [(":status", "200"), ("content-type", "application/grpc")]
        self.server.send_headers(stream.stream_id, fields)

    def finish(self, stream: ClientStream, code: int, text: str) -> None:
        fields = [("grpc-status", str(code)), ("grpc-message", text)]
        self.server.send_headers(stream.stream_id, fields, end_stream=True)


def test_a_request_says_what_grpc_wants() -> None:
    pair = Pair()
    stream, _ = pair.open()
    pair.exchange()
    assert pair.headers[stream.stream_id] == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/pykvd.peer.Peer/Stream",
        ":authority": "peer:2380",
        "te": "trailers",
        "content-type": "application/grpc",
        "pykvd-from": "1f",
    }


@given(
    st.lists(st.binary(max_size=70_000), max_size=6),
    st.lists(st.binary(max_size=30_000), max_size=4),
    st.integers(1, 40_000),
)
def test_messages_pass_both_ways_however_they_are_cut(
    up: list[bytes], down: list[bytes], piece: int
) -> None:
    pair = Pair()
    stream, log = pair.open()
    for message in up:
        stream.send(message)
    stream.end()
    pair.exchange(piece)
    assert pair.received[stream.stream_id] == b"".join(map(frame_message, up))
    assert any(isinstance(event, h2.events.StreamEnded) for event in pair.events)
    pair.accept(stream)
    for message in down:
        framed = frame_message(message)
        for start in range(0, len(framed), 16_000):
            pair.server.send_data(stream.stream_id, framed[start : start + 16_000])
            pair.exchange(piece)
    pair.finish(stream, 0, "")
    pair.exchange(piece)
    assert log.accepted_times == 1
    assert log.messages == down
    assert log.status == (0, "")
    assert pair.client.streams == {}


def test_windows_hold_back_and_the_receiver_hears_of_room() -> None:
    pair = Pair(replace(PeerLimits(), stream_high_water=50_000, stream_low_water=10_000))
    pair.acknowledge = False
    stream, log = pair.open()
    pair.exchange()
    stream.send(bytes(200_000))
    pair.exchange()
    assert len(pair.received[stream.stream_id]) == frames.DEFAULT_WINDOW
    assert stream.congested
    assert stream.buffered == 200_005 - frames.DEFAULT_WINDOW
    assert log.writable_times == 0
    pair.acknowledge = True
    pair.server.acknowledge_received_data(frames.DEFAULT_WINDOW, stream.stream_id)
    pair.exchange()
    assert len(pair.received[stream.stream_id]) == 200_005
    assert log.writable_times == 1
    assert not stream.congested


def test_a_full_socket_holds_back_too() -> None:
    pair = Pair()
    stream, _ = pair.open()
    pair.client.set_writable(False)
    stream.send(b"abc")
    stream.end()
    pair.exchange()
    assert pair.received[stream.stream_id] == b""
    pair.client.set_writable(True)
    pair.exchange()
    assert pair.received[stream.stream_id] == frame_message(b"abc")
    assert isinstance(pair.events[-1], h2.events.StreamEnded)


def test_settings_change_open_windows() -> None:
    pair = Pair()
    stream, _ = pair.open()
    pair.exchange()
    pair.server.update_settings({4: 1000, 5: 32_768})
    pair.exchange()
    assert stream.send_window == 1000
    assert pair.client.max_frame_size == 32_768
    stream.send(bytes(5000))
    pair.exchange()
    assert len(pair.received[stream.stream_id]) == 5005


def test_pings_are_answered_and_asked() -> None:
    pair = Pair()
    pair.server.ping(b"12345678")
    pair.client.ping()
    pair.exchange()
    kinds = {type(event) for event in pair.events}
    assert {h2.events.PingAckReceived, h2.events.PingReceived} <= kinds


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(":status", "200"), ("grpc-status", "9"), ("grpc-message", "a%20b%25")], (9, "a b%")),
        ([(":status", "503")], (Code.UNKNOWN, "no gRPC status; HTTP status 503")),
        (
            [(":status", "200"), ("grpc-status", "x")],
            (Code.UNKNOWN, "no gRPC status; HTTP status 200"),
        ),
    ],
)
def test_refusals_without_messages(fields: list[tuple[str, str]], status: tuple[int, str]) -> None:
    pair = Pair()
    stream, log = pair.open()
    pair.exchange()
    pair.server.send_headers(stream.stream_id, fields, end_stream=True)
    pair.exchange()
    assert log.status == status
    assert log.accepted_times == 0


def test_another_http_status_with_a_body() -> None:
    pair = Pair()
    stream, log = pair.open()
    pair.exchange()
    pair.server.send_headers(stream.stream_id, [(":status", "502")])
    pair.exchange()
    assert log.status == (Code.UNAVAILABLE, "unexpected HTTP status 502")
    assert isinstance(pair.events[-1], h2.events.StreamReset)


@pytest.mark.parametrize(
    ("number", "code"),
    [(7, Code.UNAVAILABLE), (8, Code.CANCELLED), (11, Code.RESOURCE_EXHAUSTED), (2, Code.INTERNAL)],
)
def test_resets(number: int, code: Code) -> None:
    pair = Pair()
    stream, log = pair.open()
    pair.exchange()
    pair.server.reset_stream(stream.stream_id, number)
    pair.exchange()
    assert log.status == (code, f"stream reset by the peer ({number})")


def test_cancelling_says_nothing_to_the_receiver() -> None:
    pair = Pair()
    stream, log = pair.open()
    stream.cancel()
    stream.send(b"x")
    pair.exchange()
    assert log.status is None
    assert any(isinstance(event, h2.events.StreamReset) for event in pair.events)


def test_going_away_ends_all_streams() -> None:
    pair = Pair()
    logs = [pair.open()[1] for _ in range(3)]
    pair.exchange()
    pair.server.close_connection(additional_data=b"graceful_stop")
    pair.exchange()
    assert {log.status for log in logs} == {(Code.UNAVAILABLE, "peer is going away: graceful_stop")}
    assert pair.client.closing


def test_a_message_above_the_limit_ends_the_stream() -> None:
    pair = Pair(replace(PeerLimits(), max_message_bytes=100))
    stream, log = pair.open()
    pair.accept(stream)
    pair.server.send_data(stream.stream_id, frame_message(bytes(101)))
    pair.exchange()
    assert log.status == (Code.RESOURCE_EXHAUSTED, "unacceptable message of 101 bytes")


HEADERS = frames.headers_frame(1, b"\x88", end_stream=False)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frames.frame_header(20_000, frames.DATA, 0, 1), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame_header(0, frames.PUSH_PROMISE, 4, 1), ErrorCode.PROTOCOL_ERROR),
        (frames.frame_header(0, frames.CONTINUATION, 4, 1), ErrorCode.PROTOCOL_ERROR),
        (
            frames.frame_header(1, frames.HEADERS, 0, 1) + b"\x88" + HEADERS,
            ErrorCode.PROTOCOL_ERROR,
        ),
        (frames.frame_header(3, frames.PING, 0, 0) + b"abc", ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame_header(5, frames.SETTINGS, 0, 0) + b"abcde", ErrorCode.FRAME_SIZE_ERROR),
        (frames.settings_frame({4: 2**31}), ErrorCode.FLOW_CONTROL_ERROR),
        (frames.window_update_frame(0, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
        (
            frames.headers_frame(1, b"\xff\xff\xff\xff", end_stream=False),
            ErrorCode.COMPRESSION_ERROR,
        ),
        (
            frames.frame_header(2, frames.DATA, frames.PADDED, 1) + b"\x09a",
            ErrorCode.PROTOCOL_ERROR,
        ),
    ],
)
def test_broken_rules_end_the_connection(data: bytes, code: ErrorCode) -> None:
    pair = Pair()
    _, log = pair.open()
    pair.client.take_output()
    pair.client.receive(data)
    assert pair.client.closing
    assert log.status is not None
    assert log.status[0] == Code.UNAVAILABLE
    goaway = b"".join(pair.client.take_output())
    assert goaway[3] == frames.GOAWAY
    assert goaway[13:17] == code.to_bytes(4, "big")


def test_an_endless_header_block_is_cut() -> None:
    pair = Pair()
    pair.open()
    pair.client.receive(frames.frame_header(1, frames.HEADERS, 0, 1) + b"\x88")
    piece = frames.frame_header(16_000, frames.CONTINUATION, 0, 1) + bytes(16_000)
    for _ in range(3):
        pair.client.receive(piece)
    assert pair.client.closing


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_junk_never_raises(pieces: list[bytes]) -> None:
    pair = Pair()
    pair.open()
    pair.exchange()
    for piece in pieces:
        pair.client.receive(piece)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10), st.integers(0, 255), st.integers(0, 3), st.binary(max_size=40)
        ),
        max_size=20,
    )
)
def test_frames_of_every_kind_never_raise(shapes: list[tuple[int, int, int, bytes]]) -> None:
    pair = Pair()
    _, log = pair.open()
    pair.exchange()
    for kind, flags, stream_id, payload in shapes:
        pair.client.receive(frames.frame_header(len(payload), kind, flags, stream_id) + payload)
    if pair.client.closing:
        assert log.status is not None
