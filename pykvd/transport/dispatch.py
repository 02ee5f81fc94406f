"""From request headers to handlers: content type, method, path, encoding, metadata.

Runs once for each distinct header list; what it decides is kept in the head (`open`, `target` and
`counts`).
"""

from collections.abc import Mapping

from pykvd.status import Code
from pykvd.transport import grpc
from pykvd.transport.calls import Refusal, StreamCall, UnaryCall
from pykvd.transport.compressed import (
    GzipStreamCall,
    GzipUnaryCall,
    TimedGzipStreamCall,
    TimedGzipUnaryCall,
)
from pykvd.transport.request import RequestHead
from pykvd.transport.service import StreamHandler, UnaryHandler
from pykvd.transport.statistics import CLIENT_VERSION, Counters
from pykvd.transport.timed import TimedStreamCall, TimedUnaryCall

_CallTypes = tuple[type[UnaryCall], type[StreamCall]]
#: For requests as they are, and for those in gzip.
_UNTIMED: tuple[_CallTypes, _CallTypes] = (
    (UnaryCall, StreamCall),
    (GzipUnaryCall, GzipStreamCall),
)
_TIMED: tuple[_CallTypes, _CallTypes] = (
    (TimedUnaryCall, TimedStreamCall),
    (TimedGzipUnaryCall, TimedGzipStreamCall),
)
SUPPORTED_ENCODINGS = frozenset({"", "identity", "gzip"})


class Dispatcher:
    """The methods of a server, by full path."""

    def __init__(
        self,
        unary: Mapping[str, UnaryHandler],
        streams: Mapping[str, StreamHandler],
        counters: Counters,
        *,
        timed: bool = False,
    ) -> None:
        self._unary = dict(unary)
        self._streams = dict(streams)
        paths = [*self._unary, *self._streams]
        self._services = {path.rpartition("/")[0] for path in paths}
        self._counters = counters
        for path in paths:
            counters.of_method(path)
        self._plain, self._gzip = _TIMED if timed else _UNTIMED

    def route(self, head: RequestHead) -> None:
        """Decide how requests with this head are opened."""
        refusal = self._refusal(head)
        if refusal is not None:
            head.open, head.target = Refusal, refusal
            return
        version = head.metadata.get(CLIENT_VERSION, "")
        head.counts = self._counters.of_method(head.path, str(version) or "unknown")
        unary_call, stream_call = self._gzip if head.encoding == "gzip" else self._plain
        if head.path in self._unary:
            head.open, head.target = unary_call, self._unary[head.path]
        else:
            head.open, head.target = stream_call, self._streams[head.path]

    def _refusal(self, head: RequestHead) -> bytes | None:
        """The whole response for a request that no handler will see, or None.

        Texts as grpc-go's.
        """
        if not is_grpc(head.content_type):
            return grpc.trailers_only_block(
                Code.INVALID_ARGUMENT,
                f'invalid gRPC request content-type "{head.content_type}"',
                http_status=415,
            )
        if head.method != "POST":
            return grpc.trailers_only_block(
                Code.INTERNAL,
                "http2Server.operateHeaders parsed a :method field: "
                f'"{head.method}" which should be POST',
                http_status=405,
            )
        if head.path not in self._unary and head.path not in self._streams:
            return grpc.trailers_only_block(Code.UNIMPLEMENTED, self._unknown(head.path))
        if head.encoding not in SUPPORTED_ENCODINGS:
            return grpc.trailers_only_block(
                Code.UNIMPLEMENTED,
                f'grpc: Decompressor is not installed for grpc-encoding "{head.encoding}"',
                extra=grpc.ACCEPT_ENCODING_FIELD,
            )
        try:
            _ = head.metadata
        except ValueError as error:
            return grpc.trailers_only_block(
                Code.INTERNAL, f"malformed binary metadata: {error}", http_status=400
            )
        return None

    def _unknown(self, path: str) -> str:
        service, slash, method = path.rpartition("/")
        if not slash or not service.startswith("/"):
            return f'malformed method name: "{path}"'
        if service in self._services:
            return f"unknown method {method} for service {service[1:]}"
        return f"unknown service {service[1:]}"


def is_grpc(content_type: str) -> bool:
    """`application/grpc`, alone or followed by `+codec` or parameters."""
    base, rest = content_type[: len(grpc.CONTENT_TYPE)], content_type[len(grpc.CONTENT_TYPE) :]
    return base.lower() == grpc.CONTENT_TYPE and (not rest or rest[0] in "+;")
