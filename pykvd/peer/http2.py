"""An HTTP/2 connection, client side, without I/O (RFC 9113), for gRPC calls to peers.

Bytes go in (`receive`), bytes come out (`take_output`); `wake` tells the driver that output waits.
A request is a `ClientStream`, and what becomes of it is told to its `Receiver`. Made for a few
long-lived streams: what matters is the cost of a message, not that of a request.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote

from pykvd.errors import Code
from pykvd.transport import frames, grpc
from pykvd.transport.frames import ErrorCode, Http2ConnectionError
from pykvd.transport.hpack import HeaderListTooLargeError, HpackDecoder, HpackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pykvd.peer.limits import PeerLimits
    from pykvd.transport.hpack import Field

MAX_HEADER_BLOCK_BYTES: Final = 32 << 10
"""One compressed header block over all its frames."""
KEEPALIVE_PING: Final = b"pykvd cl"

_RESET_CODES = {
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


class Receiver(Protocol):
    """What the owner of a stream wants to hear. Nothing is called after `closed`."""

    def accepted(self) -> None:
        """The response headers arrived."""

    def message_received(self, message: bytes) -> None:
        """One complete response message."""

    def writable(self) -> None:
        """A congested stream takes messages again."""

    def closed(self, code: int, text: str) -> None:
        """The stream is over: the server's status, or UNAVAILABLE for a lost connection."""


class ClientStream:
    """One request. Methods do nothing once it is `done`.

    `buffered` bytes wait for windows or the socket; above `stream_high_water` the stream is
    `congested` until `Receiver.writable`.
    """

    __slots__ = (
        "_accepted",
        "_connection",
        "_ended",
        "_partial",
        "_queue",
        "buffered",
        "congested",
        "done",
        "receive_window",
        "receiver",
        "send_window",
        "stream_id",
    )

    def __init__(self, connection: ClientConnection, stream_id: int, receiver: Receiver) -> None:
        self._connection = connection
        self.stream_id = stream_id
        self.receiver = receiver
        self.send_window = connection.initial_send_window
        self.receive_window = connection.limits.stream_window_bytes
        self.buffered = 0
        self.congested = self.done = False
        self._ended = self._accepted = False
        self._queue: deque[bytes | memoryview] = deque()
        self._partial = bytearray()

    def send(self, message: bytes) -> None:
        """Queue one message."""
        if self.done or self._ended:
            return
        framed = grpc.frame_message(message)
        self._queue.append(framed)
        self.buffered += len(framed)
        self.pump()
        if self.buffered > self._connection.limits.stream_high_water:
            self.congested = True

    def end(self) -> None:
        """No more messages will follow those queued."""
        if not self._ended and not self.done:
            self._ended = True
            if not self._queue:
                self._connection.append_data(self.stream_id, b"", frames.END_STREAM)

    def cancel(self) -> None:
        """Forget the request; `Receiver.closed` is not called."""
        if not self.done:
            self._connection.append(frames.rst_stream_frame(self.stream_id, ErrorCode.CANCEL))
            self._release()

    def pump(self) -> None:
        """Move queued bytes to the connection as far as windows and socket allow."""
        connection, queue = self._connection, self._queue
        while queue and connection.writable:
            quota = min(self.send_window, connection.send_window, connection.max_frame_size)
            if quota <= 0:
                return
            piece = queue.popleft()
            if len(piece) > quota:
                view = memoryview(piece)
                queue.appendleft(view[quota:])
                piece = view[:quota]
            size = len(piece)
            self.send_window -= size
            connection.send_window -= size
            self.buffered -= size
            last = self._ended and not queue
            connection.append_data(self.stream_id, piece, frames.END_STREAM if last else 0)

    def relieve(self) -> None:
        """Send what can be sent, and tell the receiver if there is room again."""
        if self._queue:
            self.pump()
        if self.congested and self.buffered <= self._connection.limits.stream_low_water:
            self.congested = False
            self.receiver.writable()

    # From the connection.

    def headers_received(self, fields: list[Field], *, ended: bool) -> None:
        """Response headers or trailers."""
        headers = {name: value for name, value, _ in fields}
        if ended:
            self._finish(headers)
        elif headers.get(":status", "200") != "200":
            self.fail(Code.UNAVAILABLE, f"unexpected HTTP status {headers[':status']}")
        elif not self._accepted:
            self._accepted = True
            self.receiver.accepted()

    def _finish(self, headers: dict[str, str]) -> None:
        try:
            code = int(headers["grpc-status"])
        except (KeyError, ValueError):
            status = headers.get(":status", "none")
            self.close(Code.UNKNOWN, f"no gRPC status; HTTP status {status}")
            return
        self.close(code, unquote(headers.get("grpc-message", "")))

    def data_received(self, data: bytes) -> None:
        """Cut the byte stream into messages."""
        partial = self._partial
        partial += data
        limit = self._connection.limits.max_message_bytes
        while len(partial) >= grpc.PREFIX_BYTES and not self.done:
            compressed, size = grpc.unpack_prefix(partial)
            if compressed or size > limit:
                self.fail(Code.RESOURCE_EXHAUSTED, f"unacceptable message of {size} bytes")
                return
            end = grpc.PREFIX_BYTES + size
            if len(partial) < end:
                return
            message = bytes(memoryview(partial)[grpc.PREFIX_BYTES : end])
            del partial[:end]
            self.receiver.message_received(message)

    def fail(self, code: int, text: str) -> None:
        """End the stream for a fault of the server's."""
        if not self.done:
            self._connection.append(frames.rst_stream_frame(self.stream_id, ErrorCode.CANCEL))
            self.close(code, text)

    def close(self, code: int, text: str) -> None:
        """The stream is over; tell its receiver."""
        if not self.done:
            self._release()
            self.receiver.closed(code, text)

    def _release(self) -> None:
        self.done = True
        self._queue.clear()
        self.buffered = 0
        self._connection.streams.pop(self.stream_id, None)


