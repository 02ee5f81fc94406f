"""An HTTP/2 connection of a gRPC client, without I/O (RFC 9113).

Bytes go in (`receive`) and come out (`take_output`); whoever drives it writes the output after each
call of a method here. A `Call` gathers what the server says about one request. Not thread-safe.

It has two users. `pykvd.client.wire` makes many short calls of it, over sockets that threads or an
event loop share: they need to know which calls the server never looked at, to let those in progress
finish when the server goes away, and to wait while it admits no more streams. `pykvd.peer` keeps a
few streams between members that never end: for them the cost of a message counts, and they need to
know when windows and socket are full.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from pykvd.status import Code
from pykvd.transport import frames, grpc
from pykvd.transport.client_call import (
    Call,
    status_of_http,
    status_of_reset,
    status_of_trailers,
)
from pykvd.transport.frames import ErrorCode, Http2ConnectionError
from pykvd.transport.hpack import HeaderListTooLargeError, HpackDecoder, HpackError
from pykvd.transport.limits import ClientLimits
from pykvd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

Metadata = tuple[tuple[str, str], ...]

MAX_HEADER_BLOCK_BYTES: Final = 64 << 10
"""One compressed header block over all its frames."""
MAX_BLOCKS: Final = 256
"""Request header blocks, and decoded response blocks, that are remembered."""
PING: Final = b"pykvdcli"
_FAULT: Final = "the server broke a rule of HTTP/2"


DEFAULT_LIMITS: Final = ClientLimits()


class ClientConnection:
    """The client's end of one connection.

    `lost` says why it takes no calls any more (empty while it does); calls in progress may go on
    until `closed`, after which nothing is parsed or queued.
    """

    def __init__(
        self, authority: str, *, secure: bool = False, limits: ClientLimits = DEFAULT_LIMITS
    ) -> None:
        """`secure` tells the server that requests come over TLS."""
        self.calls: dict[int, Call] = {}
        """The opened calls that are not over, by stream."""
        self.lost = ""
        self.closed = False
        self.greeted = False
        """Whether the server has shown that it speaks HTTP/2."""
        self._limits = limits
        self._writable = True
        self._max_streams = frames.MAX_STREAM_ID  # 6.5.2: as long as the server names no number
        self._waiting: OrderedDict[Call, bytes] = OrderedDict()
        """Calls that are not opened yet, with their header blocks, oldest first."""
        self._authority = authority
        self._scheme = "https" if secure else "http"
        self._blocks: dict[tuple[str, Metadata, str], bytes] = {}
        self._decoded: dict[bytes, dict[str, str]] = {}
        self._hpack = HpackDecoder(limits.max_header_list_bytes)
        self._next_id = 1
        self._send_window = frames.DEFAULT_WINDOW
        self._initial_window = frames.DEFAULT_WINDOW
        self._receive_window = limits.connection_window_bytes
        self._max_frame = frames.MIN_MAX_FRAME_SIZE
        self._tail = b""
        self._block: bytearray | None = None
        self._block_stream = self._block_flags = 0
        self._out: list[bytes | memoryview] = [_opening(limits)]

    # Output.

    def start(self, path: str, metadata: Metadata, timeout: str) -> Call:
        """Make a call; `timeout` as `grpc-timeout` has it, empty for none. Not once `lost`.

        It is opened at once, or when as many others are over as the server wants.
        """
        block = self._blocks.get((path, metadata, timeout))
        if block is None:
            block = self._make_block(path, metadata, timeout)
        call = Call(self._limits.stream_window_bytes)
        if len(self.calls) < self._max_streams:
            self._open(call, block)
        else:
            self._waiting[call] = block
        return call

    def send(self, call: Call, message: bytes, *, last: bool = False) -> None:
        """Queue a message; does nothing once the call is over or its last message was queued."""
        if call.code is None and not call.ended:
            framed = grpc.frame_message(message)
            call.queue.append(framed)
            call.queued_bytes += len(framed)
            call.ended = last
            if call.stream_id:
                self._pump(call)
            if call.queued_bytes > self._limits.stream_high_water:
                call.congested = True

    def cancel(
        self, call: Call, text: str = "call was cancelled", code: int = Code.CANCELLED
    ) -> None:
        """End the call with this status and tell the server."""
        if call.code is None:
            self._reset(call, code, text)

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

    def set_writable(self, writable: bool) -> None:
        """The socket is full, or has room again; messages are held back meanwhile."""
        self._writable = writable
        if writable:
            self._relieve_all()

    def retire(self, reason: str) -> None:
        """Take no more calls; those in progress may go on, those that wait are refused."""
        self.lost = self.lost or reason
        while self._waiting:
            call, _ = self._waiting.popitem(last=False)
            self._over(call, Code.UNAVAILABLE, self.lost, refused=True)

    def terminate(self, code: ErrorCode, text: str, reason: str) -> None:
        """Take leave of the server with a code and a text, and close."""
        self._append(frames.goaway_frame(0, code, text.encode()))
        self.close(reason)

    def cancel_all(self, reason: str) -> None:
        """End all calls as CANCELLED."""
        for call in [*self._waiting, *self.calls.values()]:
            self.cancel(call, reason)

    def close(self, reason: str) -> None:
        """No more bytes will come or go: end all calls as UNAVAILABLE."""
        self.retire(reason)
        self.closed = True
        while self.calls:  # whoever hears of it may end others
            self._end(next(iter(self.calls.values())), Code.UNAVAILABLE, reason)

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

    def _open(self, call: Call, block: bytes) -> None:
        call.stream_id = self._next_id
        call.send_window = self._initial_window
        self._next_id += 2
        self.calls[call.stream_id] = call
        self._out.append(frames.headers_frame(call.stream_id, block, end_stream=False))
        if self._next_id > frames.MAX_STREAM_ID:
            self.retire("out of stream ids")

    def _open_waiting(self) -> None:
        while self._waiting and len(self.calls) < self._max_streams:
            call, block = self._waiting.popitem(last=False)
            self._open(call, block)
            self._relieve(call)
            call.changed()

    def _pump(self, call: Call) -> None:
        """Move queued bytes out as far as windows and socket allow."""
        queue = call.queue
        while queue and self._writable:
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
            call.queued_bytes -= size
            flags = frames.END_STREAM if call.ended and not queue else 0
            self._out += (frames.frame_header(size, frames.DATA, flags, call.stream_id), piece)

    def _relieve(self, call: Call) -> None:
        """Send what can be sent, and tell if there is room again."""
        if call.queue:
            self._pump(call)
        if call.congested and call.queued_bytes <= self._limits.stream_low_water:
            call.congested = False
            call.changed()

    def _relieve_all(self) -> None:
        for call in list(self.calls.values()):
            if call.queue:
                self._relieve(call)

    def _open_window(self, call: Call) -> None:
        """Let the server send more, unless enough waits to be read."""
        window, full = call.receive_window, self._limits.stream_window_bytes
        if window < full // 2 and call.unread_bytes < full and call.code is None:
            self._append(frames.window_update_frame(call.stream_id, full - window))
            call.receive_window = full

    def _reset(self, call: Call, code: int, text: str) -> None:
        if call.stream_id:
            self._append(frames.rst_stream_frame(call.stream_id, ErrorCode.CANCEL))
            self._end(call, code, text)
        else:
            del self._waiting[call]
            self._over(call, code, text, refused=True)

    def _end(self, call: Call, code: int, text: str, *, refused: bool = False) -> None:
        """An opened call is over; another one may take its place."""
        del self.calls[call.stream_id]
        self._over(call, code, text, refused=refused)
        if self._waiting:
            self._open_waiting()

    def _over(self, call: Call, code: int, text: str, *, refused: bool) -> None:
        call.code, call.text, call.refused = code, text, refused
        call.queue.clear()
        call.queued_bytes = 0
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
            self.terminate(fault.code, fault.debug, f"{_FAULT}: {fault.debug}")
        except HpackError as fault:
            self.terminate(ErrorCode.COMPRESSION_ERROR, str(fault), f"{_FAULT}: {fault}")

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
        full = self._limits.connection_window_bytes
        if self._receive_window < full // 2:
            self._append(frames.window_update_frame(0, full - self._receive_window))
            self._receive_window = full
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
            if size > self._limits.max_message_bytes:
                text = f"unacceptable message of {size} bytes"
                self._reset(call, Code.RESOURCE_EXHAUSTED, text)
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
            self._end(call, *status_of_trailers(headers))
        elif headers.get(":status", "200") != "200":
            status = headers[":status"]
            self._reset(call, status_of_http(status), f"unexpected HTTP status {status}")
        elif not call.accepted:
            call.accepted = True
            call.changed()

    def _decode(self, block: bytes) -> dict[str, str]:
        """The fields; a block that left the decoder's table alone will mean the same again."""
        changes = self._hpack.changes
        headers = {name: value for name, value, _ in self._hpack.decode(block)}
        if self._hpack.changes != changes or len(self._decoded) >= MAX_BLOCKS:
            self._decoded.clear()
        else:
            self._decoded[block] = headers
        return headers

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags
        _check_length(payload, 4)
        call = self.calls.get(stream_id)
        if call is None:
            return
        number = frames.read_uint32(payload, 0)
        refused = number == ErrorCode.REFUSED_STREAM  # 8.7: not processed at all
        text = f"stream reset by the server ({number})"
        self._end(call, status_of_reset(number), text, refused=refused)

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
            elif key == frames.SETTINGS_MAX_CONCURRENT_STREAMS:
                self._max_streams = value
        self._append(frames.SETTINGS_ACK)
        self._relieve_all()
        self._open_waiting()

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
        self.retire(self.lost)
        for call in [call for call in self.calls.values() if call.stream_id > last]:
            if call.code is None:
                self._end(call, Code.UNAVAILABLE, self.lost, refused=True)

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        del flags
        _check_length(payload, 4)
        increment = frames.read_uint32(payload, 0) & frames.MAX_WINDOW
        if not stream_id:
            self._send_window += increment
            if self._send_window > frames.MAX_WINDOW:
                raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "window too large")
            self._relieve_all()
            return
        call = self.calls.get(stream_id)
        if call is not None:
            call.send_window += increment
            self._relieve(call)

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


def _opening(limits: ClientLimits) -> bytes:
    settings = {
        frames.SETTINGS_ENABLE_PUSH: 0,
        frames.SETTINGS_INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
        frames.SETTINGS_MAX_HEADER_LIST_SIZE: limits.max_header_list_bytes,
    }
    extra = limits.connection_window_bytes - frames.DEFAULT_WINDOW
    update = frames.window_update_frame(0, extra)
    return frames.CLIENT_PREFACE + frames.settings_frame(settings) + update


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
