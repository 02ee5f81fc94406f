"""Hostile clients: each case is bounded and ends with the protocol's own error."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.transport import frames, grpc
from pykvd.transport.frames import ErrorCode
from pykvd.transport.limits import Limits
from tests.unit.transport.harness import CHAT, LATER, Peer, data_frame, raw_frame, request_headers

CALM = ErrorCode.ENHANCE_YOUR_CALM


def assert_ended(peer: Peer, code: ErrorCode) -> None:
    goaway = peer.goaway()
    assert goaway is not None
    assert goaway[1] == code
    assert peer.connection.closing
    assert not peer.connection.streams
    # Nothing is handled any more.
    before = len(peer.output)
    peer.send(frames.ping_frame(b"12345678"))
    assert len(peer.output) == before


# Floods.


def test_rapid_reset() -> None:
    """CVE-2023-44487: open and reset, again and again."""
    peer = Peer(Limits(reset_burst=100, resets_per_second=1))
    for _ in range(101):
        stream_id, head = peer.start_call(LATER)
        peer.send(head, frames.rst_stream_frame(stream_id, ErrorCode.CANCEL))
    assert_ended(peer, CALM)


def test_resets_in_moderation_are_allowed() -> None:
    peer = Peer(Limits(reset_burst=100, resets_per_second=10))
    for _ in range(500):
        stream_id, head = peer.start_call(LATER)
        peer.send(head, frames.rst_stream_frame(stream_id, ErrorCode.CANCEL))
        peer.now += 0.1
    assert peer.goaway() is None


def test_made_you_reset() -> None:
    """CVE-2025-8671: the client breaks a rule of each stream so that we reset it."""
    peer = Peer(Limits(reset_burst=100, resets_per_second=1))
    for _ in range(101):
        stream_id, head = peer.start_call(LATER)
        peer.send(head, frames.window_update_frame(stream_id, 0))
    assert_ended(peer, CALM)


@pytest.mark.parametrize(
    "frame",
    [
        frames.settings_frame({}),
        frames.SETTINGS_ACK,
        raw_frame(frames.PRIORITY, 0, 1, bytes(5)),
        raw_frame(0xBE, 0, 0, b"grease"),
        frames.window_update_frame(0, 1),
        frames.window_update_frame(1, 1),
        frames.ping_frame(bytes(8), ack=True),
        raw_frame(frames.DATA, 0, 1),
        raw_frame(frames.DATA, frames.PADDED, 1, b"\x04" + bytes(4)),
        frames.goaway_frame(0, 0),
    ],
    ids=[
        "settings",
        "settings ack",
        "priority",
        "unknown type",
        "window update",
        "stream window update",
        "ping ack",
        "empty data",
        "padding only",
        "goaway",
    ],
)
def test_flood_of_frames_without_work(frame: bytes) -> None:
    peer = Peer(Limits(max_idle_frames=1000))
    _, head = peer.start_call(CHAT)
    peer.send(head)
    peer.send(frame * 1000)
    assert peer.goaway() is None
    peer.send(frame)
    assert_ended(peer, CALM)


def test_work_refills_the_budget_of_idle_frames() -> None:
    peer = Peer(Limits(max_idle_frames=100))
    for _ in range(50):
        peer.send(frames.window_update_frame(0, 1) * 90)
        peer.call()
    assert peer.goaway() is None


def test_resets_of_unknown_streams_are_a_flood_too() -> None:
    peer = Peer(Limits(max_idle_frames=100))
    peer.call()
    peer.send(frames.rst_stream_frame(1, 0) * 101)
    assert_ended(peer, CALM)


def test_data_on_closed_streams_is_a_flood_too() -> None:
    peer = Peer(Limits(max_idle_frames=100, reset_burst=10, resets_per_second=0))
    stream_id = peer.call()
    peer.send(data_frame(stream_id, b"x") * 101)
    assert_ended(peer, CALM)


def test_pings_too_often_while_a_stream_is_open() -> None:
    peer = Peer(Limits(keepalive_min_time=5))
    peer.call(LATER)
    for _ in range(3):
        peer.send(frames.ping_frame(bytes(8)))
        peer.now += 1
    assert peer.goaway() is None
    peer.send(frames.ping_frame(bytes(8)))
    assert_ended(peer, CALM)
    assert peer.goaway() == (1, CALM, b"too_many_pings")


def test_pings_at_the_allowed_pace() -> None:
    peer = Peer(Limits(keepalive_min_time=5))
    peer.call(LATER)
    for _ in range(20):
        peer.send(frames.ping_frame(bytes(8)))
        peer.now += 5
    assert peer.goaway() is None


def test_pings_without_a_stream_are_allowed_every_two_hours() -> None:
    peer = Peer()
    for _ in range(3):
        peer.send(frames.ping_frame(bytes(8)))
        peer.now += 60
    assert peer.goaway() is None
    peer.send(frames.ping_frame(bytes(8)))
    assert_ended(peer, CALM)


def test_data_sent_forgives_pings() -> None:
    peer = Peer()
    for _ in range(20):
        peer.send(frames.ping_frame(bytes(8)))
        peer.call()
    assert peer.goaway() is None


def test_continuation_flood() -> None:
    """CVE-2024-27316: CONTINUATION frames without end, here empty ones."""
    peer = Peer(Limits(max_continuations=16))
    peer.send(raw_frame(frames.HEADERS, 0, 1, b"\x83"))
    peer.send(raw_frame(frames.CONTINUATION, 0, 1) * 16)
    assert peer.goaway() is None
    peer.send(raw_frame(frames.CONTINUATION, 0, 1))
    assert_ended(peer, CALM)


def test_header_block_too_large_compressed() -> None:
    peer = Peer(Limits(max_header_block_bytes=20_000))
    peer.send(raw_frame(frames.HEADERS, 0, 1, bytes(16_384)))
    peer.send(raw_frame(frames.CONTINUATION, 0, 1, bytes(10_000)))
    assert_ended(peer, CALM)


def test_header_list_too_large_is_http_431_and_the_connection_goes_on() -> None:
    peer = Peer(Limits(max_header_list_bytes=4000))
    peer.send(peer.headers(1, request_headers(extra=[("token", "x" * 4000)])))
    peer.next_stream_id = 3
    assert peer.fields(peer.of(1)[0])[":status"] == "431"
    assert peer.status(peer.call(extra=[("late", "entry")])) == (0, "")


def test_hpack_bomb() -> None:
    peer = Peer()
    peer.send(peer.headers(1, request_headers(extra=[("x", "y" * 3900)])))
    bomb = peer.encoder.encode([("x", "y" * 3900)]) * 16_000
    peer.send(frames.headers_frame(3, bomb, end_stream=True))
    assert peer.fields(peer.of(3)[0])[":status"] == "431"


def test_streams_beyond_the_limit_are_refused() -> None:
    peer = Peer(Limits(max_concurrent_streams=3))
    for _ in range(3):
        peer.call(LATER)
    extra = peer.call(LATER)
    assert peer.resets() == [(extra, ErrorCode.REFUSED_STREAM)]
    assert len(peer.connection.streams) == 3
    peer.calls[0].reply(b"")
    peer.collect()
    peer.call(LATER)
    assert len(peer.calls) == 4


def test_caches_of_header_blocks_are_bounded() -> None:
    peer = Peer()
    for number in range(2000):
        fields = request_headers(LATER, [("x", str(number))])
        literal = b"".join(
            grpc.literal_field(name.encode(), value.encode()) for name, value in fields
        )
        peer.send(frames.headers_frame(1 + 2 * number, literal, end_stream=False))
    requests = peer.connection._requests
    assert len(requests._blocks) <= 64
    assert len(requests._lists) <= 64


def test_remembered_cut_streams_are_bounded() -> None:
    peer = Peer(Limits(reset_burst=10_000))
    for _ in range(3000):
        peer.send(peer.start_call("/test.Test/Nope")[1])
    assert len(peer.connection._cut_streams) <= 1024


# Time.


def test_slow_preface_is_cut() -> None:
    peer = Peer(Limits(preface_timeout=10), start=False)
    peer.send(frames.CLIENT_PREFACE[:20])
    peer.advance(9)
    assert not peer.connection.closing
    peer.advance(2)
    assert peer.connection.closing


def test_half_open_peer_is_pinged_and_cut() -> None:
    peer = Peer(Limits(keepalive_interval=100, keepalive_timeout=20))
    ended: list[int] = []
    peer.call(LATER)
    peer.calls[0].on_done = lambda: ended.append(1)
    assert not peer.advance(99)
    (ping,) = peer.advance(2)
    assert ping.kind == frames.PING
    peer.advance(19)
    assert not peer.connection.closing
    peer.advance(2)
    assert peer.connection.closing
    assert ended == [1]


def test_any_sign_of_life_answers_the_keepalive_ping() -> None:
    peer = Peer(Limits(keepalive_interval=100, keepalive_timeout=20))
    (ping,) = peer.advance(101)
    peer.now += 5
    peer.send(frames.ping_frame(ping.payload, ack=True))
    peer.advance(30)
    assert not peer.connection.closing


# Garbage.


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_garbage_before_the_preface_ends_the_connection_or_waits(data: bytes) -> None:
    peer = Peer(start=False)
    peer.send(data)
    assert peer.connection.closing or frames.CLIENT_PREFACE.startswith(data)


@settings(deadline=None)
@given(st.binary(max_size=600), st.integers(1, 50))
def test_garbage_after_the_preface_never_raises(data: bytes, chunk: int) -> None:
    peer = Peer()
    peer.call(LATER)
    for at in range(0, len(data), chunk):
        peer.send(data[at : at + chunk])
    if peer.connection.closing:
        assert peer.goaway() is not None
        assert all(call.done for call in peer.calls)


frame_soup = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.integers(0, 255),
        st.integers(0, 7),
        st.binary(max_size=24),
    ),
    max_size=40,
)


@settings(max_examples=400, deadline=None)
@given(frame_soup)
def test_well_framed_nonsense_never_raises(
    soup: list[tuple[int, int, int, bytes]],
) -> None:
    peer = Peer()
    peer.send(peer.start_call(LATER)[1], peer.start_call(CHAT)[1])
    for kind, flags, stream_id, payload in soup:
        peer.send(raw_frame(kind, flags, stream_id, payload))
    connection = peer.connection
    assert connection.buffered_request_bytes >= 0
    assert connection.queued_bytes >= 0
    if connection.closing:
        assert peer.goaway() is not None
        assert not connection.streams
        assert connection.buffered_request_bytes == 0
        assert all(recorder.events[-1] == "closed" for recorder in peer.recorders)
