"""From a request to its handler: host names, CORS, clean paths, then the path's own handler."""

from __future__ import annotations

import html
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from pykvd.http.exchange import Exchange
from pykvd.http.message import Head, Headers, Response, not_found, text_response

Handler = Callable[[Exchange], None]
"""Begins the answer of an exchange; it may end later."""

ANY: Final = "*"
_ALLOWED: Final = (
    ("Access-Control-Allow-Headers", "accept, content-type, authorization"),
    ("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"),
)


class Application:
    """The handlers of a listener, by path.

    `routes` maps whole paths, and prefixes that end in a slash, to handlers; the longest prefix
    wins. `cors` are the origins that may read answers, None for a listener without CORS; `hosts`
    are the names by which plain HTTP may address the server (against DNS rebinding).
    """

    def __init__(
        self,
        routes: Mapping[str, Handler],
        *,
        cors: Sequence[str] | None = None,
        hosts: Sequence[str] = (ANY,),
    ) -> None:
        self._routes = dict(routes)
        self._prefixes = sorted((path for path in routes if path.endswith("/")), key=len)[::-1]
        self._origins = None if cors is None else frozenset(cors or (ANY,))
        self._hosts = frozenset(hosts) if hosts and ANY not in hosts else None

    def __call__(self, exchange: Exchange) -> None:
        """Answer, or let the path's handler do it."""
        head = exchange.head
        if self._hosts and not exchange.secure and _host(head) not in self._hosts:
            exchange.respond(_misdirected(head))
            return
        if self._origins is not None:
            exchange.add_headers(self._cors_headers(head))
            if head.method == "OPTIONS":
                exchange.respond(Response(200))
                return
        handler = self._routes.get(head.path) or self._find(head.path)
        if handler is not None:
            handler(exchange)
        else:
            exchange.respond(self._elsewhere(head))

    def _cors_headers(self, head: Head) -> Headers:
        assert self._origins is not None
        if ANY in self._origins:
            return _CORS_ANY
        origin = head.headers.get("origin", "")
        if origin not in self._origins:
            return ()
        return (*_ALLOWED, ("Access-Control-Allow-Origin", origin))

    def _find(self, path: str) -> Handler | None:
        """The handler of the longest prefix; none for a path that has to be cleaned first."""
        if _clean(path) != path:
            return None
        for prefix in self._prefixes:
            if path.startswith(prefix):
                return self._routes[prefix]
        return None

    def _elsewhere(self, head: Head) -> Response:
        """Where a path without a handler leads: to its clean form, to a prefix, or nowhere."""
        path = _clean(head.path)
        if path == head.path and path + "/" not in self._routes:
            return not_found()
        if path + "/" in self._routes and path not in self._routes:
            path += "/"
        return _moved(head, path)


_CORS_ANY: Final = (*_ALLOWED, ("Access-Control-Allow-Origin", ANY))


def _clean(path: str) -> str:
    """The path without double slashes and dot segments, its last slash kept."""
    if not path.startswith("/"):
        return path
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith(("/", "/.", "/..")) and clean != "/" else clean


def _moved(head: Head, path: str) -> Response:
    location = quote(path) + (f"?{head.query}" if head.query else "")
    headers: Headers = (("Location", location),)
    if head.method not in {"GET", "HEAD"}:
        return Response(301, headers)
    body = f'<a href="{html.escape(location)}">Moved Permanently</a>.\n\n'
    return Response(301, (("Content-Type", "text/html; charset=utf-8"), *headers), body.encode())


def _host(head: Head) -> str:
    """The host that a request names, without its port and brackets."""
    host = head.headers.get("host", "")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _misdirected(head: Head) -> Response:
    host = _host(head)
    return text_response(
        421,
        f"\nThe request names the host {host!r}, which this server does not answer to.\n\n"
        "Without TLS, a page in a browser could reach this server under a name of its own (DNS "
        "rebinding, CVE-2018-5702).\n"
        f"Use TLS, or start the server with --host-whitelist {host!r} to allow this name.\n",
    )
