"""One request and its answer, as a handler sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.http.message import Head, Headers, Response

_CHUNKED = ("Transfer-Encoding", "chunked")


class Channel(Protocol):
    """Where an exchange's answer goes: a connection of HTTP/1.1, a stream of HTTP/2."""

    congested: bool

    @property
    def peer(self) -> str:
        """As `Exchange.peer`."""

    @property
    def secure(self) -> bool:
        """As `Exchange.secure`."""

    @property
    def unsent(self) -> int:
        """As `Exchange.buffered`."""

    def answer(self, response: Response, extra: Headers) -> None:
        """Send a whole answer, with more headers in front."""

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head of a long answer."""

    def send(self, data: bytes) -> None:
        """Send a part of a long answer."""

    def end(self, last: bytes) -> None:
        """End a long answer with these bytes of framing."""

    def cut(self) -> None:
        """Give up an answer that has begun."""


class Exchange:
    """A request in progress. Its methods do nothing once it is answered or the client is gone.

    Answer with one `respond`, or with `begin`, any number of `write` and `end`.
    on_gone: called once if the client leaves before the answer's end.
    on_writable: called when a slow client has caught up (see `congested`).
    on_drain: called when the server stops; what would never end by itself should end then.
    """

    __slots__ = (
        "_channel",
        "_chunked",
        "_extra",
        "body",
        "done",
        "head",
        "on_drain",
        "on_gone",
        "on_writable",
        "started",
    )

    def __init__(self, channel: Channel, head: Head, body: bytes) -> None:
        self.head = head
        self.body = body
        self.done = False
        self.started = False
        self.on_gone: Callable[[], object] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.on_drain: Callable[[], None] | None = None
        self._channel = channel
        self._extra: Headers = ()
        self._chunked = False

    @property
    def peer(self) -> str:
        """The client's address, as `transport.Call.peer`."""
        return self._channel.peer

    @property
    def secure(self) -> bool:
        """Whether the request came through TLS."""
        return self._channel.secure

    @property
    def buffered(self) -> int:
        """Bytes of the answer that the kernel has not taken."""
        return self._channel.unsent

    @property
    def congested(self) -> bool:
        """Whether the client reads so slowly that `on_writable` is worth waiting for."""
        return self._channel.congested

    def add_headers(self, headers: Headers) -> None:
        """Put these in front of whatever will be answered."""
        self._extra += headers

    def respond(self, response: Response) -> None:
        """Answer in one piece."""
        if not self.done and not self.started:
            self.done = self.started = True
            self._channel.answer(response, self._extra)

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head of an answer of unknown length."""
        if self.done or self.started:
            return
        self.started = True
        self._chunked = self.head.version == "1.1"
        framing = (_CHUNKED,) if self._chunked else ()
        self._channel.begin(status, self._extra + headers + framing)

    def write(self, data: bytes) -> None:
        """Send some of the body, as one chunk."""
        if self.done or not data or self.head.method == "HEAD":
            return
        self._channel.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """The body is complete."""
        if not self.done:
            self.done = True
            last = b"0\r\n\r\n" if self._chunked and self.head.method != "HEAD" else b""
            self._channel.end(last)

    def abort(self) -> None:
        """Give up an answer that has begun."""
        self._channel.cut()

    def gone(self) -> None:
        """The client has left (called by the connection)."""
        if not self.done:
            self.done = True
            if self.on_gone is not None:
                self.on_gone()
