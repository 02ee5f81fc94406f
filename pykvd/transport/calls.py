"""gRPC calls on HTTP/2 streams: what a `Call` and a `Stream` of the contract are made of.

`UnaryCall` answers the usual case (one DATA frame in, one reply that fits the windows) without any
intermediate object; everything else goes through the queue of `Http2Stream`. A handler's exception
never leaves this module.
"""

from __future__ import annotations

import logging
from struct import Struct
from typing import TYPE_CHECKING, cast

from pykvd.status import Code, RpcError
from pykvd.transport import frames, grpc
from pykvd.transport.frames import ErrorCode
from pykvd.transport.stream import Http2Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pykvd.transport.connection import ServerConnection
    from pykvd.transport.deadlines import Slot
    from pykvd.transport.request import RequestHead
    from pykvd.transport.service import StreamHandler, StreamReceiver

DEADLINE_TEXT = "context deadline exceeded"
INTERNAL_TEXT = "internal error"
#: A shorter time was over before its request was read, in seconds; such calls never begin.
INSTANT_S = 1e-6

_logger = logging.getLogger("pykvd.transport")

_unpack_prefix = grpc.unpack_prefix
_pack_uint32 = Struct(">L").pack

# HEADERS frame with RESPONSE_BLOCK, then the header of the DATA frame and the message prefix: all
# before the message.
_HEAD_START = frames.frame_header(len(grpc.RESPONSE_BLOCK), frames.HEADERS, frames.END_HEADERS, 0)[
    :5
]
_pack_reply_head = Struct(f">5sL{len(grpc.RESPONSE_BLOCK)}sHBHLBL").pack
_TRAILER_START = frames.frame_header(
    len(grpc.OK_TRAILER_BLOCK), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 0
)[:5]
_RESPONSE_BLOCK = grpc.RESPONSE_BLOCK
_OK_TRAILER_BLOCK = grpc.OK_TRAILER_BLOCK


