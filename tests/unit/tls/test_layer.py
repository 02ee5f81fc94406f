"""TLS on a socket: whatever the pieces in which records come, nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pykvd.tls import TlsServer, TlsSettings
from pykvd.tls.layer import TlsLayer
from tests.harness.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator


class Wire(asyncio.Transport):
    """A socket whose output is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.ended = self.closed = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Reader(asyncio.Protocol):
    """What the layer is attached to."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False
        self.error: Exception | None = None

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc


class Leader:
    """A handshaker that goes on at once."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.reader = Reader()

    def connected(self, layer: TlsLayer) -> None:
        layer.wrap(self.context, server_side=True)

    def readable(self, layer: TlsLayer) -> None:
        if layer.step():
            layer.attach(self.reader)

    def lost(self, layer: TlsLayer, error: Exception | None) -> None:
        raise AssertionError(error)


class Pipe:
    """A layer at the server's end and OpenSSL at the client's, after their handshake."""

    def __init__(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        server, client = contexts
        leader = Leader(server)
        self.reader = leader.reader
        self.wire = Wire()
        self.layer = TlsLayer(leader)
        self.layer.connection_made(self.wire)
        self.to_client, self.from_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.to_client, self.from_client, server_hostname="localhost")
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.layer.data_received(self.from_client.read())
            self.deliver()

    def deliver(self) -> None:
        """Hand the layer's output to the client."""
        self.to_client.write(self.wire.sent)
        self.wire.sent.clear()

    def read(self) -> Iterator[bytes]:
        """What the client finds."""
        while True:
            try:
                yield self.client.read(1 << 20)
            except ssl.SSLWantReadError:
                return


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ca = Authority(tmp_path_factory.mktemp("layer"))
    pair = ca.issue("server")
    server = TlsServer(TlsSettings(cert_file=str(pair.cert), key_file=str(pair.key)), "client")
    return server.context(), ssl.create_default_context(cafile=str(ca.file))


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
messages = st.lists(st.integers(1, 50_000), min_size=1, max_size=5)
quick = hypothesis_settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(sizes=messages, pieces=st.lists(st.integers(1, 20_000), min_size=1, max_size=8))
def test_all_that_has_come_is_handed_on_at_once(
    contexts: Contexts, sizes: list[int], pieces: list[int]
) -> None:
    pipe = Pipe(contexts)
    sent = b""
    for number, size in enumerate(sizes):
        data = bytes([number]) * size
        sent += data
        while data:
            data = data[pipe.client.write(data) :]
    cipher = pipe.from_client.read()
    turn = 0
    while cipher:
        piece = pieces[turn % len(pieces)]
        pipe.layer.data_received(cipher[:piece])
        cipher = cipher[piece:]
        turn += 1
    assert pipe.reader.data == sent


@quick
@given(sizes=messages)
def test_all_that_is_written_leaves_at_once(contexts: Contexts, sizes: list[int]) -> None:
    pipe = Pipe(contexts)
    for size in sizes:
        pipe.layer.write(bytes(size))
        pipe.deliver()
        assert b"".join(pipe.read()) == bytes(size)


def test_a_goodbye_is_told_and_answered(contexts: Contexts) -> None:
    pipe = Pipe(contexts)
    with contextlib.suppress(ssl.SSLWantReadError):
        pipe.client.unwrap()
    pipe.layer.data_received(pipe.from_client.read())
    assert pipe.reader.ended
    assert pipe.wire.closed
    pipe.deliver()
    pipe.client.unwrap()  # raises unless our close_notify has come


def test_half_closing_still_reads_nothing_and_says_so(contexts: Contexts) -> None:
    pipe = Pipe(contexts)
    pipe.layer.write_eof()
    assert pipe.wire.ended
    assert not pipe.wire.closed
    pipe.deliver()
    assert pipe.client.read(10) == b""
    pipe.layer.write(b"late")
    assert not pipe.wire.sent


def test_damaged_records_end_the_connection_with_an_alert(contexts: Contexts) -> None:
    pipe = Pipe(contexts)
    pipe.client.write(b"hello")
    record = bytearray(pipe.from_client.read())
    record[-1] ^= 1
    pipe.layer.data_received(bytes(record))
    assert pipe.wire.closed
    assert pipe.reader.data == b""
    pipe.layer.connection_lost(None)
    assert "MAC" in str(pipe.reader.error)
    pipe.deliver()
    with pytest.raises(ssl.SSLError, match="alert"):
        pipe.client.read(10)
