"""The client's HTTP/2 connection against `h2`, in memory, and against servers that misbehave."""

from __future__ import annotations

from typing import Any, TypeVar

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.status import Code
from pykvd.transport import frames
from pykvd.transport.client_call import Call, timeout_text
from pykvd.transport.client_connection import ClientConnection
from pykvd.transport.frames import ErrorCode
from pykvd.transport.grpc import frame_message
from pykvd.transport.limits import ClientLimits

PATH = "/etcdserverpb.KV/Put"
LIMITS = ClientLimits()
E = TypeVar("E", bound=h2.events.Event)


class Pair:
    """A client's connection and an `h2` server, whose bytes are exchanged by `pump`."""

    def __init__(
        self,
        greet: bool = True,
        limits: ClientLimits = LIMITS,
        settings: dict[int, int] | None = None,
    ) -> None:
        self.client = ClientConnection("server:1", limits=limits)
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.server = h2.connection.H2Connection(config)
        self.events: list[h2.events.Event] = []
        if greet:
            self.server.initiate_connection()
            self.server.update_settings(settings or {})
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
    assert sent * 16_000 < 3 * LIMITS.stream_window_bytes
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


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(":status", "200"), ("grpc-status", "9"), ("grpc-message", "a%20b%25")], (9, "a b%")),
        ([(":status", "503")], (Code.UNAVAILABLE, "no gRPC status; HTTP status 503")),
        ([(":status", "418")], (Code.UNKNOWN, "no gRPC status; HTTP status 418")),
        (
            [(":status", "200"), ("grpc-status", "x")],
            (Code.UNKNOWN, "no gRPC status; HTTP status 200"),
        ),
    ],
)
def test_refusals_without_messages(fields: list[tuple[str, str]], status: tuple[int, str]) -> None:
    pair = Pair()
    call = pair.start()
    pair.server.send_headers(call.stream_id, fields, end_stream=True)
    pair.pump()
    assert (call.code, call.text) == status
    assert not call.accepted


def test_another_http_status_with_a_body() -> None:
    pair = Pair()
    call = pair.start()
    pair.server.send_headers(call.stream_id, [(":status", "502")])
    pair.pump()
    assert (call.code, call.text) == (Code.UNAVAILABLE, "unexpected HTTP status 502")
    assert pair.received(h2.events.StreamReset)


def test_the_caller_hears_that_the_server_accepts_and_answers() -> None:
    pair = Pair()
    call = pair.start()
    heard: list[tuple[bool, int, int | None]] = []
    call.changed = lambda: heard.append((call.accepted, len(call.messages), call.code))
    pair.answer(call, b"one", b"two")
    pair.pump(1)
    assert heard == [(True, 0, None), (True, 1, None), (True, 2, None), (True, 2, 0)]


def test_windows_hold_back_and_the_caller_hears_of_room() -> None:
    pair = Pair(limits=ClientLimits(stream_high_water=50_000, stream_low_water=10_000))
    call = pair.client.start(PATH, (), "")
    heard: list[bool] = []
    call.changed = lambda: heard.append(call.congested)
    pair.client.send(call, bytes(200_000))
    pair.pump()
    assert call.congested
    assert call.queued_bytes == 200_005 - frames.DEFAULT_WINDOW
    pair.server.acknowledge_received_data(frames.DEFAULT_WINDOW, call.stream_id)
    pair.pump()
    assert heard == []
    pair.server.acknowledge_received_data(frames.DEFAULT_WINDOW, call.stream_id)
    pair.pump()
    assert call.queued_bytes == 200_005 - 3 * frames.DEFAULT_WINDOW
    assert heard == [False]


def test_a_full_socket_holds_back_too() -> None:
    pair = Pair()
    pair.client.set_writable(False)
    call = pair.start(b"abc")
    assert not pair.received(h2.events.DataReceived)
    assert call.queued_bytes == len(frame_message(b"abc"))
    pair.client.set_writable(True)
    pair.pump()
    (data,) = pair.received(h2.events.DataReceived)
    assert data.data == frame_message(b"abc")
    assert pair.received(h2.events.StreamEnded)


def test_settings_change_open_windows() -> None:
    pair = Pair()
    call = pair.client.start(PATH, (), "")
    pair.pump()
    pair.server.update_settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1000})
    pair.pump()
    pair.client.send(call, bytes(5000), last=True)
    pair.pump()
    assert sum(len(event.data) for event in pair.received(h2.events.DataReceived)) == 1000