class GrpcStream(Http2Stream):
    """What unary and streaming calls share: deadline, message assembly, status.

    `done` is set once the outcome is decided; trailers may still wait behind queued messages.
    """

    __slots__ = ("_headers_sent", "_partial", "deadline", "done", "head", "slot")

    def __init__(
        self, connection: ServerConnection, stream_id: int, head: RequestHead, timeout: str | None
    ) -> None:
        # Http2Stream's fields are set here rather than by super(): this runs for every call.
        self.connection = connection
        self.stream_id = stream_id
        self.send_window = connection.initial_send_window
        self.receive_window = connection.stream_window
        self.remote_closed = connection.opening_ended
        self.reading_paused = self.released = False
        self.queue = None
        self.queued_bytes = 0
        self.trailers = None
        connection.streams[stream_id] = self

        self.head = head
        head.counts.started += 1
        self.done = self._headers_sent = False
        self._partial: bytearray | None = None
        self.slot: Slot | None = None
        if timeout is None:
            self.deadline: float | None = None
        else:
            self._start_deadline(timeout)

    def _start_deadline(self, timeout: str) -> None:
        try:
            seconds = grpc.parse_timeout(timeout)
        except ValueError:
            self.deadline = None
            self._end_with(Code.INTERNAL, f"malformed grpc-timeout: {timeout!r}")
            return
        connection = self.connection
        self.deadline = connection.now + seconds
        if seconds < INSTANT_S:
            self._end_with(Code.DEADLINE_EXCEEDED, DEADLINE_TEXT)
        else:
            connection.deadlines.add(self, self.deadline, connection.now)

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """As `Call.metadata`."""
        return self.head.metadata

    @property
    def peer(self) -> str:
        """As `Call.peer`."""
        return self.connection.peer

    @property
    def common_name(self) -> str:
        """As `Call.common_name`."""
        return self.connection.common_name

    def deadline_passed(self) -> None:
        """The client has stopped waiting."""
        if self.done:
            # The answer is queued behind closed windows: it comes too late.
            if not self.released:
                self.connection.reset_stream(self, ErrorCode.CANCEL)
            return
        self._end_with(Code.DEADLINE_EXCEEDED, DEADLINE_TEXT)
        self._abandoned()

    def aborted(self) -> None:
        """Reset by the client, or connection lost."""
        self._forget()
        if not self.done:
            self.done = True
            self._note_end(Code.CANCELLED)
            self._abandoned()

    def _note_end(self, code: int) -> None:
        self.head.counts.ended(code)

    def _abandoned(self) -> None:
        """Tell the service that the call ended without its doing."""
        raise NotImplementedError

    def _forget(self) -> None:
        if self.slot is not None:
            self.slot.pop(self, None)
            self.slot = None
        if self._partial is not None:
            self.connection.buffered_request_bytes -= len(self._partial)
            self._partial = None

    def _end_with(self, code: int, text: str) -> None:
        """Decide the outcome and send it: trailers, or a trailers-only response."""
        self.done = True
        self._note_end(code)
        if self.released:
            return
        if self._headers_sent:
            self.send_trailers(grpc.trailer_block(code, text))
        else:
            self.send_trailers(grpc.trailers_only_block(code, text))
        if self.released:
            self._forget()

    def output_drained(self) -> None:
        """Nothing to do for a unary call."""

    def _guarded(self, function: Callable[..., object], *arguments: object) -> None:
        """Run the service's code; what it raises becomes the call's status."""
        try:
            function(*arguments)
        except RpcError as error:
            self._fail_from_handler(error.code, error.message)
        except Exception:
            _logger.exception("handler of %s failed", self.head.path)
            self._fail_from_handler(Code.UNKNOWN, INTERNAL_TEXT)

    def _fail_from_handler(self, code: int, text: str) -> None:
        if not self.done:
            self._end_with(code, text)

    # Message assembly.

    def data_received(self, buffer: bytes, start: int, stop: int, ended: bool) -> None:
        """Cut the byte stream into messages."""
        if self.done:
            return
        try:
            self._assemble(buffer, start, stop)
            if ended and not self.done:
                self._check_nothing_left()
                self._input_ended()
        except RpcError as error:
            self._reject_input(error)

    def _check_nothing_left(self) -> None:
        if self._partial:
            raise RpcError(Code.INTERNAL, "grpc: unexpected EOF in a message")

    def _assemble(self, buffer: bytes, start: int, stop: int) -> None:
        connection = self.connection
        source: bytes | bytearray = buffer
        partial = self._partial
        if partial:
            connection.buffered_request_bytes += stop - start
            partial += memoryview(buffer)[start:stop]
            source, start, stop = partial, 0, len(partial)
        limit = connection.max_message_bytes
        while stop - start >= grpc.PREFIX_BYTES:
            compressed, size = _unpack_prefix(source, start)
            if size > limit:
                raise grpc.message_too_large(size, limit)
            if compressed > 1:
                raise RpcError(
                    Code.INTERNAL, f"grpc: received unexpected payload format {compressed}"
                )
            first = start + grpc.PREFIX_BYTES
            if first + size > stop:
                break
            start = first + size
            message = bytes(memoryview(source)[first:start])
            if compressed:
                message = grpc.decompress(message, self.head.encoding, limit)
            self._message(message)
            if self.done:
                return
        self._keep(source, start, stop)

    def _keep(self, source: bytes | bytearray, start: int, stop: int) -> None:
        """Keep the incomplete rest for the next frame."""
        connection = self.connection
        if isinstance(source, bytearray):
            if start:
                del source[:start]
                connection.buffered_request_bytes -= start
        elif start < stop:
            self._partial = bytearray(memoryview(source)[start:stop])
            connection.buffered_request_bytes += stop - start
        if connection.buffered_request_bytes > connection.limits.max_buffered_request_bytes:
            raise RpcError(
                Code.RESOURCE_EXHAUSTED, "grpc: too many incomplete messages on the connection"
            )

    def _message(self, message: bytes) -> None:
        raise NotImplementedError

    def _input_ended(self) -> None:
        raise NotImplementedError

    def _reject_input(self, error: RpcError) -> None:
        """The client's bytes are unusable: answer, and tell the service if it knows of the call."""
        if not self.done:
            self._end_with(error.code, error.message)


