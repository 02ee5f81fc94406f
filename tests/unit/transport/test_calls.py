"""Calls over an in-memory connection: unary, streaming, deadlines, cancellation, limits, status."""

import gzip
import logging

import pytest

from pykvd.status import Code, RpcError
from pykvd.transport import frames, grpc
from pykvd.transport.limits import Limits
from pykvd.transport.service import Call, Stream
from tests.unit.transport.harness import (
    CHAT,
    ECHO,
    LATER,
    Peer,
    Recorder,
    data_frame,
    raw_frame,
    request_headers,
)


def test_unary_reply_at_once_is_headers_data_trailers() -> None:
    peer = Peer()
    stream_id = peer.call(message=b"hello")
    assert [frame.kind for frame in peer.of(stream_id)] == [1, 0, 1]
    assert peer.fields(peer.of(stream_id)[0])[":status"] == "200"
    assert peer.body(stream_id) == grpc.frame_message(b"hello")
    assert peer.status(stream_id) == (0, "")
    assert peer.wakes == 0
    assert not peer.connection.streams


def test_reply_made_later_wakes_the_driver_once_for_many_calls() -> None:
    peer = Peer()
    ids = [peer.call(LATER) for _ in range(5)]
    for call in peer.calls:
        call.reply(b"x")
    assert peer.wakes == 1
    peer.collect()
    assert all(peer.status(stream_id) == (0, "") for stream_id in ids)


def test_first_outcome_wins() -> None:
    peer = Peer()
    stream_id = peer.call(LATER)
    (call,) = peer.calls
    call.fail(Code.NOT_FOUND, "no")
    call.reply(b"x")
    call.fail(Code.UNKNOWN, "again")
    peer.collect()
    assert call.done
    assert peer.status(stream_id) == (5, "no")
    assert len(peer.of(stream_id)) == 1


def test_rpc_error_becomes_a_trailers_only_response() -> None:
    def refuse(_: Call, __: bytes) -> bytes:
        raise RpcError(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")

    peer = Peer(unary={ECHO: refuse})
    stream_id = peer.call()
    assert len(peer.of(stream_id)) == 1
    assert peer.status(stream_id)[0] == Code.OUT_OF_RANGE


def test_other_exception_is_logged_and_answered_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: Call, __: bytes) -> bytes:
        raise KeyError("secret")

    peer = Peer(unary={ECHO: broken})
    with caplog.at_level(logging.ERROR):
        stream_id = peer.call()
    assert peer.status(stream_id) == (Code.UNKNOWN, "internal error")
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/test.Test/Nope", "unknown method Nope for service test.Test"),
        ("/other.Svc/Nope", "unknown service other.Svc"),
        ("nonsense", 'malformed method name: "nonsense"'),
    ],
)
def test_unknown_path_is_unimplemented(path: str, text: str) -> None:
    peer = Peer()
    stream_id = peer.call(path)
    assert peer.status(stream_id) == (Code.UNIMPLEMENTED, text)


@pytest.mark.parametrize("content_type", ["application/json", "", "application/grpcx"])
def test_other_content_type_is_http_415(content_type: str) -> None:
    peer = Peer()
    fields = [field for field in request_headers() if field[0] != "content-type"]
    peer.send(peer.headers(1, [*fields, ("content-type", content_type)], end_stream=True))
    assert peer.fields(peer.of(1)[0])[":status"] == "415"


@pytest.mark.parametrize(
    "content_type", ["application/grpc+proto", "application/grpc;x=y", "Application/gRPC"]
)
def test_grpc_content_types_are_served(content_type: str) -> None:
    peer = Peer()
    fields = [field for field in request_headers() if field[0] != "content-type"]
    head = peer.headers(1, [*fields, ("content-type", content_type)])
    peer.send(head, data_frame(1, grpc.frame_message(b""), end_stream=True))
    assert peer.status(1) == (0, "")


def test_method_must_be_post() -> None:
    peer = Peer()
    peer.send(peer.headers(1, [(":method", "GET"), *request_headers()[1:]], end_stream=True))
    assert peer.fields(peer.of(1)[0])[":status"] == "405"


# Messages.


