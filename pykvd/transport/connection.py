"""An HTTP/2 connection, server side, without I/O (RFC 9113).

Bytes and the time go in (`receive`, `tick`), output bytes come out (`take_output`), and requests
become the stream objects that their head's `open` makes: a frame costs no event object. The driver
is told through `wake` when output waits that none of its own calls produced.

Rules of the house:
- Every frame of one `receive` is handled in one pass over the same buffer; only an incomplete
  frame is kept.
- A broken rule raises `Http2ConnectionError` inside and becomes GOAWAY; a broken stream becomes
  RST_STREAM. Nothing that a peer sends makes `receive` raise.
- Whatever a peer can make us remember or do is bounded by `Limits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.status import Code
from pykvd.transport import frames, grpc
from pykvd.transport.frames import ErrorCode, Http2ConnectionError
from pykvd.transport.hpack import HeaderListTooLargeError
from pykvd.transport.keepalive import Action, KeepAlive
from pykvd.transport.request import MalformedRequestError, RequestDecoder
from pykvd.transport.sender import DRAIN_PING, FrameSender

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.transport.deadlines import DeadlineWheel
    from pykvd.transport.limits import Limits
    from pykvd.transport.request import RequestHead
    from pykvd.transport.statistics import Counters
    from pykvd.transport.stream import Http2Stream

MAX_FRAME_SIZE = frames.MIN_MAX_FRAME_SIZE
"""The largest payload that we accept.

