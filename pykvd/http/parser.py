"""Bytes to requests, without I/O: h11 reads heads and chunked bodies, once for each head it sees.

Clients that keep their connection send the same head again and again, but for the length of the
body. Such a head is looked up by its bytes without that number, as the gRPC side does with header
blocks; h11's own price is a tenth of a millisecond.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import h11

from pykvd.http.message import Head, decode_path

if TYPE_CHECKING:
    from pykvd.http.limits import HttpLimits

_VERSIONS: Final = frozenset({"1.0", "1.1"})
_END_OF_HEAD: Final = b"\r\n\r\n"
#: Heads remembered, and the longest of them: at most a few megabytes.
_MAX_KNOWN: Final = 1024
_MAX_KNOWN_BYTES: Final = 2048
#: What tells a request line from other protocols: a method and a blank.
_METHOD: Final = re.compile(rb"[A-Za-z-]+ \S")
_START_BYTES: Final = 64
_NO_BODY: Final = -1
#: A body in more parts than this must have parts of this size on average.
_FREE_PARTS: Final = 500
_MIN_PART_BYTES: Final = 512
#: The one header in which requests of a client differ, as clients write it.
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,10})\r\n")
#: Heads without a body by their bytes, and those with one by their bytes without the length.
_plain: dict[bytes, Head] = {}
_sized: dict[bytes, Head] = {}


class BadRequestError(Exception):
    """Bytes that are no request, or one that is too large; the connection cannot go on.

    head: the request's own, if it was readable.
    """

    def __init__(self, status: int, message: str, head: Head | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.head = head


class RequestParser:
    """The requests of one connection, in order.

    `feed` bytes, then call `next` until it gives None. `waiting` says what the parser lacks.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._buffer: bytes | bytearray = b""
        self._h11: h11.Connection | None = None
        self._head: Head | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._continued = False
        self._start = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes taken that are not part of a request yet."""
        return len(self._buffer)

    @property
    def held(self) -> int:
        """The same, and what is there of the body of an incomplete request."""
        return len(self._buffer) + self._body_bytes

    @property
    def idle(self) -> bool:
        """Whether nothing of a next request has come."""
        return not self._buffer and self._h11 is None

    @property
    def in_body(self) -> bool:
        """Whether the headers of the next request are complete and its body is not."""
        return self._head is not None

    @property
    def speaks_http(self) -> bool:
        """Whether the bytes that were refused looked like a request line at least."""
        return self._head is not None or _METHOD.match(self._start or self._buffer) is not None

    def feed(self, data: bytes) -> None:
        """Take what the socket gave."""
        if not self._buffer:
            self._buffer = data
        else:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            self._buffer += data

    def next(self) -> tuple[Head, bytes] | None:
        """The next complete request and its body.

        Raises:
            BadRequestError: there will be none.

        """
        if self._h11 is None:
            if not self._buffer:
                return None
            known = self._known_request()
            if known is not None or self._head is not None:
                return known
            self._h11 = h11.Connection(
                h11.SERVER, max_incomplete_event_size=self._limits.max_head_bytes
            )
            start = bytes(self._buffer[:_MAX_KNOWN_BYTES])
        else:
            start = b""
        try:
            return self._read(self._h11, start)
        except h11.RemoteProtocolError as error:
            raise BadRequestError(error.error_status_hint, str(error), self._head) from None

    def take_continue(self) -> bool:
        """Whether the client waits for a 100 now; true at most once a request."""
        if self._continued or self._head is None or not self._head.expects_continue:
            return False
        self._continued = True
        return self._body_bytes == 0

    def _known_request(self) -> tuple[Head, bytes] | None:
        """The next request if its head was seen before; sets `_head` while its body is awaited."""
        buffer = self._buffer
        end = buffer.find(_END_OF_HEAD, 0, _MAX_KNOWN_BYTES) + len(_END_OF_HEAD)
        if end < len(_END_OF_HEAD):
            return None
        data = bytes(buffer[:end])
        length = _LENGTH.search(data)
        if length is None:
            head, stop = _plain.get(data), end
        else:
            head, stop = _sized.get(_without(data, length)), end + int(length[1])
        self._head = head
        if head is None:
            return None
        if stop - end > self._limits.max_body_bytes:
            raise _too_large(head)
        if len(buffer) < stop:
            return None
        body = bytes(buffer[end:stop])
        self._buffer = buffer[stop:]
        self._head = None
        self._continued = False
        return head, body

    def _read(self, connection: h11.Connection, start: bytes) -> tuple[Head, bytes] | None:
        """Let h11 go on; `start` has its first bytes, and is empty when it has had some before."""
        fed, self._buffer = self._buffer, b""
        if fed:
            self._start = (self._start + fed[:_START_BYTES])[:_START_BYTES]
            connection.receive_data(bytes(fed))
        while True:
            match connection.next_event():
                case h11.Request() as event:
                    self._check_size(event)
                    head = self._head = _make_head(event)
                    length = _body_length(event)
                    if (length or 0) > self._limits.max_body_bytes:
                        raise _too_large(head)
                    _remember(start, head, length)
                case h11.Data(data=data):
                    self._keep(data)
                case h11.EndOfMessage():
                    return self._finish(connection)
                case _:
                    return None

    def _check_size(self, event: h11.Request) -> None:
        """What h11 bounds is only a head that comes in several pieces."""
        size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
        if size > self._limits.max_head_bytes:
            raise BadRequestError(431, "request headers are too large")

    def _keep(self, data: bytes) -> None:
        self._body.append(bytes(data))
        self._body_bytes += len(data)
        parts = len(self._body)
        if parts > _FREE_PARTS and self._body_bytes < parts * _MIN_PART_BYTES:
            # Each costs h11 some fifteen microseconds, whatever its size.
            raise BadRequestError(400, "the body comes in too small chunks", self._head)
        if self._body_bytes > self._limits.max_body_bytes:
            assert self._head is not None
            raise _too_large(self._head)

    def _finish(self, connection: h11.Connection) -> tuple[Head, bytes]:
        assert self._head is not None
        request = self._head, b"".join(self._body)
        self._buffer = connection.trailing_data[0]
        self._h11 = self._head = None
        self._body = []
        self._body_bytes = 0
        self._continued = False
        return request


def _remember(start: bytes, head: Head, length: int | None) -> None:
    """Know this head by its bytes from now on, if `start` begins with all of them.

    Only where nobody could see another end of the head or of the body than we do: no bare line
    feeds, no blank line in front, no chunked body, one length and that where `_LENGTH` finds it.
    """
    end = start.find(_END_OF_HEAD) + len(_END_OF_HEAD)
    data = start[:end]
    first = f"{head.method} {head.target} HTTP/{head.version}\r\n".encode("latin-1")
    if (
        end < len(_END_OF_HEAD)
        or not data.startswith(first)
        or data.count(b"\n") != data.count(b"\r\n")
    ):
        return
    found = _LENGTH.search(data)
    lengths = data.lower().count(b"\ncontent-length:")
    if found is not None and lengths == 1 and length == int(found[1]):
        _keep_known(_sized, _without(data, found), head)
    elif found is None and length == _NO_BODY:
        _keep_known(_plain, data, head)


def _keep_known(known: dict[bytes, Head], key: bytes, head: Head) -> None:
    if len(known) >= _MAX_KNOWN:
        known.clear()
    known[key] = head


def _without(data: bytes, length: re.Match[bytes]) -> bytes:
    return data[: length.start(1)] + data[length.end(1) :]


def _body_length(event: h11.Request) -> int | None:
    """Bytes of the body: -1 when the head says nothing about one, None when it comes in chunks."""
    headers = dict(event.headers)
    if b"transfer-encoding" in headers:
        return None
    return int(headers.get(b"content-length", _NO_BODY))


def _make_head(event: h11.Request) -> Head:
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if headers.pop("content-length", None) is not None and "transfer-encoding" in headers:
        # The two disagree about where the next request begins (RFC 9112 6.3).
        raise BadRequestError(400, "both Content-Length and Transfer-Encoding")
    version = event.http_version.decode("latin-1")
    if version not in _VERSIONS:
        raise BadRequestError(505, f"HTTP/{version} is not supported")
    target = event.target.decode("latin-1")
    path, query = decode_path(target)
    return Head(
        method=event.method.decode("latin-1"),
        target=target,
        path=path,
        query=query,
        headers=headers,
        version=version,
    )


def _too_large(head: Head) -> BadRequestError:
    return BadRequestError(413, "request body is too large", head)