def test_message_in_many_frames_is_put_together() -> None:
    peer = Peer()
    stream_id, head = peer.start_call()
    framed = grpc.frame_message(bytes(range(256)) * 200)
    peer.send(head)
    for at in range(0, len(framed), 1000):
        peer.send(data_frame(stream_id, framed[at : at + 1000]))
    assert peer.connection.buffered_request_bytes == len(framed) - grpc.PREFIX_BYTES
    peer.send(data_frame(stream_id, b"", end_stream=True))
    assert peer.body(stream_id) == framed
    assert peer.connection.buffered_request_bytes == 0


def test_too_large_message_is_refused_from_its_prefix() -> None:
    peer = Peer(Limits(max_message_bytes=1000))
    stream_id, head = peer.start_call()
    peer.send(head, data_frame(stream_id, b"\x00" + (5000).to_bytes(4, "big")))
    assert peer.status(stream_id) == (
        Code.RESOURCE_EXHAUSTED,
        "grpc: received message larger than max (5000 vs. 1000)",
    )
    # The client is told to stop, and what is still under way does no harm.
    assert peer.resets() == [(stream_id, frames.ErrorCode.NO_ERROR)]
    peer.send(data_frame(stream_id, b"x" * 5000, end_stream=True))
    assert peer.goaway() is None
    assert peer.connection.buffered_request_bytes == 0


def test_too_large_message_in_one_frame_is_refused() -> None:
    peer = Peer(Limits(max_message_bytes=10))
    stream_id = peer.call(message=b"x" * 11)
    assert peer.status(stream_id)[0] == Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\x00",
        b"\x00\x00\x00\x00\x05abc",
        b"\x02\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\x00" * 2,
    ],
    ids=["no message", "half a prefix", "half a message", "bad flag", "two messages"],
)
def test_malformed_unary_body_is_an_internal_error(body: bytes) -> None:
    peer = Peer()
    stream_id, head = peer.start_call()
    peer.send(head, data_frame(stream_id, body, end_stream=True))
    assert peer.status(stream_id)[0] == Code.INTERNAL


def test_request_without_data_is_an_internal_error() -> None:
    peer = Peer()
    peer.send(peer.headers(1, end_stream=True))
    assert peer.status(1)[0] == Code.INTERNAL
    assert not peer.resets()


def packed(message: bytes) -> bytes:
    """A compressed message with its prefix."""
    data = gzip.compress(message)
    return b"\x01" + len(data).to_bytes(4, "big") + data


def unpacked(framed: bytes) -> bytes:
    """The message inside a compressed one that has its prefix."""
    assert framed[0] == 1
    assert int.from_bytes(framed[1:5], "big") == len(framed) - 5
    return gzip.decompress(framed[5:])


GZIP = [("grpc-encoding", "gzip")]


@pytest.mark.parametrize("timed", [False, True])
def test_gzip_request_is_inflated_and_answered_in_gzip(timed: bool) -> None:
    peer = Peer(timed=timed)
    stream_id, head = peer.start_call(extra=GZIP)
    peer.send(head, data_frame(stream_id, packed(b"hello" * 100), end_stream=True))
    assert peer.fields(peer.of(stream_id)[0])["grpc-encoding"] == "gzip"
    assert unpacked(peer.body(stream_id)) == b"hello" * 100
    assert peer.status(stream_id)[0] == 0
    counts = peer.counters.of_method(ECHO)
    assert (counts.started, counts.ok, sum(counts.seconds.counts)) == (1, 1, timed)


@pytest.mark.parametrize("message", [b"", bytes(grpc.MAX_COMPRESSED_BYTES + 1)])
def test_nothing_and_what_takes_long_is_not_compressed(message: bytes) -> None:
    peer = Peer()
    stream_id, head = peer.start_call(extra=GZIP)
    peer.send(head, data_frame(stream_id, packed(message), end_stream=True))
    peer.send(frames.window_update_frame(0, 1 << 20), frames.window_update_frame(1, 1 << 20))
    assert peer.body(stream_id) == grpc.frame_message(message)


