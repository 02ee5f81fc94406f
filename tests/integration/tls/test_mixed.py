"""One port with `http://` and `https://`, as etcd has it: the first byte tells which one it is."""

from __future__ import annotations

import asyncio
import http.client
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pykvd.pb import rpc_pb2 as rpc
from pykvd.tls import TlsServer
from pykvd.transport import Limits
from pykvd.transport import Server as Listener
from tests.harness import PYKVD, Client, Server
from tests.harness.methods import PUT
from tests.harness.server import SHARED_MEMORY
from tests.integration.tls.listening import (
    CLOSED,
    SERVED,
    TIMEOUT,
    client_context,
    settings,
    visit,
    visited,
    who,
)
from tests.integration.tls.processes import key_flags, put_and_get

if TYPE_CHECKING:
    from tests.integration.tls.conftest import Papers


class MixedServer(Server):
    """One process that serves clients with and without TLS on its port."""

    @property
    def url(self) -> str:
        return f"http://{self.endpoint},https://{self.endpoint}"


def version(connection: http.client.HTTPConnection) -> int:
    """The status of GET /version."""
    try:
        connection.request("GET", "/version")
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_port_serves_both(papers: Papers) -> None:
    parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="pykvd-tls-", dir=parent) as home:
        server = MixedServer(PYKVD, Path(home), key_flags(papers.server))
        try:
            server.start()
            port, context = server.client_port, client_context(papers.ca.file)
            with Client(server.endpoint) as client:
                client.call(PUT, rpc.PutRequest(key=b"a", value=b"plain"))
            assert put_and_get(server.endpoint, papers.ca) == b"b"
            assert visit(port, None) == SERVED
            assert visit(port, context) == SERVED
            http11 = client_context(papers.ca.file, alpn="http/1.1")
            secure = http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=http11)
            assert version(secure) == 200
            assert version(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) == 200
        finally:
            server.kill()


async def test_rules_of_each_hold_on_a_port_of_both(papers: Papers) -> None:
    limits = Limits(preface_timeout=0.2, handshake_timeout=0.2)
    listener = Listener(unary={"/test/Who": who}, streams={}, limits=limits)
    tls = TlsServer(
        settings(papers.server, trusted_ca_file=papers.ca.file, client_cert_auth=True), "client"
    )
    _, port = await listener.listen_tcp("127.0.0.1", 0, tls=tls, plain=True)
    try:
        assert await visited(port, None) == SERVED
        assert await visited(port, client_context(papers.ca.file, papers.alice)) == SERVED
        assert await visited(port, client_context(papers.ca.file)) != SERVED
        for silence in (b"", b"\x16", b"PRI"):
            assert await asyncio.to_thread(greeted, port, silence) == CLOSED
        assert not listener.statistics().connections
    finally:
        await listener.close()


def greeted(port: int, data: bytes) -> str:
    """Send no more than this, and wait for the end."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.sendall(data)
        try:
            while connection.recv(1024):
                pass
        except ConnectionError:
            pass
    return CLOSED
