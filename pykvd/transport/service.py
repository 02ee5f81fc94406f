"""The contract between the transport and the services behind it.

A service names its methods by full path (`/etcdserverpb.KV/Put`) and gives one plain callable for
each. A unary handler gets a `Call` and the request bytes; a stream handler gets a `Stream` and
returns the `StreamReceiver` that is told what the client does. Everything here runs on the loop
thread; nothing here blocks, and no task is made for a call (see `async_stream` for the few methods
that are easier to write as a coroutine).

`Call` and `Stream` are Protocols, so a gateway or a test can bring its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

    from pykvd.transport.request import RequestHead


class Call(Protocol):
    """One unary call in progress."""

    on_done: Callable[[], None] | None
    """Called once if the call ends without the handler's `reply` or `fail`.

    Cancelled, out of time, connection lost.
    """

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """Request metadata by lower-case name; of a repeated name the first value.

        Text is decoded as latin-1 (gRPC promises ASCII; the bytes can be had back with
        `encode("latin-1")`); names that end in `-bin` map to bytes. gRPC's own headers (`grpc-*`,
        `te`) are left out.
        """

    @property
    def deadline(self) -> float | None:
        """When the client stops waiting, on the loop's clock (seconds), or None."""

    @property
    def peer(self) -> str:
        """The client's address: `127.0.0.1:4242`, `[::1]:4242` or `unix:<path>`."""

    @property
    def common_name(self) -> str:
        """Subject common name of the client's verified certificate; empty without one."""

    @property
    def done(self) -> bool:
        """Whether the call is answered, cancelled, out of time, or its connection lost."""

    def reply(self, message: bytes) -> None:
        """Answer OK with one message. Does nothing when done."""

    def fail(self, code: int, message: str) -> None:
        """Answer with a status other than OK. Does nothing when done."""


class Stream(Protocol):
    """One streaming call of any kind. Methods do nothing once it is finished or closed."""

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """As `Call.metadata`."""

    @property
    def deadline(self) -> float | None:
        """As `Call.deadline`."""

    @property
    def peer(self) -> str:
        """As `Call.peer`."""

    @property
    def common_name(self) -> str:
        """As `Call.common_name`."""

    @property
    def done(self) -> bool:
        """Whether we finished it, or the client, its deadline or the network ended it."""

    @property
    def buffered(self) -> int:
        """Bytes queued here, held back by the client's windows or by a full socket.

        What has left this queue waits at most in the connection's own socket buffer, which is
        bounded by `Limits.socket_buffer_bytes` for all streams together.
        """

    @property
    def congested(self) -> bool:
        """Whether `buffered` has passed the high-water mark and `writable` is still to come."""

    def send_headers(self) -> None:
        """Send the response headers now rather than with the first message."""

    def send(self, message: bytes) -> None:
        """Queue one message."""

    def send_shared(self, framed: bytes) -> None:
        """Queue one message that already carries its five-byte gRPC prefix (see `frame_message`).

        The same object may be given to many streams; it is never copied or changed.
        """

    def finish(self, code: int = 0, message: str = "") -> None:
        """End the call with this status after everything queued."""

    def pause_reading(self) -> None:
        """Stop giving the client new receive window.

        What the window already allows still arrives.
        """

    def resume_reading(self) -> None:
        """Give the client receive window again."""


class StreamReceiver(Protocol):
    """What a service wants to hear about one stream.

    Called on the loop thread, never after `closed` or `finish`.
    """

    def message_received(self, message: bytes) -> None:
        """One complete request message.

        May raise RpcError, which finishes the stream; `closed` follows.
        """

    def half_closed(self) -> None:
        """The client will send no more messages."""

    def closed(self) -> None:
        """Cancelled, reset, out of time, connection lost, or ended by what a method here raised.

        Once, and not after `finish`.
        """

    def writable(self) -> None:
        """`buffered` fell to `Limits.stream_low_water` after a time above `stream_high_water`."""


class Http(Protocol):
    """Serves the clients that do not speak gRPC."""

    @property
    def connections(self) -> int:
        """Sockets that it has now; they count against `Limits.max_connections`."""

    def make_protocol(self, peer: str) -> asyncio.Protocol:
        """The protocol of a socket that does not speak HTTP/2; `peer` as in `Call`."""

    def open_stream(self, head: RequestHead) -> None:
        """Fill in `open` and `target` of a request on HTTP/2 that is no gRPC call."""


UnaryHandler = Callable[[Call, bytes], bytes | None]
"""Returns the reply at once, or None when `call.reply` or `call.fail` will follow.

May raise RpcError.
"""

StreamHandler = Callable[[Stream], StreamReceiver]
"""Starts one streaming call; may raise RpcError."""