@pytest.mark.parametrize("timed", [False, True])
def test_gzip_stream_is_answered_in_gzip(timed: bool) -> None:
    peer = Peer(timed=timed)
    stream_id, head = peer.start_call(CHAT, GZIP)
    peer.send(head, data_frame(stream_id, packed(b"hello")))
    (recorder,) = peer.recorders
    assert recorder.events == [b"hello"]
    recorder.stream.send_shared(grpc.frame_message(b"world"))
    recorder.stream.finish()
    peer.collect()
    assert peer.fields(peer.of(stream_id)[0])["grpc-encoding"] == "gzip"
    assert unpacked(peer.body(stream_id)) == b"world"
    assert peer.counters.of_method(CHAT).sent == 1


def test_compressed_flag_without_encoding_is_an_internal_error() -> None:
    peer = Peer()
    stream_id, head = peer.start_call()
    peer.send(head, data_frame(stream_id, b"\x01\x00\x00\x00\x01x", end_stream=True))
    assert peer.status(stream_id)[0] == Code.INTERNAL


def test_unknown_encoding_is_unimplemented_and_names_ours() -> None:
    peer = Peer()
    stream_id = peer.call(extra=[("grpc-encoding", "snappy")])
    assert peer.status(stream_id) == (
        Code.UNIMPLEMENTED,
        'grpc: Decompressor is not installed for grpc-encoding "snappy"',
    )
    assert peer.fields(peer.of(stream_id)[0])["grpc-accept-encoding"] == "identity,gzip"


def test_incomplete_messages_of_a_connection_are_bounded() -> None:
    peer = Peer(Limits(max_buffered_request_bytes=30_000))
    ids = []
    for _ in range(4):
        stream_id, head = peer.start_call()
        peer.send(head, data_frame(stream_id, grpc.frame_message(bytes(20_000))[:10_000]))
        ids.append(stream_id)
    assert peer.status(ids[3])[0] == Code.RESOURCE_EXHAUSTED
    assert peer.connection.buffered_request_bytes == 30_000
    assert len(peer.connection.streams) == 3


def test_metadata_reaches_the_handler() -> None:
    peer = Peer()
    peer.call(LATER, extra=[("token", "abc"), ("raw-bin", "AQI"), ("grpc-timeout", "1S")])
    assert peer.calls[0].metadata["token"] == "abc"
    assert peer.calls[0].metadata["raw-bin"] == b"\x01\x02"
    assert "grpc-timeout" not in peer.calls[0].metadata


def test_malformed_binary_metadata_is_an_internal_error() -> None:
    peer = Peer()
    stream_id = peer.call(extra=[("raw-bin", "*")])
    assert peer.status(stream_id)[0] == Code.INTERNAL


# Deadlines and cancellation.


def test_deadline_ends_the_call_and_tells_the_service_once() -> None:
    peer = Peer()
    ended: list[bool] = []
    stream_id = peer.call(LATER, extra=[("grpc-timeout", "50m")])
    (call,) = peer.calls
    call.on_done = lambda: ended.append(call.done)
    assert call.deadline == pytest.approx(1000.05)
    peer.advance(0.04)
    assert not ended
    peer.advance(0.03)
    assert ended == [True]
    assert peer.status(stream_id) == (Code.DEADLINE_EXCEEDED, "context deadline exceeded")
    call.reply(b"late")
    assert len(peer.of(stream_id)) == 1


def test_a_deadline_of_a_few_milliseconds_is_kept() -> None:
    peer = Peer()
    stream_id = peer.call(LATER, extra=[("grpc-timeout", "3m")])
    assert 1000.003 <= peer.timers[-1] <= 1000.0041
    peer.advance(0.002)
    assert not peer.of(stream_id)
    peer.advance(0.003)
    assert peer.status(stream_id)[0] == Code.DEADLINE_EXCEEDED


@pytest.mark.parametrize("timeout", ["0S", "1n", "999n"])
@pytest.mark.parametrize("path", [ECHO, LATER, CHAT])
def test_a_call_out_of_time_from_the_start_never_begins(path: str, timeout: str) -> None:
    peer = Peer()
    stream_id = peer.call(path, extra=[("grpc-timeout", timeout)])
    assert peer.status(stream_id) == (Code.DEADLINE_EXCEEDED, "context deadline exceeded")
    assert not peer.calls
    assert not peer.recorders


def test_answered_call_leaves_the_wheel() -> None:
    peer = Peer()
    peer.call(extra=[("grpc-timeout", "5S")])
    assert all(not slot for slot in peer.deadlines._slots.values())


