"""Calls whose answers are compressed, because their requests say `grpc-encoding: gzip`.

etcd answers in the encoding of the request since its tracing brought gzip along (3.5).
"""

from pykvd.transport import grpc
from pykvd.transport.calls import StreamCall, UnaryCall
from pykvd.transport.timed import TimedStreamCall, TimedUnaryCall


class GzipUnaryCall(UnaryCall):
    """A unary call with a compressed reply."""

    __slots__ = ()

    def reply(self, message: bytes) -> None:
        """As `Call.reply`."""
        if not self.done:
            self.done = True
            self.head.counts.ok += 1
            self._send_reply(grpc.GZIP_RESPONSE_BLOCK, *grpc.compress(message))


class GzipStreamCall(StreamCall):
    """A streaming call that sends compressed messages."""

    __slots__ = ()

    def send_headers(self) -> None:
        """As `Stream.send_headers`."""
        self._send_headers(grpc.GZIP_RESPONSE_BLOCK)

    def send(self, message: bytes) -> None:
        """As `Stream.send`."""
        super().send_shared(b"".join(grpc.compress(message)))

    def send_shared(self, framed: bytes) -> None:
        """As `Stream.send_shared`."""
        self.send(framed[grpc.PREFIX_BYTES :])


class TimedGzipUnaryCall(TimedUnaryCall, GzipUnaryCall):
    """Both."""

    __slots__ = ()


class TimedGzipStreamCall(TimedStreamCall, GzipStreamCall):
    """Both."""

    __slots__ = ()