class UnaryCall(GrpcStream):
    """A unary call (see `service.Call`)."""

    __slots__ = ("_request", "on_done")

    def __init__(
        self, connection: ServerConnection, stream_id: int, head: RequestHead, timeout: str | None
    ) -> None:
        self.on_done: Callable[[], None] | None = None
        self._request: bytes | None = None
        super().__init__(connection, stream_id, head, timeout)

    def data_received(self, buffer: bytes, start: int, stop: int, ended: bool) -> None:
        """The whole request in one frame, or else piece by piece."""
        if ended and self._partial is None and self._request is None and stop - start >= 5:
            compressed, size = _unpack_prefix(buffer, start)
            if (
                size == stop - start - 5
                and not compressed
                and size <= self.connection.max_message_bytes
                and not self.done
            ):
                self._dispatch(buffer[start + 5 : stop])
                return
        super().data_received(buffer, start, stop, ended)

    def _message(self, message: bytes) -> None:
        if self._request is not None:
            raise RpcError(Code.INTERNAL, "grpc: second message in a unary request")
        self._request = message
        # It waits for END_STREAM, so it counts like an incomplete one.
        self.connection.buffered_request_bytes += len(message)

    def _input_ended(self) -> None:
        if self._request is None:
            raise RpcError(Code.INTERNAL, "grpc: no message in a unary request")
        request = self._request
        self._drop_request()
        self._dispatch(request)

    def _drop_request(self) -> None:
        if self._request is not None:
            self.connection.buffered_request_bytes -= len(self._request)
            self._request = None

    def _forget(self) -> None:
        self._drop_request()
        super()._forget()

    def _dispatch(self, message: bytes) -> None:
        try:
            reply = self.head.target(self, message)
        except RpcError as error:
            self.fail(error.code, error.message)
        except Exception:
            _logger.exception("handler of %s failed", self.head.path)
            self.fail(Code.UNKNOWN, INTERNAL_TEXT)
        else:
            if reply is not None:
                self.reply(reply)

    def reply(self, message: bytes) -> None:
        """As `Call.reply`."""
        if self.done:
            return
        self.done = True
        self.head.counts.ok += 1
        connection = self.connection
        length = len(message)
        size = length + 5
        if (
            size > self.send_window
            or size > connection.send_window
            or size > connection.max_frame_size
            or not connection.writable
            or not self.remote_closed
        ):
            self._reply_slowly(message)
            return
        stream_id = self.stream_id
        connection.append_response(
            self,
            size,
            _pack_reply_head(
                _HEAD_START,
                stream_id,
                _RESPONSE_BLOCK,
                size >> 8,
                size & 255,
                0,
                stream_id,
                0,
                length,
            ),
            message,
            _TRAILER_START + _pack_uint32(stream_id) + _OK_TRAILER_BLOCK,
        )
        if self.slot is not None:
            self.slot.pop(self, None)

    def _reply_slowly(self, message: bytes) -> None:
        """A reply that does not fit a frame, a window or the socket now."""
        self._send_reply(grpc.RESPONSE_BLOCK, b"\x00" + _pack_uint32(len(message)), message)

    def _send_reply(self, headers: bytes, prefix: bytes, message: bytes) -> None:
        if self.released:
            return
        self.send_header_block(headers)
        self.send_data(prefix, message)
        self.send_trailers(grpc.OK_TRAILER_BLOCK)
        if self.released:
            self._forget()

    def output_drained(self) -> None:
        """Give the deadline slot back as soon as all is sent."""
        if self.released:
            self._forget()

    def fail(self, code: int, message: str) -> None:
        """As `Call.fail`."""
        if not self.done:
            self._end_with(code, message)

    def _abandoned(self) -> None:
        if self.on_done is not None:
            callback, self.on_done = self.on_done, None
            self._guarded(callback)