def test_every_grpc_timeout_is_its_own() -> None:
    """Blocks that insert `grpc-timeout` into the table share one head but not the timeout."""
    peer = Peer()
    for number in range(200):
        peer.call(LATER, extra=[("grpc-timeout", f"{4_000_000 + number * 977}u"), ("x", "y")])
    expected = [1000 + 4 + number * 977e-6 for number in range(200)]
    assert [call.deadline for call in peer.calls] == pytest.approx(expected)
    assert {call.metadata["x"] for call in peer.calls} == {"y"}


def test_malformed_timeout_is_an_internal_error() -> None:
    peer = Peer()
    stream_id = peer.call(LATER, extra=[("grpc-timeout", "soon")])
    assert peer.status(stream_id)[0] == Code.INTERNAL
    assert not peer.calls


def test_late_answer_behind_closed_windows_is_reset_at_the_deadline() -> None:
    peer = Peer()
    peer.send(frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}))
    stream_id = peer.call(message=b"abc", extra=[("grpc-timeout", "1S")])
    peer.advance(2)
    assert peer.resets() == [(stream_id, frames.ErrorCode.CANCEL)]
    assert peer.connection.queued_bytes == 0


def test_reset_ends_the_call_and_tells_the_service_once() -> None:
    peer = Peer()
    ended: list[int] = []
    stream_id = peer.call(LATER)
    peer.calls[0].on_done = lambda: ended.append(1)
    peer.send(frames.rst_stream_frame(stream_id, frames.ErrorCode.CANCEL))
    peer.send(frames.rst_stream_frame(stream_id, frames.ErrorCode.CANCEL))
    assert ended == [1]
    peer.calls[0].reply(b"late")
    assert not peer.of(stream_id)


def test_lost_connection_ends_calls_and_streams() -> None:
    peer = Peer()
    ended: list[int] = []
    peer.call(LATER)
    peer.calls[0].on_done = lambda: ended.append(1)
    _, head = peer.start_call(CHAT)
    peer.send(head)
    peer.connection.close()
    assert ended == [1]
    assert peer.recorders[0].events == ["closed"]


def test_failing_on_done_callback_is_contained(caplog: pytest.LogCaptureFixture) -> None:
    def explode() -> None:
        raise RuntimeError("callback")

    peer = Peer()
    stream_id = peer.call(LATER)
    peer.calls[0].on_done = explode
    peer.send(frames.rst_stream_frame(stream_id, frames.ErrorCode.CANCEL))
    assert "callback" in caplog.text
    assert peer.status(peer.call()) == (0, "")


# Streams.


def test_stream_receives_messages_and_half_close_in_order() -> None:
    peer = Peer()
    stream_id, head = peer.start_call(CHAT)
    messages = grpc.frame_message(b"a") + grpc.frame_message(b"") + grpc.frame_message(b"bc")
    peer.send(head, data_frame(stream_id, messages[:8]), data_frame(stream_id, messages[8:]))
    peer.send(data_frame(stream_id, b"", end_stream=True))
    assert peer.recorders[0].events == [b"a", b"", b"bc", "half_closed"]


def test_stream_sends_and_finishes() -> None:
    peer = Peer()
    stream_id, head = peer.start_call(CHAT)
    peer.send(head)
    stream = peer.recorders[0].stream
    stream.send_headers()
    stream.send(b"one")
    stream.send_shared(grpc.frame_message(b"two"))
    peer.send(data_frame(stream_id, b"", end_stream=True))
    stream.finish(Code.ABORTED, "so it is")
    stream.send(b"late")
    peer.collect()
    assert [frame.kind for frame in peer.of(stream_id)] == [1, 0, 0, 1]
    assert peer.body(stream_id) == grpc.frame_message(b"one") + grpc.frame_message(b"two")
    assert peer.status(stream_id) == (Code.ABORTED, "so it is")
    assert peer.recorders[0].events == ["half_closed"]


def test_finish_before_the_client_is_done_tells_it_to_stop() -> None:
    peer = Peer()
    stream_id, head = peer.start_call(CHAT)
    peer.send(head)
    peer.recorders[0].stream.finish()
    peer.collect()
    assert peer.status(stream_id) == (0, "")
    assert peer.resets() == [(stream_id, frames.ErrorCode.NO_ERROR)]
    peer.send(data_frame(stream_id, grpc.frame_message(b"late"), end_stream=True))
    assert peer.goaway() is None