def test_calls_wait_while_the_server_admits_no_more() -> None:
    pair = Pair(settings={frames.SETTINGS_MAX_CONCURRENT_STREAMS: 2})
    first, second, third, fourth = (pair.start(b"%d" % number) for number in range(4))
    assert [call.opened for call in (first, second, third, fourth)] == [True, True, False, False]
    heard: list[bool] = []
    third.changed = lambda: heard.append(third.opened)
    pair.answer(second, b"reply")
    pair.pump()
    assert heard == [True]
    assert not fourth.opened
    pair.client.cancel(first)
    pair.pump()
    bodies = [event.data for event in pair.received(h2.events.DataReceived)]
    assert bodies == [frame_message(b"%d" % number) for number in range(4)]
    for call in (third, fourth):
        pair.answer(call, b"reply")
    pair.pump()
    assert [call.code for call in (third, fourth)] == [0, 0]


def test_a_raised_limit_admits_those_who_wait() -> None:
    pair = Pair(settings={frames.SETTINGS_MAX_CONCURRENT_STREAMS: 0})
    call = pair.start()
    assert not call.opened
    pair.server.update_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1})
    pair.pump()
    assert call.opened
    assert pair.received(h2.events.StreamEnded)


def test_calls_that_wait_can_be_cancelled() -> None:
    pair = Pair(settings={frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1})
    first, second, third = pair.start(), pair.start(), pair.start()
    pair.client.cancel(second)
    assert (second.code, second.refused) == (Code.CANCELLED, True)
    pair.answer(first)
    pair.pump()
    assert third.opened
    assert len(pair.received(h2.events.RequestReceived)) == 2


@pytest.mark.parametrize("away", [True, False])
def test_calls_that_wait_are_refused_when_the_server_goes_away(away: bool) -> None:
    pair = Pair(settings={frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1})
    first, second = pair.start(), pair.start()
    if away:
        pair.client.receive(frames.goaway_frame(first.stream_id, 0))
    else:
        pair.client.close("gone")
    assert (second.code, second.refused) == (Code.UNAVAILABLE, True)
    assert not first.refused


def test_a_message_above_the_limit_ends_the_call() -> None:
    pair = Pair(limits=ClientLimits(max_message_bytes=100))
    call = pair.start()
    pair.server.send_headers(call.stream_id, [(":status", "200")])
    pair.server.send_data(call.stream_id, frame_message(bytes(101)))
    pair.pump()
    assert call.code == Code.RESOURCE_EXHAUSTED
    assert call.text == "unacceptable message of 101 bytes"


def test_callers_may_end_other_calls_when_they_hear_of_an_end() -> None:
    pair = Pair()
    first, second, third = pair.start(), pair.start(), pair.start()
    first.changed = lambda: pair.client.cancel(second)
    third.changed = lambda: pair.client.terminate(ErrorCode.NO_ERROR, "", "again")
    pair.client.close("gone")
    assert [call.code for call in (first, second, third)] == [
        Code.UNAVAILABLE,
        Code.CANCELLED,
        Code.UNAVAILABLE,
    ]


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
    call = pair.start()
    pair.client.receive(data)
    assert pair.client.closed
    assert call.code == Code.UNAVAILABLE
    goaway = b"".join(pair.client.take_output())
    assert goaway[3] == frames.GOAWAY
    assert goaway[13:17] == code.to_bytes(4, "big")


def test_an_endless_header_block_is_cut() -> None:
    pair = Pair()
    pair.start()
    pair.client.receive(frames.frame_header(1, frames.HEADERS, 0, 1) + b"\x88")
    piece = frames.frame_header(16_000, frames.CONTINUATION, 0, 1) + bytes(16_000)
    for _ in range(5):
        pair.client.receive(piece)
    assert pair.client.closed


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
    call = pair.start()
    for kind, flags, stream_id, payload in shapes:
        pair.client.receive(frames.frame_header(len(payload), kind, flags, stream_id) + payload)
    assert call.code is not None or not pair.client.closed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(10.0, "10000m"), (9.999, "10000m"), (0.05, "100m"), (-1.0, "100m"), (1e9, "99999900m")],
)
def test_timeouts_are_rounded_up(seconds: float, text: str) -> None:
    assert timeout_text(seconds) == text
