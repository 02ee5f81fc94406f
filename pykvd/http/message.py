"""Requests and responses as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

Headers = tuple[tuple[str, str], ...]
"""Header fields in the order in which they are sent."""


@dataclass(frozen=True)
class Head:
    """Request line and headers. Shared by all requests that have the same, so never changed.

    Without the `Content-Length`, in which such requests may differ.

    version: "1.0", "1.1" or "2".
    path: percent-decoded, without the query; `*` for `OPTIONS *`.
    headers: by lower-case name; repeated fields are joined with commas (RFC 9110 5.2).
    """

    method: str
    target: str
    path: str
    query: str
    headers: Mapping[str, str]
    version: str

    @cached_property
    def parameters(self) -> Mapping[str, list[str]]:
        """Query parameters by name; one without a value is the empty text."""
        return parse_qs(self.query, keep_blank_values=True)

    @cached_property
    def keep_alive(self) -> bool:
        """Whether the client wants to go on using the connection (RFC 9112 9.3)."""
        options = _tokens(self.headers.get("connection", ""))
        if self.version == "1.1":
            return "close" not in options
        return "keep-alive" in options and "close" not in options

    @cached_property
    def expects_continue(self) -> bool:
        """Whether the client waits for a 100 before it sends the body (RFC 9110 10.1.1)."""
        return self.version == "1.1" and "100-continue" in _tokens(self.headers.get("expect", ""))


def decode_path(target: str) -> tuple[str, str]:
    """The path, decoded, and the query of a request's target.

    Proxies are sent targets that begin with `http://host` (RFC 9112 3.2.2).
    """
    scheme, separator, rest = target.partition("://")
    if separator and "/" not in scheme:
        slash = rest.find("/")
        target = rest[slash:] if slash >= 0 else "/"
    path, _, query = target.partition("?")
    return unquote(path), query


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


class Response(NamedTuple):
    """A whole answer; its length is added when it is sent."""

    status: int
    headers: Headers = ()
    body: bytes = b""


def text_response(status: int, body: str, extra: Headers = ()) -> Response:
    """An answer in plain text that browsers must not take for anything else."""
    headers = (("Content-Type", TEXT), ("X-Content-Type-Options", "nosniff"))
    return Response(status, extra + headers, body.encode())


def not_found() -> Response:
    """The answer for a path that nothing serves."""
    return text_response(404, "404 page not found\n")


def method_not_allowed(*allowed: str) -> Response:
    """The answer for a method that the path does not take."""
    return text_response(405, "Method Not Allowed\n", (("Allow", ", ".join(allowed)),))


def reason(status: int) -> str:
    """The phrase of a status; gRPC gateways answer a cancelled call with nginx's 499."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Unknown"


@lru_cache(maxsize=256)
def render_head(status: int, headers: Headers) -> bytes:
    """Status line and headers as bytes, without the blank line.

    Raises:
        ValueError: a line break in a field, which would forge another one.

    """
    lines = [f"HTTP/1.1 {status} {reason(status)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    text = "\r\n".join(lines)
    if text.count("\r") != len(headers) or text.count("\n") != len(headers):
        raise ValueError(f"line break in a response header: {text!r}")
    return (text + "\r\n").encode("latin-1", "replace")
