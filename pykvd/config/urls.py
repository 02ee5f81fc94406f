"""Listening and advertised addresses: the URL lists of the server's options."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import total_ordering

from pykvd.config.values import quote

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_SECURE = frozenset({"https", "unixs"})
_UNIX = frozenset({"unix", "unixs"})
_MAX_PORT = 65535


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class URL:
    """One address: `http://10.0.0.1:2379`, `unix:///run/pykvd.sock`. Orders and prints as `text`.

    host: without the brackets of IPv6; for a unix socket what stands before the first slash.
    port: None for unix sockets.
    path: only for unix sockets, with its leading slash.
    """

    text: str
    scheme: str
    host: str
    port: int | None
    path: str = ""

    def __str__(self) -> str:
        return self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, URL) else NotImplemented

    def __lt__(self, other: URL) -> bool:
        return self.text < other.text

    @property
    def is_secure(self) -> bool:
        """Whether TLS is asked for."""
        return self.scheme in _SECURE

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket rather than TCP."""
        return self.scheme in _UNIX

    @property
    def socket_path(self) -> str:
        """The file of a unix socket; without a slash in front it is relative."""
        return self.host + self.path

    @property
    def authority(self) -> str:
        """`host:port` as it stands in the text, brackets included."""
        rest = self.text.split("://", 1)[1]
        return rest[: len(rest) - len(self.path)] if self.path else rest

    @property
    def address(self) -> str:
        """What is bound: URLs that differ in nothing but TLS have the same."""
        return self.socket_path if self.is_unix else self.authority

    @classmethod
    def parse(cls, text: str) -> URL:
        """The URL in `text`; ValueError with etcd's reason when there is none."""
        match = _SCHEME.match(text)
        if match is None:
            raise ValueError(_unparsable(text))
        scheme, rest = match[1].lower(), text[match.end() :]
        if scheme not in {"http", "https", "unix", "unixs"}:
            raise ValueError(f"URL scheme must be http, https, unix, or unixs: {text}")
        address, slash, tail = rest.removeprefix("//").partition("/")
        if scheme in _UNIX:
            return cls(f"{scheme}:{rest}", scheme, address, None, slash + tail)
        host, port = _host_and_port(text, address if rest.startswith("//") else "")
        if slash:
            raise ValueError(f"URL must not contain a path: {text}")
        return cls(f"{scheme}:{rest}", scheme, host, port)


def parse_urls(text: str) -> tuple[URL, ...]:
    """The distinct URLs of a comma-separated list, sorted; an empty text is the empty list."""
    if not text:
        return ()
    return tuple(sorted({URL.parse(item.strip()) for item in text.split(",")}))


def format_urls(urls: tuple[URL, ...]) -> str:
    """The comma-separated list that `parse_urls` reads."""
    return ",".join(map(str, urls))


def parse_members(text: str) -> dict[str, tuple[URL, ...]]:
    """Peer URLs by member name out of `name=url,name=url`; a name may come again.

    Raises ValueError; an item without a URL has an empty one, which is none.
    """
    members: dict[str, set[URL]] = {}
    for item in filter(None, text.split(",")):
        name, _, url = item.partition("=")
        members.setdefault(name.strip(), set()).add(URL.parse(url.strip()))
    return {name: tuple(sorted(urls)) for name, urls in members.items()}


def check_bindable(urls: tuple[URL, ...]) -> None:
    """Refuse names where a listening address is needed: only IPs and `localhost` are bound."""
    for url in urls:
        if not url.is_unix and url.host != "localhost" and not _is_ip(url.host):
            raise ValueError(f"expected IP in URL for binding ({url})")


def check_reachable(urls: tuple[URL, ...], *, unix: bool) -> None:
    """Refuse advertised addresses that no one could connect to."""
    for url in urls:
        if url.is_unix and not unix:
            raise ValueError(f"address {url.host}: missing port in address")
        if not url.is_unix and not url.host:
            raise ValueError(f"unexpected empty host ({url})")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _unparsable(text: str) -> str:
    """Why a text without a scheme is no URL; Go's parser words it in two ways."""
    head = text.split("/", 1)[0]
    if ":" in head:
        return f"parse {quote(text)}: first path segment in URL cannot contain colon"
    return f"URL scheme must be http, https, unix, or unixs: {text}"


def _host_and_port(text: str, address: str) -> tuple[str, int]:
    """Split `host:port`, `[v6]:port` or `:port`."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port or (":" in host and not bracketed):
        raise ValueError(f'URL address does not have the form "host:port": {text}')
    if not (port.isascii() and port.isdigit()) or int(port) > _MAX_PORT:
        raise ValueError(f"parse {quote(text)}: invalid port {quote(':' + port)} after host")
    return (host[1:-1] if bracketed else host), int(port)
