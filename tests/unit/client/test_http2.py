"""The client's HTTP/2 connection against `h2`, in memory."""

from __future__ import annotations

from typing import Any, TypeVar

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.client.wire import http2
from pykvd.client.wire.http2 import Call, ClientConnection, timeout_text
from pykvd.status import Code
from pykvd.transport import frames
from pykvd.transport.grpc import frame_message

PATH = "/etcdserverpb.KV/Put"
E = TypeVar("E", bound=h2.events.Event)


class Pair:
    """A client's connection and an `h2` server, whose bytes are exchanged by `pump`."""

    def __init__(self, greet: bool = True) -> None:
        self.client = ClientConnection("server:1")
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.server = h2.connection.H2Connection(config)
        self.events: list[h2.events.Event] = []
        if greet:
            self.server.initiate_connection()
            self.pump()

    def pump(self, chunk: int = 1 << 30) -> None:
        """Until neither has anything to say; the server's bytes arrive in chunks of this size."""
        while True:
            up = b"".join(self.client.take_output())
            if up:
                self.events += self.server.receive_data(up)
            down = self.server.data_to_send()
            for start in range(0, len(down), chunk):
                self.client.receive(down[start : start + chunk])
            if not up and not down:
                return

    def start(self, message: bytes = b"request") -> Call:
        """A unary call that the server has received."""
        call = self.client.start(PATH, (("token", "t"),), "1000m")
        self.client.send(call, message, last=True)
        self.pump()
        return call

    def answer(self, call: Call, *messages: bytes, status: str = "0", text: str = "") -> None:
        """Response headers, messages and trailers."""
        fields = [(":status", "200"), ("content-type", "application/grpc")]
        self.server.send_headers(call.stream_id, fields)
        for message in messages:
            self.server.send_data(call.stream_id, frame_message(message))
        trailers = [("grpc-status", status), ("grpc-message", text)]
        self.server.send_headers(call.stream_id, trailers, end_stream=True)

    def received(self, kind: type[E]) -> list[E]:
        """The server's events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


def test_a_call_and_its_answer() -> None:
    pair = Pair()
    call = pair.start(b"hello")
    (request,) = pair.received(h2.events.RequestReceived)
    headers: dict[Any, Any] = dict(request.headers)
    assert headers[":path"] == PATH
    assert headers[":authority"] == "server:1"
    assert headers["te"] == "trailers"
    assert (headers["grpc-timeout"], headers["token"]) == ("1000m", "t")
    (data,) = pair.received(h2.events.DataReceived)
    assert data.data == frame_message(b"hello")
    assert pair.received(h2.events.StreamEnded)
    pair.answer(call, b"reply")
    pair.pump()
    assert (call.code, list(call.messages)) == (0, [b"reply"])
    assert not pair.client.calls


@given(st.integers(1, 40), st.lists(st.binary(max_size=50), max_size=5))
def test_answers_may_arrive_in_any_pieces(chunk: int, messages: list[bytes]) -> None:
    pair = Pair()
    calls = [pair.start(), pair.start()]
    for call in calls:
        pair.answer(call, *messages, status="5", text="not%20here")
    pair.pump(chunk)
    for call in calls:
        assert list(call.messages) == messages
        assert (call.code, call.text) == (Code.NOT_FOUND, "not here")


@given(st.integers(0, 300_000))
def test_large_messages_pass_the_windows(size: int) -> None:
    pair = Pair()
    call = pair.client.start(PATH, (), "")
    pair.client.send(call, b"m" * size, last=True)
    while not pair.received(h2.events.StreamEnded):
        before = len(pair.events)
        pair.pump()
        for event in pair.events[before:]:
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                flow = event.flow_controlled_length
                pair.server.acknowledge_received_data(flow, call.stream_id)
    received = b"".join(event.data for event in pair.received(h2.events.DataReceived))
    assert received == frame_message(b"m" * size)


def test_a_reader_that_does_not_read_stops_the_server() -> None:
    pair = Pair()
    call = pair.start()
    pair.server.send_headers(call.stream_id, [(":status", "200")])
    sent = 0
    piece = frame_message(b"x" * 16_000)
    while pair.server.local_flow_control_window(call.stream_id) >= len(piece):
        pair.server.send_data(call.stream_id, piece)
        pair.pump()
        sent += 1
    assert sent * 16_000 < 3 * http2.STREAM_WINDOW_BYTES
    for _ in range(sent):
        pair.client.take(call)
    pair.pump()
    assert pair.server.local_flow_control_window(call.stream_id) >= len(piece)


def test_calls_the_server_did_not_look_at_are_refused() -> None:
    pair = Pair()
    first, second = pair.start(), pair.start()
    pair.client.receive(frames.goaway_frame(first.stream_id, 0, b"bye"))
    assert (second.code, second.refused) == (Code.UNAVAILABLE, True)
    assert "bye" in pair.client.lost
    assert first.code is None
    pair.answer(first, b"reply")
    pair.pump()
    assert first.code == 0


@pytest.mark.parametrize(
    ("reset", "code", "refused"),
    [
        (frames.ErrorCode.REFUSED_STREAM, Code.UNAVAILABLE, True),
        (frames.ErrorCode.CANCEL, Code.CANCELLED, False),
        (frames.ErrorCode.INTERNAL_ERROR, Code.INTERNAL, False),
        (0x77, Code.INTERNAL, False),
    ],
)
def test_resets(reset: int, code: Code, refused: bool) -> None:
    pair = Pair()
    call = pair.start()
    pair.client.receive(frames.rst_stream_frame(call.stream_id, reset))
    assert (call.code, call.refused) == (code, refused)


def test_a_lost_connection_ends_all_calls_in_doubt() -> None:
    pair = Pair()
    call = pair.start()
    pair.client.close("gone")
    assert (call.code, call.text, call.refused) == (Code.UNAVAILABLE, "gone", False)


def test_cancelling_tells_the_server() -> None:
    pair = Pair()
    call = pair.start()
    pair.client.cancel(call)
    pair.pump()
    assert call.code == Code.CANCELLED
    assert pair.received(h2.events.StreamReset)
    assert not pair.client.calls


def test_pings_are_answered() -> None:
    pair = Pair()
    pair.server.ping(b"12345678")
    pair.pump()
    assert pair.received(h2.events.PingAckReceived)


def test_http_errors_become_codes() -> None:
    pair = Pair()
    call = pair.start()
    pair.server.send_headers(call.stream_id, [(":status", "503")], end_stream=True)
    pair.pump()
    assert call.code == Code.UNAVAILABLE


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frames.ping_frame(b"12345678"),
        frames.frame_header(5, frames.SETTINGS, 0, 0) + b"12345",
        b"\x15\x03\x01\x00\x02\x02\x46\x00\x00\x00",
    ],
)
def test_what_is_not_http2_ends_the_connection(data: bytes) -> None:
    pair = Pair(greet=False)
    pair.client.receive(data)
    assert pair.client.closed
    assert not pair.client.greeted


@given(st.binary(max_size=200))
def test_garbage_never_raises(data: bytes) -> None:
    pair = Pair()
    call = pair.start()
    pair.client.receive(data)
    assert pair.client.closed or call.code is not None or pair.client.calls


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(10.0, "10000m"), (9.999, "10000m"), (0.05, "100m"), (-1.0, "100m"), (1e9, "99999900m")],
)
def test_timeouts_are_rounded_up(seconds: float, text: str) -> None:
    assert timeout_text(seconds) == text