class ClientConnection:
    """The client's end of one connection. Not thread-safe.

    After `closing` is set there are no streams and nothing more is parsed or queued; the driver
    writes what is left and closes the socket.
    """

    def __init__(
        self,
        limits: PeerLimits,
        authority: str,
        wake: Callable[[], None],
        *,
        secure: bool = False,
    ) -> None:
        """`secure` tells the server that requests come over TLS."""
        self.limits = limits
        self.streams: dict[int, ClientStream] = {}
        self.closing = False
        self.writable = True
        self.send_window = frames.DEFAULT_WINDOW
        self.initial_send_window = frames.DEFAULT_WINDOW
        self.max_frame_size = frames.MIN_MAX_FRAME_SIZE
        self._authority = authority.encode()
        self._secure = secure
        self._wake = wake
        self._next_id = 1
        self._receive_window = limits.connection_window_bytes
        self._tail = bytearray()
        self._hpack = HpackDecoder(limits.max_header_list_bytes)
        self._block: bytearray | None = None
        self._block_stream = self._block_flags = 0
        self._out: list[bytes | memoryview] = [self._opening()]

    def _opening(self) -> bytes:
        settings = {
            frames.SETTINGS_ENABLE_PUSH: 0,
            frames.SETTINGS_INITIAL_WINDOW_SIZE: self.limits.stream_window_bytes,
            frames.SETTINGS_MAX_HEADER_LIST_SIZE: self.limits.max_header_list_bytes,
        }
        extra = self.limits.connection_window_bytes - frames.DEFAULT_WINDOW
        return (
            frames.CLIENT_PREFACE
            + frames.settings_frame(settings)
            + frames.window_update_frame(0, extra)
        )

    # Output.

    def request(
        self, path: str, metadata: Iterable[tuple[str, str]], receiver: Receiver
    ) -> ClientStream:
        """Open a stream; its messages follow by `send`. Not to be used after `closing`."""
        stream = ClientStream(self, self._next_id, receiver)
        self._next_id += 2
        self.streams[stream.stream_id] = stream
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"https" if self._secure else b"http"),
            (b":path", path.encode()),
            (b":authority", self._authority),
            (b"te", b"trailers"),
            (b"content-type", grpc.CONTENT_TYPE.encode()),
            *((name.encode(), value.encode()) for name, value in metadata),
        ]
        block = b"".join(grpc.literal_field(name, value) for name, value in fields)
        self.append(frames.headers_frame(stream.stream_id, block, end_stream=False))
        return stream

    def append(self, frame: bytes) -> None:
        """Queue one complete frame."""
        if not self.closing:
            self._out.append(frame)
            self._wake()

    def append_data(self, stream_id: int, payload: bytes | memoryview, flags: int) -> None:
        """Queue one DATA frame; the windows are already charged."""
        self._out += (frames.frame_header(len(payload), frames.DATA, flags, stream_id), payload)
        self._wake()

    def take_output(self) -> list[bytes | memoryview]:
        """Everything to write now."""
        out, self._out = self._out, []
        return out

    def set_writable(self, writable: bool) -> None:
        """The socket is full, or has room again."""
        self.writable = writable
        if writable:
            self._relieve_all()

    def _relieve_all(self) -> None:
        for stream in list(self.streams.values()):
            stream.relieve()

    def ping(self) -> None:
        """Ask the server for a sign of life."""
        self.append(frames.ping_frame(KEEPALIVE_PING))

    # Ends.

    def close(self, reason: str) -> None:
        """End all streams as UNAVAILABLE for this reason."""
        self.closing = True
        for stream in list(self.streams.values()):
            stream.close(Code.UNAVAILABLE, reason)

    def terminate(self, code: ErrorCode, debug: str) -> None:
        """The server broke a rule, or we are done with it."""
        if not self.closing:
            self.append(frames.goaway_frame(0, code, debug.encode()))
            self.close(debug)

    # Input.

    def receive(self, data: bytes) -> None:
        """Handle what the server sent."""
        if self.closing:
            return
        if self._tail:
            self._tail += data
            data = bytes(self._tail)
            self._tail.clear()
        try:
            self._parse(data)
        except Http2ConnectionError as fault:
            self.terminate(fault.code, fault.debug)
        except HpackError as fault:
            self.terminate(ErrorCode.COMPRESSION_ERROR, str(fault))

    def _parse(self, data: bytes) -> None:
        position, end = 0, len(data)
        while end - position >= frames.HEADER_BYTES and not self.closing:
            high, low, kind, flags, stream_id = frames.unpack_header(data, position)
            length = high << 8 | low
            if length > frames.MIN_MAX_FRAME_SIZE:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"frame of {length} bytes")
            start = position + frames.HEADER_BYTES
            if start + length > end:
                break
            position = start + length
            self._on_frame(kind, flags, stream_id & frames.MAX_STREAM_ID, data[start:position])
        self._tail += data[position:]

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and kind != frames.CONTINUATION:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "header block interrupted")
        handler = _HANDLERS.get(kind)
        if handler is not None:  # 5.5: unknown types are ignored
            handler(self, flags, stream_id, payload)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._receive_window -= len(payload)
        if self._receive_window < 0:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "connection window exceeded")
        full = self.limits.connection_window_bytes
        if self._receive_window < full // 2:
            self.append(frames.window_update_frame(0, full - self._receive_window))
            self._receive_window = full
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        stream.receive_window -= len(payload)
        if stream.receive_window < 0:
            stream.fail(Code.INTERNAL, "stream window exceeded")
            return
        stream.data_received(_unpadded(payload, flags))
        if flags & frames.END_STREAM:
            stream.close(Code.UNKNOWN, "stream ended without a gRPC status")
        elif not stream.done and stream.receive_window < self.limits.stream_window_bytes // 2:
            more = self.limits.stream_window_bytes - stream.receive_window
            self.append(frames.window_update_frame(stream_id, more))
            stream.receive_window += more

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        payload = _unpadded(payload, flags)
        if flags & frames.PRIORITY_FLAG:
            payload = payload[5:]
        self._block = bytearray(payload)
        self._block_stream, self._block_flags = stream_id, flags
        if flags & frames.END_HEADERS:
            self._end_block()

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or stream_id != self._block_stream:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "unexpected CONTINUATION")
        self._block += payload
        if len(self._block) > MAX_HEADER_BLOCK_BYTES or not payload:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & frames.END_HEADERS:
            self._end_block()

    def _end_block(self) -> None:
        assert self._block is not None
        block, self._block = bytes(self._block), None
        stream = self.streams.get(self._block_stream)
        try:
            fields = self._hpack.decode(block)  # even for a stream that is gone: it has state
        except HeaderListTooLargeError:
            if stream is not None:
                stream.fail(Code.RESOURCE_EXHAUSTED, "response headers too large")
            return
        if stream is not None:
            ended = bool(self._block_flags & frames.END_STREAM)
            stream.headers_received(fields, ended=ended)

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags
        _check_length(payload, 4)
        stream = self.streams.get(stream_id)
        if stream is not None:
            number = frames.read_uint32(payload, 0)
            code = next((value for key, value in _RESET_CODES.items() if key == number), None)
            stream.close(code or Code.INTERNAL, f"stream reset by the peer ({number})")

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        del stream_id
        if flags & frames.ACK:
            return
        if len(payload) % 6:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS length")
        for key, value in frames.iter_settings(payload):
            if key == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                self._set_initial_window(value)
            elif key == frames.SETTINGS_MAX_FRAME_SIZE:
                self.max_frame_size = min(value, 1 << 16)
        self.append(frames.SETTINGS_ACK)
        self._relieve_all()

    def _set_initial_window(self, value: int) -> None:
        """RFC 9113 6.9.2: open streams change by the difference."""
        if value > frames.MAX_WINDOW:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "initial window too large")
        for stream in self.streams.values():
            stream.send_window += value - self.initial_send_window
        self.initial_send_window = value

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        del stream_id
        _check_length(payload, 8)
        if not flags & frames.ACK:
            self.append(frames.ping_frame(payload, ack=True))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        """The server stops: nothing is gained by keeping our streams until it cuts them."""
        del flags, stream_id
        text = payload[8:].decode("utf-8", "replace")
        self.close(f"peer is going away: {text}" if text else "peer is going away")

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags
        _check_length(payload, 4)
        increment = frames.read_uint32(payload, 0) & frames.MAX_WINDOW
        if not stream_id:
            self.send_window += increment
            if self.send_window > frames.MAX_WINDOW:
                raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "window too large")
            self._relieve_all()
            return
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.send_window += increment
            stream.relieve()

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags, stream_id, payload
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE was disabled")


_HANDLERS: Final[dict[int, Callable[[ClientConnection, int, int, bytes], None]]] = {
    frames.DATA: ClientConnection._on_data,
    frames.HEADERS: ClientConnection._on_headers,
    frames.RST_STREAM: ClientConnection._on_rst_stream,
    frames.SETTINGS: ClientConnection._on_settings,
    frames.PUSH_PROMISE: ClientConnection._on_push_promise,
    frames.PING: ClientConnection._on_ping,
    frames.GOAWAY: ClientConnection._on_goaway,
    frames.WINDOW_UPDATE: ClientConnection._on_window_update,
    frames.CONTINUATION: ClientConnection._on_continuation,
}


def _check_length(payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"payload of {len(payload)} bytes")


def _unpadded(payload: bytes, flags: int) -> bytes:
    """Without the padding (6.1)."""
    if not flags & frames.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
    return payload[1 : len(payload) - payload[0]]
