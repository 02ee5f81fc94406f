"""Where a server is: `host:port`, `http://host:port`, `https://host:port`, `unix:path`."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

DEFAULT_PORT = 2379
_UNIX = ("unix", "unixs")


class Endpoint(NamedTuple):
    """A parsed endpoint. `path` is set for unix sockets, `host` and `port` for others."""

    text: str
    host: str = ""
    port: int = 0
    path: str = ""
    secure: bool | None = None
    """Whether TLS is asked for; None where the text has no scheme, so that TLS settings decide."""

    @property
    def authority(self) -> str:
        """The `:authority` of calls."""
        if self.path:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Raises ValueError that quotes the text."""
        scheme, colon, rest = text.partition(":")
        if colon and scheme in _UNIX:
            path = "/" + rest[2:].lstrip("/") if rest.startswith("///") else rest.removeprefix("//")
            if not path:
                raise ValueError(f"endpoint {text!r} has no path")
            return cls(text, path=path, secure=scheme == "unixs")
        parts = urlsplit(text if "://" in text else f"//{text}")
        if parts.scheme not in {"", "http", "https"}:
            raise ValueError(f"endpoint {text!r} has an unknown scheme")
        try:
            port = parts.port
        except ValueError:
            raise ValueError(f"endpoint {text!r} has no valid port") from None
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise ValueError(f"endpoint {text!r} is not a host and a port")
        secure = parts.scheme == "https" if parts.scheme else None
        return cls(text, host=parts.hostname, port=port or DEFAULT_PORT, secure=secure)