class StreamCall(GrpcStream):
    """A streaming call (see `service.Stream`)."""

    __slots__ = ("_receiver", "_slow")

    def __init__(
        self, connection: ServerConnection, stream_id: int, head: RequestHead, timeout: str | None
    ) -> None:
        self._receiver: StreamReceiver | None = None
        self._slow = False
        super().__init__(connection, stream_id, head, timeout)
        if not self.done:
            self._guarded(self._start)

    def _start(self) -> None:
        handler = cast("StreamHandler", self.head.target)
        self._receiver = handler(self)

    def _fail_from_handler(self, code: int, text: str) -> None:
        """It was not the receiver that finished the stream: it must let go of what it holds."""
        if not self.done:
            self._end_with(code, text)
            self._abandoned()

    @property
    def buffered(self) -> int:
        """As `Stream.buffered`."""
        return self.queued_bytes

    @property
    def congested(self) -> bool:
        """As `Stream.congested`."""
        return self._slow

    def send_headers(self) -> None:
        """As `Stream.send_headers`."""
        self._send_headers(grpc.RESPONSE_BLOCK)

    def _send_headers(self, block: bytes) -> None:
        if not self._headers_sent and not self.done:
            self._headers_sent = True
            self.send_header_block(block)

    def send(self, message: bytes) -> None:
        """As `Stream.send`."""
        if not self.done:
            if not self._headers_sent:
                self.send_headers()
            self.head.counts.sent += 1
            self.send_data(b"\x00" + _pack_uint32(len(message)), message)
            self._note_queue()

    def send_shared(self, framed: bytes) -> None:
        """As `Stream.send_shared`."""
        if not self.done:
            if not self._headers_sent:
                self.send_headers()
            self.head.counts.sent += 1
            self.send_data(b"", framed)
            self._note_queue()

    def _note_queue(self) -> None:
        if self.queued_bytes > self.connection.limits.stream_high_water:
            self._slow = True

    def may_send_more(self) -> bool:
        """Not a client that leaves the answers to what it sent before lying."""
        return not self._slow and super().may_send_more()

    def finish(self, code: int = 0, message: str = "") -> None:
        """As `Stream.finish`."""
        if not self.done:
            self._end_with(code, message)

    def output_drained(self) -> None:
        """Tell a receiver that waits for room."""
        if self.released:
            self._forget()
        elif self._slow and self.queued_bytes <= self.connection.limits.stream_low_water:
            self._slow = False
            if not self.remote_closed:
                self.connection.replenish_stream(self)
            if self._receiver is not None and not self.done:
                self._guarded(self._receiver.writable)

    def _message(self, message: bytes) -> None:
        self.head.counts.received += 1
        if self._receiver is not None:
            self._guarded(self._receiver.message_received, message)

    def _input_ended(self) -> None:
        if self._receiver is not None:
            self._guarded(self._receiver.half_closed)

    def _reject_input(self, error: RpcError) -> None:
        if not self.done:
            super()._reject_input(error)
            self._abandoned()

    def _abandoned(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            self._guarded(receiver.closed)


class Refusal(Http2Stream):
    """A request that is answered from its headers alone.

    `head.target` is the whole response block.
    """

    __slots__ = ()

    def __init__(
        self, connection: ServerConnection, stream_id: int, head: RequestHead, timeout: str | None
    ) -> None:
        super().__init__(connection, stream_id)
        del timeout
        self.send_trailers(head.target)

    def data_received(self, buffer: bytes, start: int, stop: int, ended: bool) -> None:
        """Already answered."""

    def aborted(self) -> None:
        """Already answered."""
