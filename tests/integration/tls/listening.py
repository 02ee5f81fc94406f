"""A listener in this process, and a client that tells how it was received."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import TYPE_CHECKING

from pykvd.logs import Event
from pykvd.tls import TlsServer, TlsSettings
from pykvd.tls.errors import reason
from pykvd.transport import Call, Limits, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from tests.harness.certificates import Pair

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
SERVED = "served"
CLOSED = "closed"
TIMEOUT = 60.0


def who(call: Call, request: bytes) -> bytes:
    """Answers with the common name of the caller and its request."""
    return f"{call.common_name}:".encode() + request


def settings(server: Pair, **options: object) -> TlsSettings:
    """Settings with these files."""
    files = {"cert_file": str(server.cert), "key_file": str(server.key)}
    texts = {key: str(value) if key.endswith("file") else value for key, value in options.items()}
    return TlsSettings(**files | texts)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def serving(
    tls: TlsSettings | None, kind: str = "client", limits: Limits | None = None
) -> AsyncIterator[int]:
    """The port of a listener that answers `/test/Who`."""
    server = Server(unary={"/test/Who": who}, streams={}, limits=limits)
    endpoint = TlsServer(tls, kind) if tls else None
    _, port = await server.listen_tcp("127.0.0.1", 0, tls=endpoint)
    try:
        yield port
    finally:
        await server.close()


def client_context(ca: object, pair: Pair | None = None, alpn: str = "h2") -> ssl.SSLContext:
    """What a client of these tests speaks with."""
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols([alpn])
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


def visit(port: int, context: ssl.SSLContext | None, host: str = "127.0.0.1") -> str:
    """Connect and greet: `SERVED` after the server's SETTINGS, else why not."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as plain:
        try:
            if context is None:
                plain.sendall(PREFACE)
                return SERVED if plain.recv(64)[3:4] == b"\x04" else CLOSED
            with context.wrap_socket(plain, server_hostname=host) as connection:
                connection.sendall(PREFACE)
                return SERVED if connection.recv(64) else CLOSED
        except (ConnectionError, ssl.SSLEOFError):
            return CLOSED
        except ssl.SSLError as error:
            return reason(error)


async def visited(port: int, context: ssl.SSLContext | None, host: str = "127.0.0.1") -> str:
    """`visit` in a thread."""
    return await asyncio.to_thread(visit, port, context, host)


def rejections(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors of the rejections logged so far."""
    return [
        str(record.msg.fields["error"])
        for record in caplog.records
        if isinstance(record.msg, Event)
        and record.msg.text.startswith("rejected connection on")
        and record.levelno >= logging.WARNING
    ]


async def until(condition: object, what: str) -> None:
    """Wait until `condition()` is true."""
    assert callable(condition)
    deadline = asyncio.get_running_loop().time() + TIMEOUT
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"waited for {what}"
        await asyncio.sleep(0.005)
