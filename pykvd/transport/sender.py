"""The sending half of a connection: frames that wait, send windows, and how streams and it end.

`ServerConnection` is the receiving half on top of it. Small responses go straight to the output
list; larger ones wait in the queues of their streams and take turns, one DATA frame each, as the
windows and the socket allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.transport import frames
from pykvd.transport.abuse import AbuseGuard
from pykvd.transport.frames import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.transport.limits import Limits
    from pykvd.transport.stream import Http2Stream

REMEMBERED_CUT_STREAMS = 1024
"""Streams that we ended before the peer did: frames still under way for them are no error."""

DRAIN_PING = b"pykvd dr"
_MAX_DEBUG_BYTES = 256


class FrameSender:
    """Output of one connection.

    Invariants: `streams` holds exactly the streams that are not `released`; `send_window` is never
    overdrawn; `_out` holds complete frames; after `closing` nothing is added to it.
    """

    __slots__ = (
        "_cut_streams",
        "_drain_ping_at",
        "_draining",
        "_goaway_sent",
        "_out",
        "_ready",
        "_wake",
        "closing",
        "dirty",
        "guard",
        "initial_send_window",
        "last_stream_id",
        "limits",
        "linger",
        "max_frame_size",
        "queued_bytes",
        "send_window",
        "streams",
        "writable",
    )

    def __init__(self, limits: Limits, wake: Callable[[], None], now: float) -> None:
        self.limits = limits
        self.guard = AbuseGuard(limits, now)
        self.streams: dict[int, Http2Stream] = {}
        self.last_stream_id = 0
        self.send_window = frames.DEFAULT_WINDOW
        self.initial_send_window = frames.DEFAULT_WINDOW
        self.max_frame_size = frames.MIN_MAX_FRAME_SIZE
        self.queued_bytes = 0
        """Reply bytes in the queues of all streams."""
        self.writable = True
        """Whether the socket takes more."""
        self.dirty = False
        """Whether output waits of which the driver knows."""
        self.closing = False
        self.linger = 0.0
        """Seconds that the driver may wait, once `closing`, for the output to reach the peer."""
        self._wake = wake
        self._out: list[bytes | memoryview] = []
        self._ready: dict[int, Http2Stream] = {}
        self._cut_streams: dict[int, None] = {}
        self._goaway_sent = False
        self._draining = False
        self._drain_ping_at: float | None = None

    def append(self, data: bytes) -> None:
        """Queue one complete frame."""
        if self.closing:
            return
        self._out.append(data)
        if not self.dirty:
            self.dirty = True
            self._wake()

    def append_data(self, stream_id: int, size: int, *parts: bytes | memoryview) -> None:
        """Queue one DATA frame of `size` bytes; the windows are already charged."""
        if self.closing:
            return
        self.guard.data_sent = True
        self.guard.idle_frames = 0
        self._out.append(frames.frame_header(size, frames.DATA, 0, stream_id))
        self._out += parts
        if not self.dirty:
            self.dirty = True
            self._wake()

    def append_response(self, stream: Http2Stream, size: int, *parts: bytes) -> None:
        """Queue a whole response whose `size` bytes of DATA fit all windows; forget the stream."""
        self.send_window -= size
        guard = self.guard
        guard.data_sent = True
        guard.idle_frames = 0
        self._out += parts
        stream.released = True
        del self.streams[stream.stream_id]
        if self._draining and not self.streams:
            self._close_if_drained()
        if not self.dirty:
            self.dirty = True
            self._wake()

    def schedule(self, stream: Http2Stream) -> None:
        """A stream has queued output: it takes its turn as soon as its window is open."""
        if stream.send_window > 0:
            self._ready[stream.stream_id] = stream
            if not self.dirty:
                self.dirty = True
                self._wake()

    def take_output(self) -> list[bytes | memoryview]:
        """Everything that may be sent now, up to about `socket_buffer_bytes` of queued stream data.

        Afterwards `dirty` says whether there is more to take at once.
        """
        if self._ready and self.writable and self.send_window > 0:
            self._serve_ready()
        out = self._out
        self._out = []
        self.dirty = bool(self._ready) and self.writable and self.send_window > 0
        return out

    def _serve_ready(self) -> None:
        """Streams with queued output send a frame each, in turn."""
        ready = self._ready
        budget = self.limits.socket_buffer_bytes
        self.dirty = True  # no wake-up for what is taken right after this
        while ready and budget > 0 and self.send_window > 0:
            stream_id = next(iter(ready))
            stream = ready.pop(stream_id)
            before = self.send_window
            if stream.queue and stream.send_window > 0 and stream.send_queued_frame():
                ready[stream_id] = stream
            budget -= before - self.send_window

    def set_writable(self, writable: bool) -> None:
        """The socket is full (False) or has drained (True): queued stream data waits for it."""
        self.writable = writable
        if writable and self._ready and not self.dirty:
            self.dirty = True
            self._wake()

    # Ends.

    def finish_stream(self, stream: Http2Stream) -> None:
        """The response is complete. A peer that is still sending is told to stop (8.1)."""
        self.guard.data_sent = True
        if not stream.remote_closed:
            self.append(frames.rst_stream_frame(stream.stream_id, ErrorCode.NO_ERROR))
            self._remember_cut(stream.stream_id)
        self._release(stream)

    def reset_stream(self, stream: Http2Stream, code: ErrorCode) -> None:
        """End a stream from our side without a status; its `aborted` is not called."""
        self._remember_cut(stream.stream_id)
        self.append(frames.rst_stream_frame(stream.stream_id, code))
        self._release(stream)

    def _remember_cut(self, stream_id: int) -> None:
        cut = self._cut_streams
        cut[stream_id] = None
        if len(cut) > REMEMBERED_CUT_STREAMS:
            del cut[next(iter(cut))]

    def _release(self, stream: Http2Stream) -> None:
        stream.released = True
        stream.queue = None
        self.queued_bytes -= stream.queued_bytes
        stream.queued_bytes = 0
        self.streams.pop(stream.stream_id, None)
        self._ready.pop(stream.stream_id, None)
        if self._draining and not self.streams:
            self._close_if_drained()

    def terminate(self, code: ErrorCode, debug: str) -> None:
        """End the connection with GOAWAY; every stream is aborted."""
        if not self.closing:
            self.append(
                frames.goaway_frame(self.last_stream_id, code, debug.encode()[:_MAX_DEBUG_BYTES])
            )
            self.close(self.limits.goaway_linger)

    def close(self, linger: float = 0.0) -> None:
        """Send nothing more than the frames made so far; every stream is aborted."""
        self.closing = True
        self.linger = linger
        for stream in list(self.streams.values()):
            if not stream.released:
                self._release(stream)
                stream.aborted()
        if not self.dirty:
            self.dirty = True
            self._wake()

    def drain(self, now: float) -> None:
        """Stop taking new streams, in the two steps of RFC 9113 6.8 that lose none."""
        if self._draining or self.closing:
            return
        self._draining = True
        self._drain_ping_at = now
        self.append(
            frames.goaway_frame(frames.MAX_STREAM_ID, ErrorCode.NO_ERROR, b"graceful_stop")
            + frames.ping_frame(DRAIN_PING)
        )

    def _finish_drain(self) -> None:
        self._drain_ping_at = None
        self.append(frames.goaway_frame(self.last_stream_id, ErrorCode.NO_ERROR, b"graceful_stop"))
        self._goaway_sent = True
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._goaway_sent and not self.streams:
            self.close(self.limits.keepalive_timeout or self.limits.goaway_linger)
