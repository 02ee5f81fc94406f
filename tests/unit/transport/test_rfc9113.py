"""RFC 9113, sentence by sentence.

What a server must accept, refuse and answer. Sections in the docstrings.
"""

import pytest

from pykvd.transport import frames, grpc
from pykvd.transport.frames import ErrorCode
from pykvd.transport.limits import Limits
from tests.unit.transport.harness import CHAT, LATER, Peer, data_frame, raw_frame, request_headers

OVERFLOW = frames.MAX_WINDOW


def connection_error(peer: Peer) -> int | None:
    goaway = peer.goaway()
    return None if goaway is None else goaway[1]


def test_server_preface_is_a_settings_frame() -> None:
    """3.4: the server's first frame is SETTINGS; the client's SETTINGS are acknowledged."""
    peer = Peer(Limits(max_concurrent_streams=77), start=False)
    sent = peer.send(frames.CLIENT_PREFACE, frames.settings_frame({}))
    assert (sent[0].kind, sent[0].flags) == (frames.SETTINGS, 0)
    settings = dict(frames.iter_settings(sent[0].payload))
    assert settings[frames.SETTINGS_MAX_CONCURRENT_STREAMS] == 77
    assert (sent[-1].kind, sent[-1].flags) == (frames.SETTINGS, frames.ACK)


@pytest.mark.parametrize(
    "opening",
    [
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        frames.CLIENT_PREFACE + frames.ping_frame(bytes(8)),
        frames.CLIENT_PREFACE + frames.SETTINGS_ACK,
    ],
)
def test_bad_preface_is_a_protocol_error(opening: bytes) -> None:
    """3.4: an invalid preface is a connection error of type PROTOCOL_ERROR."""
    peer = Peer(start=False)
    peer.send(opening)
    assert connection_error(peer) == ErrorCode.PROTOCOL_ERROR


def test_frame_above_max_frame_size() -> None:
    """4.2: FRAME_SIZE_ERROR for a frame that exceeds SETTINGS_MAX_FRAME_SIZE, at its header."""
    peer = Peer()
    peer.send(frames.frame_header(16_385, frames.DATA, 0, 1))
    assert connection_error(peer) == ErrorCode.FRAME_SIZE_ERROR


def test_reserved_bit_is_ignored() -> None:
    """4.1: the reserved bit before the stream identifier must be ignored."""
    peer = Peer()
    stream_id, head = peer.start_call()
    body = data_frame(stream_id | 1 << 31, grpc.frame_message(b"x"), end_stream=True)
    peer.send(head, body)
    assert peer.status(stream_id) == (0, "")


def test_undecodable_block_is_a_compression_error() -> None:
    """4.3: a decoding error of a field block is a connection error of type COMPRESSION_ERROR."""
    peer = Peer()
    peer.send(frames.headers_frame(1, b"\xff\xff\xff\xff\xff\xff\xff", end_stream=True))
    assert connection_error(peer) == ErrorCode.COMPRESSION_ERROR


@pytest.mark.parametrize(
    "intruder",
    [
        frames.ping_frame(bytes(8)),
        raw_frame(frames.CONTINUATION, frames.END_HEADERS, 3),
        raw_frame(frames.DATA, 0, 1, b"x"),
        raw_frame(0x77, 0, 1, b"x"),
    ],
)
def test_field_block_must_be_contiguous(intruder: bytes) -> None:
    """4.3, 6.10: nothing may come between the frames of one field block."""
    peer = Peer()
    peer.send(raw_frame(frames.HEADERS, 0, 1, b"\x83"), intruder)
    assert connection_error(peer) == ErrorCode.PROTOCOL_ERROR


def test_field_block_in_pieces() -> None:
    """4.3: a field block may be split anywhere over HEADERS and CONTINUATION frames."""
    peer = Peer()
    block = peer.encoder.encode(request_headers())
    peer.send(
        raw_frame(frames.HEADERS, 0, 1, block[:5]),
        raw_frame(frames.CONTINUATION, 0, 1, block[5:6]),
        raw_frame(frames.CONTINUATION, 0, 1),
        raw_frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[6:]),
        data_frame(1, grpc.frame_message(b"x"), end_stream=True),
    )
    assert peer.status(1) == (0, "")


