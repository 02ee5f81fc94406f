"""Requests on HTTP/2 that are no gRPC calls: what curl and browsers send to a TLS port.

They reach the same application as those of HTTP/1.1; frames, windows and header compression are
the transport's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pykvd.http.exchange import Exchange
from pykvd.http.message import Head, decode_path
from pykvd.transport import frames, grpc
from pykvd.transport.frames import ErrorCode
from pykvd.transport.stream import Http2Stream

if TYPE_CHECKING:
    from pykvd.http.message import Headers, Response
    from pykvd.http.server import HttpServer
    from pykvd.transport.connection import ServerConnection
    from pykvd.transport.request import RequestHead

_MAX_BLOCK_BYTES: Final = 16_384
#: Bodies above the limit are read up to this many times of it.
_PATIENCE: Final = 16
_BODILESS: Final = frozenset({204, 304})


class HttpStream(Http2Stream):
    """One request and its answer; `head.target` is the HttpServer."""

    __slots__ = ("_body", "_exchange", "_received", "_request", "_server", "congested")

    def __init__(
        self, connection: ServerConnection, stream_id: int, head: RequestHead, timeout: str | None
    ) -> None:
        super().__init__(connection, stream_id)
        self.congested = False
        self._server: HttpServer = head.target
        self._request = _make_head(head, timeout)
        self._body = bytearray()
        self._received = 0
        self._exchange: Exchange | None = None

    # For the exchange.

    @property
    def peer(self) -> str:
        """The client's address."""
        return self.connection.peer

    @property
    def secure(self) -> bool:
        """Only TLS connections have such streams."""
        return True

    @property
    def unsent(self) -> int:
        """Bytes held back by the client's windows or a full socket."""
        return self.queued_bytes

    def answer(self, response: Response, extra: Headers) -> None:
        """Send a whole answer."""
        status, headers, body = response
        if status not in _BODILESS:
            headers = (*headers, ("Content-Length", str(len(body))))
        if not body or self._request.method == "HEAD":
            self._send_head(status, extra + headers, end=True)
        elif self._send_head(status, extra + headers, end=False):
            self.send_data(b"", body)
            self.send_trailers(b"")

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head of a long answer."""
        self._send_head(status, headers, end=False)

    def send(self, data: bytes) -> None:
        """Send a part of a long answer."""
        self.send_data(b"", data)
        if self.queued_bytes > self._server.limits.high_water:
            self.congested = True

    def end(self, last: bytes) -> None:
        """End a long answer."""
        del last
        self.send_trailers(b"")

    def cut(self) -> None:
        """Give the answer up."""
        if not self.released:
            self.connection.reset_stream(self, ErrorCode.INTERNAL_ERROR)

    def _send_head(self, status: int, headers: Headers, *, end: bool) -> bool:
        """Send the response's head; False when it is too large for that."""
        block = grpc.literal_field(b":status", b"%d" % status)
        for name, value in (*headers, ("Date", self._server.date)):
            block += grpc.literal_field(name.lower().encode(), value.encode("latin-1", "replace"))
        if len(block) > _MAX_BLOCK_BYTES:
            self.cut()
            return False
        self.connection.append(frames.headers_frame(self.stream_id, block, end_stream=end))
        if end:
            self.connection.finish_stream(self)
        return True

    def _end(self) -> None:
        """END_STREAM on an empty DATA frame: there are no trailers."""
        self.connection.append(
            frames.frame_header(0, frames.DATA, frames.END_STREAM, self.stream_id)
        )
        self.connection.finish_stream(self)

    # Called by the connection.

    def data_received(self, buffer: bytes, start: int, stop: int, ended: bool) -> None:
        """Gather the body; serve the request when it is complete.

        Too large a body is read to its end, within reason, before it is refused: clients that still
        send take the early end of a stream for a failure of the connection.
        """
        if self._exchange is not None:
            return
        size = stop - start
        connection = self.connection
        held = connection.buffered_request_bytes + size
        self._received += size
        limit = self._server.limits.max_body_bytes
        if self._received <= limit and held <= connection.limits.max_buffered_request_bytes:
            self._body += memoryview(buffer)[start:stop]
            connection.buffered_request_bytes = held
            if ended:
                self._server.serve(self._make_exchange(bytes(self._body)))
            return
        self._let_go_of_body()
        self._received = max(self._received, limit + 1)
        if ended or self._received > _PATIENCE * limit:
            refusal = self._server.refusal(413, "request body is too large", self._request)
            self._make_exchange(b"").respond(refusal)

    def _make_exchange(self, body: bytes) -> Exchange:
        self._let_go_of_body()
        self._exchange = exchange = Exchange(self, self._request, body)
        return exchange

    def _let_go_of_body(self) -> None:
        self.connection.buffered_request_bytes -= len(self._body)
        self._body.clear()

    def output_drained(self) -> None:
        """Tell a handler that waits for room."""
        if self.congested and self.queued_bytes <= self._server.limits.low_water:
            self.congested = False
            if self._exchange is not None and self._exchange.on_writable is not None:
                self._exchange.on_writable()

    def deadline_passed(self) -> None:
        """Deadlines of such requests are the handler's concern."""

    def aborted(self) -> None:
        """Reset by the client, or connection lost."""
        self._let_go_of_body()
        if self._exchange is not None:
            self._exchange.gone()


def _make_head(head: RequestHead, timeout: str | None) -> Head:
    headers: dict[str, str] = {}
    for name, value, _ in head.fields:
        name = "host" if name == ":authority" else name
        if name[0] != ":":
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if timeout is not None:
        headers["grpc-timeout"] = timeout
    path, query = decode_path(head.path)
    return Head(head.method, head.path, path, query, headers, "2")