def test_slow_client_backs_up_the_stream_and_writable_comes_once() -> None:
    peer = Peer(Limits(stream_high_water=50_000, stream_low_water=10_000))
    peer.send(frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}))
    stream_id, head = peer.start_call(CHAT)
    peer.send(head)
    recorder = peer.recorders[0]
    for _ in range(60):
        recorder.stream.send(bytes(995))
    assert recorder.stream.buffered == 60_000
    assert recorder.stream.congested
    peer.send(frames.window_update_frame(stream_id, 40_000))
    assert recorder.stream.buffered == 20_000
    assert "writable" not in recorder.events
    peer.send(frames.window_update_frame(stream_id, 15_000))
    assert recorder.events == ["writable"]
    peer.send(frames.window_update_frame(stream_id, 15_000))
    assert recorder.events == ["writable"]
    assert len(peer.body(stream_id)) == 60_000


def test_trailers_wait_for_what_is_queued() -> None:
    peer = Peer()
    peer.send(frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 3}))
    stream_id, head = peer.start_call(CHAT)
    peer.send(head)
    stream = peer.recorders[0].stream
    stream.send(b"abcdef")
    stream.finish(Code.ABORTED, "end")
    peer.collect()
    assert peer.body(stream_id) == b"\x00\x00\x00"
    peer.send(frames.window_update_frame(stream_id, 100))
    assert peer.body(stream_id) == grpc.frame_message(b"abcdef")
    assert peer.status(stream_id) == (Code.ABORTED, "end")
    assert peer.recorders[0].events == []


def test_full_socket_holds_stream_data_back() -> None:
    peer = Peer()
    stream_id, head = peer.start_call(CHAT)
    peer.send(head)
    peer.connection.set_writable(False)
    stream = peer.recorders[0].stream
    stream.send(b"abc")
    peer.collect()
    assert stream.buffered == 8
    peer.connection.set_writable(True)
    peer.collect()
    assert peer.body(stream_id) == grpc.frame_message(b"abc")


def test_stream_deadline_closes_the_receiver() -> None:
    peer = Peer()
    stream_id, head = peer.start_call(CHAT, [("grpc-timeout", "1S")])
    peer.send(head)
    peer.recorders[0].stream.send(b"x")
    peer.advance(1.1)
    assert peer.status(stream_id)[0] == Code.DEADLINE_EXCEEDED
    assert peer.recorders[0].events == ["closed"]


def test_too_large_stream_message_closes_the_receiver() -> None:
    peer = Peer(Limits(max_message_bytes=10))
    stream_id, head = peer.start_call(CHAT)
    peer.send(
        head, data_frame(stream_id, grpc.frame_message(b"ok") + grpc.frame_message(bytes(11)))
    )
    assert peer.recorders[0].events == [b"ok", "closed"]
    assert peer.status(stream_id)[0] == Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("error", [RpcError(Code.INTERNAL, "no"), ValueError("no")])
def test_receiver_that_raises_is_closed(error: Exception) -> None:
    class Choosy(Recorder):
        def message_received(self, message: bytes) -> None:
            super().message_received(message)
            if message == b"bad":
                raise error

    recorders: list[Recorder] = []

    def chat(stream: Stream) -> Recorder:
        recorders.append(Choosy(stream))
        return recorders[0]

    peer = Peer(streams={CHAT: chat})
    stream_id, head = peer.start_call(CHAT)
    messages = [grpc.frame_message(message) for message in (b"good", b"bad", b"never")]
    peer.send(head, data_frame(stream_id, b"".join(messages)))
    assert peer.status(stream_id)[0] != Code.OK
    peer.send(frames.rst_stream_frame(stream_id, frames.ErrorCode.CANCEL))
    assert recorders[0].events == [b"good", b"bad", "closed"]


def test_reading_pause_stops_the_window_and_resume_returns_it() -> None:
    peer = Peer(Limits(stream_window_bytes=65_535))
    stream_id, head = peer.start_call(CHAT)
    peer.send(head)
    stream = peer.recorders[0].stream
    stream.pause_reading()
    framed = grpc.frame_message(bytes(10_000))
    for _ in range(6):
        peer.send(data_frame(stream_id, framed))
    assert not peer.of(stream_id, frames.WINDOW_UPDATE)
    stream.resume_reading()
    peer.collect()
    (update,) = peer.of(stream_id, frames.WINDOW_UPDATE)
    assert frames.read_uint32(update.payload, 0) == 6 * len(framed)