The default; a larger one would only coarsen the interleaving.
"""
MAX_SENT_FRAME_SIZE = 64 << 10
"""The largest payload that we send even when the peer takes more, for the same reason."""

_KEEPALIVE_PING = b"pykvd ka"
_PREFACE_AND_HEADER = len(frames.CLIENT_PREFACE) + frames.HEADER_BYTES

_unpack_header = frames.unpack_header


class ServerConnection(FrameSender):
    """One client's connection. Not thread-safe; every method runs on the loop thread.

    Invariant: after `closing` is set nothing is parsed any more.
    """

    __slots__ = (
        "_block",
        "_block_flags",
        "_block_frames",
        "_block_stream_id",
        "_continuing",
        "_keepalive",
        "_last_received",
        "_need",
        "_preface_done",
        "_requests",
        "_started_at",
        "_tail",
        "_window_floor",
        "buffered_request_bytes",
        "common_name",
        "counters",
        "deadlines",
        "max_message_bytes",
        "now",
        "opening_ended",
        "peer",
        "receive_window",
        "stream_window",
    )

    def __init__(
        self,
        *,
        limits: Limits,
        route: Callable[[RequestHead], None],
        deadlines: DeadlineWheel,
        counters: Counters,
        wake: Callable[[], None],
        peer: str,
        now: float,
    ) -> None:
        super().__init__(limits, wake, now)
        self.deadlines = deadlines
        self.counters = counters
        self.peer = peer
        self.common_name = ""
        self.now = now
        self.max_message_bytes = limits.max_message_bytes
        self.buffered_request_bytes = 0
        """Incomplete messages of all streams."""
        self.opening_ended = False
        """Whether the request being opened consists of its headers alone."""
        self.receive_window = limits.connection_window_bytes
        self.stream_window = limits.stream_window_bytes
        self._window_floor = limits.connection_window_bytes >> 1
        self._requests = RequestDecoder(route, limits.max_header_list_bytes)
        self._keepalive = KeepAlive(limits)
        self._started_at = self._last_received = now
        self._preface_done = False
        self._tail = bytearray()
        self._need = _PREFACE_AND_HEADER
        self._block = bytearray()
        self._continuing = False
        self._block_stream_id = self._block_flags = self._block_frames = 0

    # Input.

    def receive(self, data: bytes, now: float) -> None:
        """Handle what the peer sent at time `now`; replies wait in `take_output`."""
        if self.closing:
            return
        self.now = self._last_received = now
        tail = self._tail
        if tail or not self._preface_done:
            tail += data
            if len(tail) < self._need and self._preface_done:
                return
            data = bytes(tail)
            tail.clear()
        try:
            position = 0 if self._preface_done else self._start(data)
            if self._preface_done:
                position = self._parse(data, position)
        except Http2ConnectionError as fault:
            self.terminate(fault.code, fault.debug)
            return
        if position < len(data):
            tail += memoryview(data)[position:]

    def _start(self, data: bytes) -> int:
        """Check the client preface (RFC 9113 3.4): 24 fixed bytes, then a SETTINGS frame."""
        preface = frames.CLIENT_PREFACE
        size = len(preface)
        if data[:size] != preface[: len(data)]:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "bad client preface")
        if len(data) < _PREFACE_AND_HEADER:
            return 0
        _, _, kind, flags, _ = _unpack_header(data, size)
        if kind != frames.SETTINGS or flags & frames.ACK:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "first frame is not SETTINGS")
        self._preface_done = True
        self._out.append(self._opening_frames())
        return size

    def _opening_frames(self) -> bytes:
        limits = self.limits
        settings = {
            frames.SETTINGS_INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
            frames.SETTINGS_MAX_HEADER_LIST_SIZE: limits.max_header_list_bytes,
        }
        if limits.max_concurrent_streams <= limits.max_streams_hard:
            settings[frames.SETTINGS_MAX_CONCURRENT_STREAMS] = limits.max_concurrent_streams
        opening = frames.settings_frame(settings)
        extra = limits.connection_window_bytes - frames.DEFAULT_WINDOW
        return opening + frames.window_update_frame(0, extra) if extra > 0 else opening

    def _parse(self, data: bytes, position: int) -> int:
        """Handle all complete frames from `position`; returns where the incomplete rest begins."""
        end = len(data)
        streams = self.streams
        while end - position >= 9:
            high, low, kind, flags, stream_id = _unpack_header(data, position)
            length = high << 8 | low
            if length > MAX_FRAME_SIZE:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"frame of {length} bytes")
            start = position + 9
            stop = start + length
            if stop > end:
                self._need = length + 9
                return position
            position = stop
            stream_id &= frames.MAX_STREAM_ID
            if self._continuing:
                self._on_continuation(data, start, stop, kind, flags, stream_id)
            elif kind == 1 and flags | 1 == 5:  # HEADERS: END_HEADERS, no padding, no priority
                self._on_header_block(stream_id, data[start:stop], flags)
            elif kind == 0 and flags <= 1 and length:  # DATA without padding
                self.receive_window -= length
                if self.receive_window < self._window_floor:
                    self._replenish_connection()
                stream = streams.get(stream_id)
                if stream is None or stream.remote_closed:
                    self._on_stray_data(stream_id, stream)
                else:
                    self.guard.idle_frames = 0
                    stream.receive_window -= length
                    if flags:
                        stream.remote_closed = True
                        stream.data_received(data, start, stop, True)
                    else:
                        stream.data_received(data, start, stop, False)
                        self.replenish_stream(stream)
            else:
                self._on_other(data, start, stop, kind, flags, stream_id)
            if self.closing:
                return end
        self._need = 9
        return position

    def _on_other(
        self, data: bytes, start: int, stop: int, kind: int, flags: int, stream_id: int
    ) -> None:
        if kind == frames.HEADERS:
            self._on_headers(data, start, stop, flags, stream_id)
        elif kind == frames.DATA:
            self._on_unusual_data(data, start, stop, flags, stream_id)
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(data, start, stop, stream_id)
        elif kind == frames.RST_STREAM:
            self._on_rst_stream(start, stop, stream_id)
        elif kind == frames.PING:
            self._on_ping(data[start:stop], flags, stream_id)
        elif kind == frames.SETTINGS:
            self._on_settings(data[start:stop], flags, stream_id)
        elif kind == frames.GOAWAY:
            if stream_id or stop - start < 8:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "bad GOAWAY")
            # The peer will open no more streams; those it has go on.
            self.guard.count_idle_frame()
        elif kind == frames.PRIORITY:
            # RFC 9113 5.3.2: deprecated; only its shape is checked.
            self.guard.count_idle_frame()
            if not stream_id:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
            if stop - start != 5:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY length")
        elif kind in (frames.PUSH_PROMISE, frames.CONTINUATION):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"unexpected frame of type {kind}")
        else:
            self.guard.count_idle_frame()  # 5.5: unknown types are ignored

    # Header blocks.

    def _on_headers(self, data: bytes, start: int, stop: int, flags: int, stream_id: int) -> None:
        """HEADERS with padding or priority, or the first part of a block in several frames."""
        start, stop = _strip_padding(data, start, stop, flags)
        if flags & frames.PRIORITY_FLAG:
            start += 5
            if start > stop:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short")
        if flags & frames.END_HEADERS:
            self._on_header_block(stream_id, data[start:stop], flags)
            return
        if not stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        self._continuing = True
        self._block[:] = data[start:stop]
        self._block_stream_id = stream_id
        self._block_flags = flags
        self._block_frames = 0

    def _on_continuation(
        self, data: bytes, start: int, stop: int, kind: int, flags: int, stream_id: int
    ) -> None:
        """The next part of a block; nothing may come between (6.10)."""
        if kind != frames.CONTINUATION or stream_id != self._block_stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "header block interrupted")
        self._block_frames += 1
        self._block += data[start:stop]
        limits = self.limits
        if (
            self._block_frames > limits.max_continuations
            or len(self._block) > limits.max_header_block_bytes
        ):
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & frames.END_HEADERS:
            self._continuing = False
            block = bytes(self._block)
            self._block.clear()
            self._on_header_block(stream_id, block, self._block_flags)

    def _on_header_block(self, stream_id: int, block: bytes, flags: int) -> None:
        """A complete block: a new request, or trailers."""
        if stream_id <= self.last_stream_id or not stream_id & 1:
            self._on_trailers(stream_id, block, flags)
            return
        self.last_stream_id = stream_id
        guard = self.guard
        guard.idle_frames = 0
        try:
            head, timeout = self._requests.decode(block)
        except MalformedRequestError as fault:
            self._refuse(stream_id, fault.code)
            return
        except HeaderListTooLargeError:
            self._refuse_large_headers(stream_id, flags)
            return
        if self._goaway_sent:
            self._remember_cut(stream_id)  # the peer knows that it will not be served
            return
        limits = self.limits
        if (
            len(self.streams) >= limits.streams_allowed
            or self.queued_bytes > limits.max_queued_reply_bytes
        ):
            self._refuse(stream_id, ErrorCode.REFUSED_STREAM)
            return
        self.counters.calls += 1
        self.opening_ended = ended = flags & 1 == 1
        stream = head.open(self, stream_id, head, timeout)
        if ended and not stream.released:
            stream.data_received(b"", 0, 0, True)

    def _on_trailers(self, stream_id: int, block: bytes, flags: int) -> None:
        """A block on a stream id that is not new: trailers, or a broken rule (5.1.1, 8.1)."""
        stream = self.streams.get(stream_id)
        if stream is None and stream_id not in self._cut_streams:
            code = ErrorCode.STREAM_CLOSED if stream_id & 1 else ErrorCode.PROTOCOL_ERROR
            raise Http2ConnectionError(code, f"HEADERS on stream {stream_id}")
        try:
            fields = self._requests.decode_fields(block)
        except HeaderListTooLargeError:
            fields = []
        if stream is None:
            self.guard.count_idle_frame()
            return
        if stream.remote_closed:
            self.fault_stream(stream, ErrorCode.STREAM_CLOSED)
        elif not flags & frames.END_STREAM or any(name[:1] == ":" for name, _, _ in fields):
            self.fault_stream(stream, ErrorCode.PROTOCOL_ERROR)
        else:
            stream.remote_closed = True
            stream.data_received(b"", 0, 0, True)

    def _refuse(self, stream_id: int, code: ErrorCode) -> None:
        """Reset a stream that never came to be."""
        self._remember_cut(stream_id)
        self.append(frames.rst_stream_frame(stream_id, code))
        self.guard.count_reset(self.now)

    def _refuse_large_headers(self, stream_id: int, flags: int) -> None:
        """RFC 9113 10.5.1: 431, with a status that gRPC clients understand."""
        block = grpc.trailers_only_block(
            Code.RESOURCE_EXHAUSTED, "header list too large", http_status=431
        )
        self.append(frames.headers_frame(stream_id, block, end_stream=True))
        if flags & frames.END_STREAM:
            self.guard.count_reset(self.now)
        else:
            self._refuse(stream_id, ErrorCode.NO_ERROR)

    # Data and windows.

    def _on_unusual_data(
        self, data: bytes, start: int, stop: int, flags: int, stream_id: int
    ) -> None:
        """DATA that is empty or padded, or has undefined flags."""
        length = stop - start
        self.receive_window -= length  # padding counts too (6.1)
        if self.receive_window < self._window_floor:
            self._replenish_connection()
        start, stop = _strip_padding(data, start, stop, flags)
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_closed:
            self._on_stray_data(stream_id, stream)
            return
        stream.receive_window -= length
        ended = bool(flags & frames.END_STREAM)
        if start == stop and not ended:
            self.guard.count_idle_frame()
        if ended:
            stream.remote_closed = True
        stream.data_received(data, start, stop, ended)
        if not ended:
            self.replenish_stream(stream)

    def _on_stray_data(self, stream_id: int, stream: Http2Stream | None) -> None:
        """DATA for a stream that takes none (5.1)."""
        if stream is not None:
            self.fault_stream(stream, ErrorCode.STREAM_CLOSED)
        elif stream_id > self.last_stream_id or not stream_id & 1:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"DATA on idle stream {stream_id}")
        else:
            self.guard.count_idle_frame()
            if stream_id not in self._cut_streams:
                self._refuse(stream_id, ErrorCode.STREAM_CLOSED)

    def _replenish_connection(self) -> None:
        """Give back the whole connection window.

        At once, whatever becomes of the bytes: a slow stream must not hold up the others. Memory
        is bounded by the stream windows and by `max_buffered_request_bytes`.
        """
        full = self.limits.connection_window_bytes
        self.append(frames.window_update_frame(0, full - self.receive_window))
        self.receive_window = full

    def replenish_stream(self, stream: Http2Stream) -> None:
        """Give back a stream's window when half of it is used, if it may have it."""
        window = stream.receive_window
        if window < 0:
            self.fault_stream(stream, ErrorCode.FLOW_CONTROL_ERROR)
        elif window <= self.stream_window >> 1 and not stream.released and stream.may_send_more():
            self.append(frames.window_update_frame(stream.stream_id, self.stream_window - window))
            stream.receive_window = self.stream_window

    def _on_window_update(self, data: bytes, start: int, stop: int, stream_id: int) -> None:
        if stop - start != 4:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE length")
        self.guard.count_idle_frame()
        increment = frames.read_uint32(data, start) & frames.MAX_WINDOW
        if not stream_id:
            self.send_window += increment
            if not increment or self.send_window > frames.MAX_WINDOW:
                code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
                raise Http2ConnectionError(code, f"WINDOW_UPDATE of {increment}")
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
            return
        stream.send_window += increment
        if not increment:
            self.fault_stream(stream, ErrorCode.PROTOCOL_ERROR)
        elif stream.send_window > frames.MAX_WINDOW:
            self.fault_stream(stream, ErrorCode.FLOW_CONTROL_ERROR)
        elif stream.queue:
            self.schedule(stream)

    def _check_not_idle(self, stream_id: int) -> None:
        if stream_id > self.last_stream_id or not stream_id & 1:
            raise Http2ConnectionError(
                ErrorCode.PROTOCOL_ERROR, f"frame on idle stream {stream_id}"
            )

    # Other frames.

    def _on_rst_stream(self, start: int, stop: int, stream_id: int) -> None:
        if stop - start != 4:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM length")
        self._check_not_idle(stream_id)
        stream = self.streams.get(stream_id)
        if stream is None:
            self.guard.count_idle_frame()
            return
        self.guard.count_reset(self.now)
        self._release(stream)
        stream.aborted()

    def _on_ping(self, opaque: bytes, flags: int, stream_id: int) -> None:
        if stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(opaque) != 8:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "PING length")
        if flags & frames.ACK:
            self.guard.count_idle_frame()
            if opaque == DRAIN_PING and self._drain_ping_at is not None:
                self._finish_drain()
            return
        self.guard.count_ping(self.now, streams_open=bool(self.streams))
        self.append(frames.ping_frame(opaque, ack=True))

    def _on_settings(self, payload: bytes, flags: int, stream_id: int) -> None:
        """Apply the peer's SETTINGS (6.5.2) and acknowledge them."""
        self.guard.count_idle_frame()
        if stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS length")
        if flags & frames.ACK:
            return
        for key, value in frames.iter_settings(payload):
            if key == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                self._set_initial_window(value)
            elif key == frames.SETTINGS_MAX_FRAME_SIZE:
                if not frames.MIN_MAX_FRAME_SIZE <= value <= frames.MAX_MAX_FRAME_SIZE:
                    raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE")
                self.max_frame_size = min(value, MAX_SENT_FRAME_SIZE)
            elif key == frames.SETTINGS_ENABLE_PUSH and value > 1:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH")
        self.append(frames.SETTINGS_ACK)

    def _set_initial_window(self, value: int) -> None:
        """A new initial window moves the windows of all open streams (6.9.2).

        They may become negative.
        """
        if value > frames.MAX_WINDOW:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE")
        change = value - self.initial_send_window
        self.initial_send_window = value
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > frames.MAX_WINDOW:
                raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "stream window overflow")
            if stream.queue:
                self.schedule(stream)

    def fault_stream(self, stream: Http2Stream, code: ErrorCode) -> None:
        """The peer broke a rule of one stream."""
        if stream.released:
            return
        self.reset_stream(stream, code)
        stream.aborted()
        self.guard.count_reset(self.now)

    # Time.

    def drain(self, now: float) -> None:
        """As `FrameSender.drain`; a client that has not said a word yet is just closed."""
        if self._preface_done:
            super().drain(now)
        else:
            self.close()

    def tick(self, now: float) -> None:
        """Look at the clock: preface, keepalive and drain time limits. Call about once a second."""
        self.now = now
        if self.closing:
            return
        limits = self.limits
        if not self._preface_done:
            if limits.preface_timeout and now - self._started_at >= limits.preface_timeout:
                self.close()
            return
        if (
            self._drain_ping_at is not None
            and now - self._drain_ping_at >= limits.drain_ping_timeout
        ):
            self._finish_drain()
        action = self._keepalive.tick(now, self._last_received)
        if action is Action.SEND_PING:
            self.append(frames.ping_frame(_KEEPALIVE_PING))
        elif action is Action.CUT:
            self.close()


def _strip_padding(data: bytes, start: int, stop: int, flags: int) -> tuple[int, int]:
    """Bounds of the payload without its padding (6.1, 6.2)."""
    if not flags & frames.PADDED:
        return start, stop
    if start == stop:
        raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "no pad length")
    padded_stop = stop - data[start]
    if padded_stop < start + 1:
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "padding longer than the payload")
    return start + 1, padded_stop
