"""An HTTP/2 connection of a gRPC client, without I/O (RFC 9113): many short calls, and long ones.

Bytes go in (`receive`) and come out (`take_output`); whoever drives it writes the output after each
call of a method here. A `Call` gathers what the server says about one request; its `changed` is
called whenever there is something new. Not thread-safe.

The peer service has a client of its own (`pykvd.peer.http2`) for a few streams that never end. What
this one adds is what callers of a database need: it knows which calls the server never looked at,
lets those in progress finish when the server goes away, and holds back a server whose messages
nobody reads.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from pykvd.status import Code
from pykvd.transport import frames, grpc
from pykvd.transport.frames import ErrorCode, Http2ConnectionError
from pykvd.transport.hpack import HeaderListTooLargeError, HpackDecoder, HpackError
from pykvd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.client.transport import Metadata

STREAM_WINDOW_BYTES: Final = 4 << 20
"""What a server may send on a stream ahead of its reader."""
CONNECTION_WINDOW_BYTES: Final = 64 << 20
"""The same for all streams together; above what a few slow readers can hold."""
MAX_HEADER_LIST_BYTES: Final = 64 << 10
MAX_HEADER_BLOCK_BYTES: Final = 64 << 10
MAX_BLOCKS: Final = 256
"""Request header blocks, and decoded response blocks, that are remembered."""
PING: Final = b"pykvdcli"

_RESETS = {
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}
# grpc/grpc doc/http-grpc-status-mapping.md
_HTTP_STATUS = {
    "400": Code.INTERNAL,
    "401": Code.UNAUTHENTICATED,
    "403": Code.PERMISSION_DENIED,
    "404": Code.UNIMPLEMENTED,
    "429": Code.UNAVAILABLE,
    "502": Code.UNAVAILABLE,
    "503": Code.UNAVAILABLE,
    "504": Code.UNAVAILABLE,
}


def unheard() -> None:
    """What `Call.changed` is while nobody waits."""


class Call:
    """One request. It is over once `code` is set: 0 for OK, else see `text`.

    `refused` tells that the server did not look at it. `messages` may still be taken when it is
    over. `partial` is the beginning of the next message.
    """

    __slots__ = (
        "changed",
        "code",
        "ended",
        "messages",
        "partial",
        "queue",
        "receive_window",
        "refused",
        "send_window",
        "stream_id",
        "text",
        "unread_bytes",
    )

    def __init__(self, stream_id: int, send_window: int) -> None:
        self.stream_id = stream_id
        self.send_window = send_window
        self.receive_window = STREAM_WINDOW_BYTES
        self.queue: deque[bytes | memoryview] = deque()
        self.ended = False
        self.messages: deque[bytes] = deque()
        self.partial = bytearray()
        self.unread_bytes = 0
        self.code: int | None = None
        self.text = ""
        self.refused = False
        self.changed: Callable[[], None] = unheard


class ClientConnection:
    """The client's end of one connection.

    `lost` says why it takes no calls any more (empty while it does); calls in progress may go on
    until `closed`, after which nothing is parsed or queued.
    """

    def __init__(self, authority: str, *, secure: bool = False) -> None:
        self.calls: dict[int, Call] = {}
        self.lost = ""
        self.closed = False
        self.greeted = False
        """Whether the server has shown that it speaks HTTP/2."""
        self._authority = authority
        self._scheme = "https" if secure else "http"
        self._blocks: dict[tuple[str, Metadata, str], bytes] = {}
        self._decoded: dict[bytes, dict[str, str]] = {}
        self._hpack = HpackDecoder(MAX_HEADER_LIST_BYTES)
        self._next_id = 1
        self._send_window = frames.DEFAULT_WINDOW
        self._initial_window = frames.DEFAULT_WINDOW
        self._receive_window = CONNECTION_WINDOW_BYTES
        self._max_frame = frames.MIN_MAX_FRAME_SIZE
        self._tail = b""
        self._block: bytearray | None = None
        self._block_stream = self._block_flags = 0
        self._out: list[bytes | memoryview] = [_opening()]

    # Output.

    def start(self, path: str, metadata: Metadata, timeout: str) -> Call:
        """Open a call; `timeout` as `grpc-timeout` has it, empty for none. Not once `lost`."""
        block = self._blocks.get((path, metadata, timeout))
        if block is None:
            block = self._make_block(path, metadata, timeout)
        call = Call(self._next_id, self._initial_window)
        self._next_id += 2
        self.calls[call.stream_id] = call
        self._out.append(frames.headers_frame(call.stream_id, block, end_stream=False))
        if self._next_id > frames.MAX_STREAM_ID:
            self.lost = "out of stream ids"
        return call

    def send(self, call: Call, message: bytes, *, last: bool = False) -> None:
        """Queue a message; does nothing once the call is over or its last message was queued."""
        if call.code is None and not call.ended:
            call.queue.append(grpc.frame_message(message))
            call.ended = last
            self._pump(call)

    def cancel(self, call: Call, text: str = "call was cancelled") -> None:
        """End the call as CANCELLED."""
        if call.code is None:
            self._reset(call, Code.CANCELLED, text)

    def take(self, call: Call) -> bytes:
        """The oldest message, of which there must be one; makes room for more."""
        message = call.messages.popleft()
        call.unread_bytes -= len(message)
        self._open_window(call)
        return message

    def ping(self) -> None:
        """Ask the server for a sign of life."""
        self._append(frames.ping_frame(PING))

    def take_output(self) -> list[bytes | memoryview]:
        """Everything to write now."""
        out, self._out = self._out, []
        return out

    def close(self, reason: str) -> None:
        """No more bytes will come or go: end all calls as UNAVAILABLE."""
        self.lost = self.lost or reason
        self.closed = True
        for call in list(self.calls.values()):
            self._end(call, Code.UNAVAILABLE, reason)

    def _append(self, frame: bytes) -> None:
        if not self.closed:
            self._out.append(frame)

    def _make_block(self, path: str, metadata: Metadata, timeout: str) -> bytes:
        fields = [
            (":method", "POST"),
            (":scheme", self._scheme),
            (":path", path),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", grpc.CONTENT_TYPE),
            ("user-agent", f"pykvd/{VERSION}"),
        ]
        if timeout:
            fields.append(("grpc-timeout", timeout))
        fields += metadata
        block = b"".join(grpc.literal_field(name.encode(), text.encode()) for name, text in fields)
        if len(self._blocks) >= MAX_BLOCKS:
            self._blocks.clear()
        self._blocks[path, metadata, timeout] = block
        return block

    def _pump(self, call: Call) -> None:
        """Move queued bytes out as far as the windows allow."""
        queue = call.queue
        while queue:
            quota = min(call.send_window, self._send_window, self._max_frame)
            if quota <= 0:
                return
            piece = queue.popleft()
            if len(piece) > quota:
                view = memoryview(piece)
                queue.appendleft(view[quota:])
                piece = view[:quota]
            size = len(piece)
            call.send_window -= size
            self._send_window -= size
            flags = frames.END_STREAM if call.ended and not queue else 0
            self._out += (frames.frame_header(size, frames.DATA, flags, call.stream_id), piece)

    def _pump_all(self) -> None:
        for call in list(self.calls.values()):
            if call.queue:
                self._pump(call)

    def _open_window(self, call: Call) -> None:
        """Let the server send more, unless enough waits to be read."""
        window = call.receive_window
        if (
            window < STREAM_WINDOW_BYTES // 2
            and call.unread_bytes < STREAM_WINDOW_BYTES
            and call.code is None
        ):
            self._append(frames.window_update_frame(call.stream_id, STREAM_WINDOW_BYTES - window))
            call.receive_window = STREAM_WINDOW_BYTES

    def _reset(self, call: Call, code: int, text: str) -> None:
        self._append(frames.rst_stream_frame(call.stream_id, ErrorCode.CANCEL))
        self._end(call, code, text)

    def _end(self, call: Call, code: int, text: str, *, refused: bool = False) -> None:
        del self.calls[call.stream_id]
        call.code, call.text, call.refused = code, text, refused
        call.queue.clear()
        call.changed()

    # Input.

    def receive(self, data: bytes) -> None:
        """Handle what the server sent."""
        if self.closed:
            return
        if self._tail:
            data = self._tail + data
        try:
            self._tail = data[self._parse(data) :]
        except Http2ConnectionError as fault:
            self._fault(fault.code, fault.debug)
        except HpackError as fault:
            self._fault(ErrorCode.COMPRESSION_ERROR, str(fault))

    def _fault(self, code: ErrorCode, text: str) -> None:
        self._append(frames.goaway_frame(0, code, text.encode()))
        self.close(f"the server broke a rule of HTTP/2: {text}")

    def _parse(self, data: bytes) -> int:
        """Handle all complete frames; the position behind them."""
        position, end = 0, len(data)
        while end - position >= frames.HEADER_BYTES:
            high, low, kind, flags, stream_id = frames.unpack_header(data, position)
            length = high << 8 | low
            if length > frames.MIN_MAX_FRAME_SIZE:
                # Also what an HTTP/1.1 answer or a TLS alert looks like.
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"frame of {length} bytes")
            start = position + frames.HEADER_BYTES
            if start + length > end:
                break
            position = start + length
            self._on_frame(kind, flags, stream_id & frames.MAX_STREAM_ID, data[start:position])
        return position

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self.greeted and (kind != frames.SETTINGS or flags & frames.ACK):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "no SETTINGS at the start")
        if self._block is not None and kind != frames.CONTINUATION:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "header block interrupted")
        handler = _HANDLERS.get(kind)
        if handler is not None:  # 5.5: unknown types are ignored
            handler(self, flags, stream_id, payload)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._receive_window -= size
        if self._receive_window < 0:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "connection window exceeded")
        if self._receive_window < CONNECTION_WINDOW_BYTES // 2:
            more = CONNECTION_WINDOW_BYTES - self._receive_window
            self._append(frames.window_update_frame(0, more))
            self._receive_window = CONNECTION_WINDOW_BYTES
        call = self.calls.get(stream_id)
        if call is None:
            return
        call.receive_window -= size
        if call.receive_window < 0:
            self._reset(call, Code.INTERNAL, "stream window exceeded")
            return
        self._gather(call, _unpadded(payload, flags))
        if call.code is not None:
            return
        if flags & frames.END_STREAM:
            self._end(call, Code.UNKNOWN, "stream ended without a gRPC status")
        else:
            self._open_window(call)

    def _gather(self, call: Call, data: bytes) -> None:
        """Cut the byte stream into messages."""
        partial = call.partial
        partial += data
        found = False
        while len(partial) >= grpc.PREFIX_BYTES:
            compressed, size = grpc.unpack_prefix(partial)
            if compressed:
                self._reset(call, Code.INTERNAL, "message compressed without being asked")
                return
            end = grpc.PREFIX_BYTES + size
            if len(partial) < end:
                break
            call.messages.append(bytes(memoryview(partial)[grpc.PREFIX_BYTES : end]))
            call.unread_bytes += size
            del partial[:end]
            found = True
        if found:
            call.changed()

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        payload = _unpadded(payload, flags)
        if flags & frames.PRIORITY_FLAG:
            payload = payload[5:]
        self._block_stream, self._block_flags = stream_id, flags
        if flags & frames.END_HEADERS:
            self._end_block(payload)
        else:
            self._block = bytearray(payload)

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or stream_id != self._block_stream:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "unexpected CONTINUATION")
        self._block += payload
        if len(self._block) > MAX_HEADER_BLOCK_BYTES or not payload:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & frames.END_HEADERS:
            block, self._block = bytes(self._block), None
            self._end_block(block)

    def _end_block(self, block: bytes) -> None:
        call = self.calls.get(self._block_stream)
        headers = self._decoded.get(block)
        if headers is None:
            try:
                headers = self._decode(block)
            except HeaderListTooLargeError:
                if call is not None:
                    self._reset(call, Code.RESOURCE_EXHAUSTED, "response headers too large")
                return
        if call is None:
            return
        if self._block_flags & frames.END_STREAM:
            self._finish(call, headers)
        elif headers.get(":status", "200") != "200":
            status = headers[":status"]
            code = _HTTP_STATUS.get(status, Code.UNKNOWN)
            self._reset(call, code, f"unexpected HTTP status {status}")

    def _decode(self, block: bytes) -> dict[str, str]:
        """The fields; a block that left the decoder's table alone will mean the same again."""
        changes = self._hpack.changes
        headers = {name: value for name, value, _ in self._hpack.decode(block)}
        if self._hpack.changes != changes or len(self._decoded) >= MAX_BLOCKS:
            self._decoded.clear()
        else:
            self._decoded[block] = headers
        return headers

    def _finish(self, call: Call, headers: dict[str, str]) -> None:
        try:
            code = int(headers["grpc-status"])
        except (KeyError, ValueError):
            status = headers.get(":status", "none")
            code = _HTTP_STATUS.get(status, Code.UNKNOWN)
            self._end(call, code, f"no gRPC status; HTTP status {status}")
            return
        self._end(call, code, unquote(headers.get("grpc-message", "")))

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags
        _check_length(payload, 4)
        call = self.calls.get(stream_id)
        if call is None:
            return
        number = frames.read_uint32(payload, 0)
        code = next((code for key, code in _RESETS.items() if key == number), Code.INTERNAL)
        refused = number == ErrorCode.REFUSED_STREAM  # 8.7: not processed at all
        self._end(call, code, f"stream reset by the server ({number})", refused=refused)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        del stream_id
        if flags & frames.ACK:
            return
        if len(payload) % 6:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS length")
        self.greeted = True
        for key, value in frames.iter_settings(payload):
            if key == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                self._set_initial_window(value)
            elif key == frames.SETTINGS_MAX_FRAME_SIZE:
                self._max_frame = min(value, 1 << 16)
        self._append(frames.SETTINGS_ACK)
        self._pump_all()

    def _set_initial_window(self, value: int) -> None:
        """RFC 9113 6.9.2: open streams change by the difference."""
        if value > frames.MAX_WINDOW:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "initial window too large")
        for call in self.calls.values():
            call.send_window += value - self._initial_window
        self._initial_window = value

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        del stream_id
        _check_length(payload, 8)
        if not flags & frames.ACK:
            self._append(frames.ping_frame(payload, ack=True))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        """6.8: calls above the last id were not processed; the others may still be answered."""
        del flags, stream_id
        if len(payload) < 8:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY length")
        last = frames.read_uint32(payload, 0) & frames.MAX_STREAM_ID
        text = payload[8:].decode("utf-8", "replace")
        self.lost = f"the server is going away: {text}" if text else "the server is going away"
        for call in [call for call in self.calls.values() if call.stream_id > last]:
            self._end(call, Code.UNAVAILABLE, self.lost, refused=True)

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags
        _check_length(payload, 4)
        increment = frames.read_uint32(payload, 0) & frames.MAX_WINDOW
        if not stream_id:
            self._send_window += increment
            if self._send_window > frames.MAX_WINDOW:
                raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "window too large")
            self._pump_all()
            return
        call = self.calls.get(stream_id)
        if call is not None:
            call.send_window += increment
            self._pump(call)

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


def _opening() -> bytes:
    settings = {
        frames.SETTINGS_ENABLE_PUSH: 0,
        frames.SETTINGS_INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
        frames.SETTINGS_MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
    }
    extra = CONNECTION_WINDOW_BYTES - frames.DEFAULT_WINDOW
    update = frames.window_update_frame(0, extra)
    return frames.CLIENT_PREFACE + frames.settings_frame(settings) + update


def timeout_text(seconds: float) -> str:
    """`grpc-timeout`, rounded up to a tenth of a second.

    Servers remember header blocks, so few different values are better than exact ones; the client
    keeps the exact deadline itself.
    """
    return f"{max(1, min(-int(-seconds * 10 // 1), 999_999)) * 100}m"


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
