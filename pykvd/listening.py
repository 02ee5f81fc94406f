"""Addresses to listen on: what is wrong with one, in the words of Go's net package."""

import socket
from collections.abc import Iterable

from pykvd.config.urls import URL
from pykvd.oserrors import reason


def check_free(urls: Iterable[URL]) -> None:
    """Raise OSError for an address that cannot be bound, before anything else is made.

    Ports that the system picks, and unix sockets, are looked at when they are opened.
    """
    for url in urls:
        if not url.is_unix and url.port:
            _try(url)


def by_address(urls: Iterable[URL]) -> list[list[URL]]:
    """The URLs that share a socket, together: plain ones and those with TLS may, as in etcd."""
    found: dict[str, list[URL]] = {}
    for url in urls:
        found.setdefault(url.address, []).append(url)
    return list(found.values())


def _try(url: URL) -> None:
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        for family, kind, _, _, address in found:
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(1)
    except OSError as error:
        raise listen_error(url, error) from None


def listen_error(url: URL, error: OSError) -> OSError:
    """The error of binding `url`, as Go says it."""
    if url.is_unix:
        return OSError(f"listen unix {url.socket_path}: bind: {_reason(error)}")
    host = f"[{url.host}]" if ":" in url.host else url.host
    return OSError(f"listen tcp {host}:{url.port}: bind: {_reason(error)}")


def _reason(error: OSError) -> str:
    """What the system says, in lower case as Go prints it."""
    # uvloop and asyncio wrap the text in one of their own.
    return reason(error).rpartition(": ")[2]