def test_client_that_leaves_the_answers_lying_may_not_go_on_asking() -> None:
    limits = Limits(stream_window_bytes=65_535, stream_high_water=50_000, stream_low_water=10_000)
    peer = Peer(limits)
    peer.send(frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}))
    stream_id, head = peer.start_call(CHAT)
    peer.send(head)
    recorder = peer.recorders[0]
    recorder.stream.send(bytes(49_995))
    peer.send(data_frame(stream_id, bytes(33_000)))
    assert len(peer.of(stream_id, frames.WINDOW_UPDATE)) == 1
    recorder.stream.send(b"one more")
    peer.send(data_frame(stream_id, bytes(33_000)))
    recorder.stream.resume_reading()
    assert len(peer.of(stream_id, frames.WINDOW_UPDATE)) == 1
    peer.send(frames.window_update_frame(stream_id, 45_000))
    assert len(peer.of(stream_id, frames.WINDOW_UPDATE)) == 2


def test_client_that_overruns_a_paused_stream_is_reset() -> None:
    peer = Peer(Limits(stream_window_bytes=65_535))
    stream_id, head = peer.start_call(CHAT)
    peer.send(head)
    peer.recorders[0].stream.pause_reading()
    for _ in range(7):
        peer.send(data_frame(stream_id, grpc.frame_message(bytes(10_000))))
    assert peer.resets() == [(stream_id, frames.ErrorCode.FLOW_CONTROL_ERROR)]
    assert peer.recorders[0].events[-1] == "closed"


def test_streams_with_large_replies_take_turns() -> None:
    peer = Peer(unary={ECHO: lambda _, __: bytes(100_000)})
    peer.send(frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 20}))
    first, second = peer.call(), peer.call()
    peer.send(frames.window_update_frame(0, 1 << 20))
    order = [frame.stream_id for frame in peer.frames if frame.kind == frames.DATA]
    # The connection's first window goes to the first stream alone; from then on they alternate.
    joined = order.index(second)
    assert order[joined - 1 : joined + 3] == [first, second, first, second]
    assert len(peer.body(first)) == len(peer.body(second)) == 100_005


def test_new_calls_are_refused_while_too_much_is_queued() -> None:
    peer = Peer(Limits(max_queued_reply_bytes=1000), unary={ECHO: lambda _, __: bytes(2000)})
    peer.send(frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}))
    first = peer.call()
    second = peer.call()
    assert peer.resets() == [(second, frames.ErrorCode.REFUSED_STREAM)]
    peer.send(frames.window_update_frame(first, 5000))
    third = peer.call()
    assert peer.resets() == [(second, frames.ErrorCode.REFUSED_STREAM)]
    peer.send(frames.window_update_frame(third, 5000))
    assert peer.status(third) == (0, "")


def test_large_reply_does_not_leave_in_one_piece() -> None:
    peer = Peer(Limits(socket_buffer_bytes=50_000), unary={ECHO: lambda _, __: bytes(1_000_000)})
    peer.send(
        frames.settings_frame({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 24}),
        frames.window_update_frame(0, 1 << 24),
    )
    stream_id, head = peer.start_call()
    peer.connection.dirty = True
    peer.connection.receive(
        head + data_frame(stream_id, grpc.frame_message(b""), end_stream=True), peer.now
    )
    sizes = []
    while peer.connection.dirty:
        sizes.append(sum(map(len, peer.connection.take_output())))
    assert max(sizes) < 70_000
    assert sum(sizes) > 1_000_000


def test_undefined_flags_and_padding_are_tolerated() -> None:
    peer = Peer()
    stream_id, head = peer.start_call()
    payload = b"\x03" + grpc.frame_message(b"abc") + bytes(3)
    peer.send(
        head, raw_frame(frames.DATA, 0xF0 | frames.PADDED | frames.END_STREAM, stream_id, payload)
    )
    assert peer.body(stream_id) == grpc.frame_message(b"abc")