@pytest.mark.parametrize(
    "frame",
    [
        data_frame(5, b"x"),
        data_frame(5, b""),
        frames.rst_stream_frame(5, 0),
        frames.window_update_frame(5, 1),
        data_frame(2, b"x"),
        frames.rst_stream_frame(2, 0),
    ],
    ids=["data", "empty data", "rst", "window", "even data", "even rst"],
)
def test_frames_on_idle_streams(frame: bytes) -> None:
    """5.1: anything but HEADERS and PRIORITY on an idle stream is a connection PROTOCOL_ERROR."""
    peer = Peer()
    peer.call()
    peer.send(frame)
    assert connection_error(peer) == ErrorCode.PROTOCOL_ERROR


def test_data_after_end_stream() -> None:
    """5.1: half-closed (remote): a stream error of type STREAM_CLOSED."""
    peer = Peer()
    stream_id = peer.call(LATER)
    peer.send(data_frame(stream_id, b"more"))
    assert peer.resets() == [(stream_id, ErrorCode.STREAM_CLOSED)]
    assert peer.calls[0].done


def test_headers_after_end_stream() -> None:
    """5.1: half-closed (remote): a stream error of type STREAM_CLOSED."""
    peer = Peer()
    stream_id = peer.call(LATER)
    peer.send(peer.headers(stream_id, end_stream=True))
    assert peer.resets() == [(stream_id, ErrorCode.STREAM_CLOSED)]


def test_headers_on_a_closed_stream() -> None:
    """5.1: closed: a connection error of type STREAM_CLOSED."""
    peer = Peer()
    stream_id = peer.call()
    peer.send(peer.headers(stream_id, end_stream=True))
    assert connection_error(peer) == ErrorCode.STREAM_CLOSED


def test_window_update_and_reset_on_a_closed_stream_are_ignored() -> None:
    """5.1: they may be under way when the stream ends."""
    peer = Peer()
    stream_id = peer.call()
    peer.send(frames.window_update_frame(stream_id, 1), frames.rst_stream_frame(stream_id, 8))
    assert peer.goaway() is None


def test_even_stream_id() -> None:
    """5.1.1: client streams are odd; else a connection error of type PROTOCOL_ERROR."""
    peer = Peer()
    peer.send(peer.headers(2))
    assert connection_error(peer) == ErrorCode.PROTOCOL_ERROR


def test_stream_ids_only_grow() -> None:
    """5.1.1: an unexpected stream identifier is a connection error; skipped ids count as closed."""
    peer = Peer()
    peer.send(peer.headers(7))
    peer.send(peer.headers(5))
    assert connection_error(peer) is not None


def test_headers_on_stream_0() -> None:
    """6.2: a connection error of type PROTOCOL_ERROR."""
    for flags in (frames.END_HEADERS, 0, frames.END_HEADERS | frames.PADDED):
        peer = Peer()
        peer.send(raw_frame(frames.HEADERS, flags, 0, b"\x00"))
        assert connection_error(peer) == ErrorCode.PROTOCOL_ERROR


def test_data_on_stream_0() -> None:
    """6.1: a connection error of type PROTOCOL_ERROR."""
    peer = Peer()
    peer.send(data_frame(0, b"x"))
    assert connection_error(peer) == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("kind", [frames.DATA, frames.HEADERS])
def test_padding_longer_than_the_frame(kind: int) -> None:
    """6.1, 6.2: a connection error of type PROTOCOL_ERROR."""
    peer = Peer()
    stream_id, head = peer.start_call(CHAT)
    peer.send(
        head, raw_frame(kind, frames.PADDED | frames.END_HEADERS, stream_id, b"\x09" + bytes(8))
    )
    assert connection_error(peer) == ErrorCode.PROTOCOL_ERROR


def test_padded_frame_without_a_pad_length() -> None:
    """4.2: a frame too small for its mandatory fields is a FRAME_SIZE_ERROR."""
    peer = Peer()
    stream_id, head = peer.start_call(CHAT)
    peer.send(head, raw_frame(frames.DATA, frames.PADDED, stream_id))
    assert connection_error(peer) == ErrorCode.FRAME_SIZE_ERROR


def test_headers_with_padding_and_priority() -> None:
    """6.2: both are stripped from the field block."""
    peer = Peer()
    block = peer.encoder.encode(request_headers())
    flags = frames.PADDED | frames.PRIORITY_FLAG | frames.END_HEADERS
    peer.send(
        raw_frame(frames.HEADERS, flags, 1, b"\x07" + bytes(5) + block + bytes(7)),
        data_frame(1, grpc.frame_message(b""), end_stream=True),
    )
    assert peer.status(1) == (0, "")


