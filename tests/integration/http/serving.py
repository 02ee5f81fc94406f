"""HTTP servers and clients for tests: raw bytes in, parsed answers out."""

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from types import TracebackType
from typing import Any, Self

from pykvd.gateway.errors import error_response
from pykvd.http import Application, Exchange, Handler, Head, HttpLimits, HttpServer, Response
from pykvd.transport import Limits
from pykvd.transport import Server as Listener

TIMEOUT = 60.0


@dataclass
class Answer:
    """One response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON value."""
        return json.loads(self.body)


class _Unclosed(io.BufferedReader):
    """A reader that outlives the responses that are read from it."""

    def close(self) -> None:
        """Not yet: another answer may follow."""

    def really_close(self) -> None:
        """Now."""
        super().close()


class Connection:
    """One socket of a client; `receive_buffer` bytes wait in it at most, 0 for the usual."""

    def __init__(self, endpoint: str | tuple[str, int], *, receive_buffer: int = 0) -> None:
        if isinstance(endpoint, str):
            host, _, port = endpoint.rpartition(":")
            endpoint = host, int(port)
        self.socket = socket.create_connection(endpoint, TIMEOUT)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._file = _Unclosed(socket.SocketIO(self.socket, "r"))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def request(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and read the answer."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return self.answer(method)

    def answer(self, method: str = "GET") -> Answer:
        """Read one whole answer."""
        response = HTTPResponse(self, method=method)  # type: ignore[arg-type]  # for `makefile`
        response.begin()
        body = response.read()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, body)

    def makefile(self, _mode: str) -> "_Unclosed":
        """What has come and was not read yet."""
        return self._file

    def line(self) -> bytes:
        """Read one line."""
        return self._file.readline()

    def finish_sending(self) -> None:
        """Close our side only."""
        self.socket.shutdown(socket.SHUT_WR)

    def rest(self) -> bytes:
        """Everything until the server closes; a reset counts as the end."""
        data = b""
        try:
            while more := self._file.read(65536):
                data += more
        except ConnectionResetError:
            pass
        return data

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
        self._file.really_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def call(endpoint: str, path: str, value: object = None, **headers: str) -> Answer:
    """POST a JSON value on a connection of its own."""
    body = b"" if value is None else json.dumps(value).encode()
    with Connection(endpoint) as connection:
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        return connection.request("POST", path, body, sent)


def get(endpoint: str, path: str, **headers: str) -> Answer:
    """GET a path on a connection of its own."""
    with Connection(endpoint) as connection:
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        return connection.request("GET", path, headers=sent)


def refusal(status: int, message: str, head: Head | None) -> Response:
    """JSON errors, as the server has them."""
    del head
    return error_response(3, message, status=status)


@asynccontextmanager
async def serving(
    routes: Mapping[str, Handler], limits: HttpLimits | None = None, *, max_connections: int = 100
) -> AsyncIterator[tuple[tuple[str, int], HttpServer]]:
    """A listener on this loop that serves these paths; its address, and the server."""
    http = HttpServer(Application(routes), refusal, limits)
    listener = Listener(
        unary={}, streams={}, limits=Limits(max_connections=max_connections), http=http
    )
    address = await listener.listen_tcp("127.0.0.1", 0)
    try:
        yield address, http
    finally:
        await listener.close()
        await http.close()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` holds."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - whatever the condition is about
            await asyncio.sleep(0.005)


def echo(exchange: Exchange) -> None:
    """Answers with the body."""
    exchange.respond(Response(200, (), exchange.body))
