"""One gRPC call as the client's end of an HTTP/2 connection sees it, and what ends it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from pykvd.status import Code
from pykvd.transport.frames import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_RESETS: Final = {
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}
# grpc/grpc doc/http-grpc-status-mapping.md
_HTTP_STATUS: Final = {
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
    """What `Call.changed` is while nobody listens."""


class Call:
    """One request. It is over once `code` is set: 0 for OK, else see `text`.

    It is *opened* as soon as the server admits another stream; before, nothing of it is sent. It is
    `accepted` once response headers have come. `refused` tells that the server did not look at it.
    `queued_bytes` wait for windows or the socket: above the high water it is `congested` until they
    are down at the low water. `messages` may still be taken when it is over; `partial` is the
    beginning of the next one.

    `changed` is called when a message has come, and when one of `opened`, `accepted`, `congested`
    and `code` has changed by what the server did.
    """

    __slots__ = (
        "accepted",
        "changed",
        "code",
        "congested",
        "ended",
        "messages",
        "partial",
        "queue",
        "queued_bytes",
        "receive_window",
        "refused",
        "send_window",
        "stream_id",
        "text",
        "unread_bytes",
    )

    def __init__(self, receive_window: int) -> None:
        self.stream_id = 0
        self.send_window = 0
        self.receive_window = receive_window
        self.queue: deque[bytes | memoryview] = deque()
        self.queued_bytes = 0
        self.congested = self.ended = self.accepted = self.refused = False
        self.messages: deque[bytes] = deque()
        self.partial = bytearray()
        self.unread_bytes = 0
        self.code: int | None = None
        self.text = ""
        self.changed: Callable[[], None] = unheard

    @property
    def opened(self) -> bool:
        """Whether it has got a stream."""
        return self.stream_id > 0


def status_of_trailers(headers: Mapping[str, str]) -> tuple[int, str]:
    """The code and text that a server ended a call with; without any, of the HTTP status."""
    try:
        return int(headers["grpc-status"]), unquote(headers.get("grpc-message", ""))
    except (KeyError, ValueError):
        status = headers.get(":status", "none")
        return status_of_http(status), f"no gRPC status; HTTP status {status}"


def status_of_http(status: str) -> int:
    """The code for an HTTP status other than 200."""
    return _HTTP_STATUS.get(status, Code.UNKNOWN)


def status_of_reset(number: int) -> int:
    """The code for the error code of a RST_STREAM."""
    return next((code for key, code in _RESETS.items() if key == number), Code.INTERNAL)


def timeout_text(seconds: float) -> str:
    """`grpc-timeout`, rounded up to a tenth of a second.

    Servers remember header blocks, so few different values are better than exact ones; the client
    keeps the exact deadline itself.
    """
    return f"{max(1, min(-int(-seconds * 10 // 1), 999_999)) * 100}m"