def test_padding_counts_for_flow_control() -> None:
    """6.1: the entire DATA payload is included in flow control."""
    peer = Peer(Limits(stream_window_bytes=65_535))
    stream_id, head = peer.start_call(CHAT)
    peer.send(head)
    peer.recorders[0].stream.pause_reading()
    padded = raw_frame(frames.DATA, frames.PADDED, stream_id, b"\xff" + bytes(255))
    peer.send(padded * 256)
    assert peer.resets() == [(stream_id, ErrorCode.FLOW_CONTROL_ERROR)]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (raw_frame(frames.PRIORITY, 0, 1, bytes(4)), ErrorCode.FRAME_SIZE_ERROR),
        (raw_frame(frames.PRIORITY, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
        (raw_frame(frames.RST_STREAM, 0, 1, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
        (raw_frame(frames.RST_STREAM, 0, 0, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (raw_frame(frames.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
        (raw_frame(frames.SETTINGS, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
        (raw_frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.settings_frame({frames.SETTINGS_ENABLE_PUSH: 2}), ErrorCode.PROTOCOL_ERROR),
        (
            frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 31}),
            ErrorCode.FLOW_CONTROL_ERROR,
        ),
        (frames.settings_frame({frames.SETTINGS_MAX_FRAME_SIZE: 16_383}), ErrorCode.PROTOCOL_ERROR),
        (
            frames.settings_frame({frames.SETTINGS_MAX_FRAME_SIZE: 1 << 24}),
            ErrorCode.PROTOCOL_ERROR,
        ),
        (raw_frame(frames.PUSH_PROMISE, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (raw_frame(frames.PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
        (raw_frame(frames.PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (raw_frame(frames.GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (raw_frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.window_update_frame(0, 0), ErrorCode.PROTOCOL_ERROR),
        (frames.window_update_frame(0, OVERFLOW), ErrorCode.FLOW_CONTROL_ERROR),
        (raw_frame(frames.CONTINUATION, frames.END_HEADERS, 1), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_malformed_frames_are_connection_errors(frame: bytes, code: ErrorCode) -> None:
    """6.3 to 6.10: lengths, stream ids and values of each type."""
    peer = Peer()
    peer.send(frame)
    assert connection_error(peer) == code


def test_unknown_settings_and_frames_are_ignored() -> None:
    """5.5, 6.5.2: unknown types and identifiers must be ignored."""
    peer = Peer()
    sent = peer.send(frames.settings_frame({0x99: 12345}), raw_frame(0x99, 0xFF, 9, b"whatever"))
    assert [(frame.kind, frame.flags) for frame in sent] == [(frames.SETTINGS, frames.ACK)]


def test_ping_is_answered_with_its_payload() -> None:
    """6.7: a PING without ACK is answered with ACK and the same eight octets."""
    peer = Peer()
    (pong,) = peer.send(frames.ping_frame(b"abcdefgh"))
    assert (pong.kind, pong.flags, pong.payload) == (frames.PING, frames.ACK, b"abcdefgh")


@pytest.mark.parametrize(
    ("increment", "code"),
    [(0, ErrorCode.PROTOCOL_ERROR), (OVERFLOW, ErrorCode.FLOW_CONTROL_ERROR)],
)
def test_bad_window_update_of_a_stream_is_a_stream_error(increment: int, code: ErrorCode) -> None:
    """6.9, 6.9.1."""
    peer = Peer()
    stream_id = peer.call(LATER)
    peer.send(frames.window_update_frame(stream_id, increment))
    assert peer.resets() == [(stream_id, code)]
    assert peer.goaway() is None


def test_initial_window_change_may_make_windows_negative() -> None:
    """6.9.2: the sender then waits until updates make the window positive again."""
    peer = Peer(unary={LATER: lambda _, __: bytes(999)})
    peer.send(frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 600}))
    stream_id = peer.call(LATER)
    peer.send(frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 100}))
    assert len(peer.body(stream_id)) == 600
    peer.send(frames.window_update_frame(stream_id, 500))
    assert len(peer.body(stream_id)) == 600
    peer.send(frames.window_update_frame(stream_id, 1))
    assert len(peer.body(stream_id)) == 601
    peer.send(frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1000}))
    assert len(peer.body(stream_id)) == 1004
    assert peer.status(stream_id) == (0, "")


def test_initial_window_change_that_overflows_a_stream() -> None:
    """6.9.2: a connection error of type FLOW_CONTROL_ERROR."""
    peer = Peer()
    stream_id = peer.call(LATER)
    peer.send(frames.window_update_frame(stream_id, OVERFLOW - 65_535))
    peer.send(frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 65_536}))
    assert connection_error(peer) == ErrorCode.FLOW_CONTROL_ERROR


def test_receive_windows_are_returned_in_batches() -> None:
    """6.9: WINDOW_UPDATE for the stream and for the connection, each when half of it is used."""
    limits = Limits(stream_window_bytes=100_000, connection_window_bytes=200_000)
    peer = Peer(limits)
    stream_id, head = peer.start_call(CHAT)
    peer.send(head)
    for _ in range(40):
        peer.send(data_frame(stream_id, grpc.frame_message(bytes(9_995))))
    returned = {
        target: [frames.read_uint32(f.payload, 0) for f in peer.of(target, frames.WINDOW_UPDATE)]
        for target in (0, stream_id)
    }
    assert sum(returned[stream_id]) == 400_000
    assert len(returned[stream_id]) == 8
    assert 300_000 <= sum(returned[0]) <= 400_000
    assert len(returned[0]) <= 4


def test_trailers_end_the_request() -> None:
    """8.1: a field block with END_STREAM after the DATA frames."""
    peer = Peer()
    stream_id, head = peer.start_call()
    peer.send(head, data_frame(stream_id, grpc.frame_message(b"x")))
    peer.send(peer.headers(stream_id, [("checksum", "1")], end_stream=True))
    assert peer.status(stream_id) == (0, "")


@pytest.mark.parametrize(
    ("fields", "end_stream"), [([("checksum", "1")], False), ([(":path", "/x")], True)]
)
def test_malformed_trailers(fields: list[tuple[str, str]], end_stream: bool) -> None:
    """8.1: trailers must carry END_STREAM and no pseudo-header fields."""
    peer = Peer()
    stream_id, head = peer.start_call(CHAT)
    peer.send(head, peer.headers(stream_id, fields, end_stream=end_stream))
    assert peer.resets() == [(stream_id, ErrorCode.PROTOCOL_ERROR)]
    assert peer.recorders[0].events == ["closed"]


BASE = request_headers()


@pytest.mark.parametrize(
    "fields",
    [
        [*BASE, ("Upper", "x")],
        [*BASE, ("", "x")],
        [*BASE, ("sp ace", "x")],
        [*BASE, ("connection", "close")],
        [*BASE, ("transfer-encoding", "chunked")],
        [*BASE, ("upgrade", "h2c")],
        [*BASE, ("x", "line\r\nbreak")],
        [*BASE, ("x", "nul\x00")],
        [*BASE, ("x", " padded")],
        [*BASE, ("te", "gzip")],
        [*BASE, (":path", "/again")],
        [*BASE, (":method", "POST")],
        [(":method", "POST"), *BASE],
        [*BASE[:3], (":status", "200"), *BASE[3:]],
        [*BASE[:3], (":unknown", "x"), *BASE[3:]],
        [("x", "y"), *BASE],
        BASE[1:],
        [BASE[0], *BASE[2:]],
        [*BASE[:2], *BASE[3:]],
        [*BASE[:2], (":path", ""), *BASE[3:]],
        [],
    ],
)
def test_malformed_requests_are_stream_errors(fields: list[tuple[str, str]]) -> None:
    """8.1.1, 8.2, 8.3: malformed requests are stream errors of type PROTOCOL_ERROR."""
    peer = Peer()
    block = peer.encoder.encode(fields)
    peer.send(frames.headers_frame(1, block, end_stream=False))
    assert peer.resets() == [(1, ErrorCode.PROTOCOL_ERROR)]
    peer.next_stream_id = 3
    assert peer.status(peer.call()) == (0, "")


def test_graceful_shutdown_in_two_steps() -> None:
    """6.8: GOAWAY with the largest id, then, a round trip later, with the last one served."""
    peer = Peer()
    first = peer.call(LATER)
    peer.connection.drain(peer.now)
    goaway, ping = peer.collect()
    assert goaway.kind == frames.GOAWAY
    assert peer.goaway() == (frames.MAX_STREAM_ID, 0, b"graceful_stop")
    racing = peer.call(LATER)
    peer.send(frames.ping_frame(ping.payload, ack=True))
    assert peer.goaway() == (racing, 0, b"graceful_stop")
    late = peer.call(LATER)
    assert len(peer.calls) == 2
    assert not peer.connection.closing
    for call in peer.calls:
        call.reply(b"done")
    peer.collect()
    assert peer.status(first) == peer.status(racing) == (0, "")
    assert not peer.of(late)
    assert peer.connection.closing


def test_drain_does_not_wait_for_a_silent_client() -> None:
    """6.8: the second GOAWAY comes after a time even without the answer to the ping."""
    peer = Peer(Limits(drain_ping_timeout=1))
    peer.connection.drain(peer.now)
    peer.collect()
    peer.advance(2)
    assert peer.connection.closing
