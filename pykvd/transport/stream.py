"""One HTTP/2 stream on the server side: its windows and its queue of output.

The connection calls the hooks at the end of the class; the gRPC calls derive from it and send
through it. Output goes straight to the connection while windows and socket allow, and waits here
otherwise: bounded by what the service queues, which it can see in `queued_bytes`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pykvd.transport import frames

if TYPE_CHECKING:
    from pykvd.transport.connection import ServerConnection


class Http2Stream:
    """A request in progress.

    `released` is set when the connection has forgotten the stream; nothing is sent after that.
    Invariant: `queued_bytes` is the length of all pieces of `queue`; with `trailers` set nothing
    is queued any more.
    """

    __slots__ = (
        "connection",
        "queue",
        "queued_bytes",
        "reading_paused",
        "receive_window",
        "released",
        "remote_closed",
        "send_window",
        "stream_id",
        "trailers",
    )

    def __init__(self, connection: ServerConnection, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.send_window = connection.initial_send_window
        self.receive_window = connection.stream_window
        self.remote_closed = connection.opening_ended
        self.reading_paused = False
        self.released = False
        self.queue: deque[bytes | memoryview] | None = None
        self.queued_bytes = 0
        self.trailers: bytes | None = None
        connection.streams[stream_id] = self

    def send_header_block(self, block: bytes) -> None:
        """Send the response headers (they are not subject to flow control)."""
        self.connection.append(frames.headers_frame(self.stream_id, block, end_stream=False))

    def send_data(self, head: bytes, body: bytes) -> None:
        """Send `head + body` as DATA, now or when the peer's windows and the socket have room."""
        connection = self.connection
        size = len(head) + len(body)
        if (
            not self.queue
            and connection.writable
            and size <= self.send_window
            and size <= connection.send_window
            and size <= connection.max_frame_size
        ):
            self.send_window -= size
            connection.send_window -= size
            connection.append_data(self.stream_id, size, head, body)
            return
        if self.queue is None:
            self.queue = deque()
        if head:
            self.queue.append(head)
        if body:
            self.queue.append(body)
        self.queued_bytes += size
        connection.queued_bytes += size
        connection.schedule(self)

    def send_trailers(self, block: bytes) -> None:
        """End the response after everything queued."""
        self.trailers = block
        if not self.queue:
            self._end()

    def send_queued_frame(self) -> bool:
        """Move one DATA frame's worth from the queue to the connection.

        Whether more could follow now.
        """
        connection = self.connection
        assert self.queue is not None
        quota = min(self.send_window, connection.send_window, connection.max_frame_size)
        room = quota = min(quota, self.queued_bytes)
        parts: list[bytes | memoryview] = []
        while room:
            piece = self.queue[0]
            if len(piece) <= room:
                parts.append(self.queue.popleft())
                room -= len(piece)
            else:
                view = memoryview(piece)
                parts.append(view[:room])
                self.queue[0] = view[room:]
                room = 0
        self.send_window -= quota
        connection.send_window -= quota
        self.queued_bytes -= quota
        connection.queued_bytes -= quota
        connection.append_data(self.stream_id, quota, *parts)
        if not self.queue and self.trailers is not None:
            self._end()
        else:
            self.output_drained()
        return bool(self.queue) and self.send_window > 0

    def _end(self) -> None:
        assert self.trailers is not None
        self.connection.append(frames.headers_frame(self.stream_id, self.trailers, end_stream=True))
        self.connection.finish_stream(self)

    def may_send_more(self) -> bool:
        """Whether the peer is given receive window as it uses it up."""
        return not self.reading_paused

    def pause_reading(self) -> None:
        """Stop returning receive window for this stream."""
        self.reading_paused = True

    def resume_reading(self) -> None:
        """Return receive window again, at once if much of it is gone."""
        if self.reading_paused:
            self.reading_paused = False
            if not self.released and not self.remote_closed:
                self.connection.replenish_stream(self)

    # Hooks, called by the connection.

    def data_received(self, buffer: bytes, start: int, stop: int, ended: bool) -> None:
        """`buffer[start:stop]` arrived; `ended` when the peer will send no more."""
        raise NotImplementedError

    def output_drained(self) -> None:
        """Some of the queue was sent."""

    def aborted(self) -> None:
        """The stream is gone without our doing.

        Reset by the peer, broken rule, or connection lost.
        """
        raise NotImplementedError
