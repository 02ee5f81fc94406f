"""How handshakes go, fail, stall and flood; what plain and TLS make of each other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import ssl
from typing import TYPE_CHECKING

import grpc
import pytest

from pykvd.transport import Limits, Server
from tests.harness.certificates import Authority, Pair
from tests.integration.tls.listening import (
    CLOSED,
    PREFACE,
    SERVED,
    TIMEOUT,
    client_context,
    rejections,
    serving,
    settings,
    until,
    visited,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.tls.conftest import Papers

NOT_TLS = "tls: first record does not look like a TLS handshake"


def call(port: int, papers: Papers, pair: Pair | None, message: bytes = b"") -> bytes:
    """`/test/Who` by grpcio."""
    key, cert = (pair.key.read_bytes(), pair.cert.read_bytes()) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(papers.ca.file.read_bytes(), key, cert)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        who: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Who")
        return who(message, timeout=TIMEOUT)


@pytest.mark.parametrize(
    ("name", "auth", "user"),
    [
        ("alice", True, b"alice"),
        ("nameless", True, b""),
        # Asked for by its authority only, a certificate lets in and is nobody's name.
        ("alice", False, b""),
    ],
)
async def test_the_common_name_is_the_user(
    papers: Papers, name: str, auth: bool, user: bytes
) -> None:
    tls = settings(papers.server, trusted_ca_file=papers.ca.file, client_cert_auth=auth)
    async with serving(tls) as port:
        reply = await asyncio.to_thread(call, port, papers, papers.clients[name])
    assert reply == user + b":"


async def test_messages_of_all_sizes(papers: Papers) -> None:
    """Around the 16 KiB of a record, and many records."""
    async with serving(settings(papers.server)) as port:
        for size in (0, 1, 16_000, 16_384, 16_385, 100_000, 1_500_000):
            message = os.urandom(size)
            assert await asyncio.to_thread(call, port, papers, None, message) == b":" + message


async def test_a_plain_client_on_a_tls_port(
    papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(settings(papers.server)) as port:
        assert await visited(port, None) == CLOSED
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        assert rejections(caplog) == [NOT_TLS, NOT_TLS]


async def test_a_tls_client_on_a_plain_port(papers: Papers) -> None:
    async with serving(None) as port:
        assert await visited(port, client_context(papers.ca.file)) in {CLOSED, "EOF"}


async def test_who_only_looks_whether_the_port_is_open_is_no_warning(
    papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "pykvd.tls")
    async with serving(settings(papers.server)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await until(lambda: "error=EOF" in caplog.text, "the log")
        assert rejections(caplog) == []


@pytest.mark.parametrize(
    ("low", "high", "client", "seen"),
    [
        ("TLS1.2", "", "TLSv1_2", SERVED),
        ("TLS1.2", "", "TLSv1_3", SERVED),
        ("TLS1.3", "", "TLSv1_2", "remote error: tls: protocol version not supported"),
        ("TLS1.3", "", "TLSv1_3", SERVED),
        ("TLS1.2", "TLS1.2", "TLSv1_3", "remote error: tls: protocol version not supported"),
    ],
)
async def test_versions(papers: Papers, low: str, high: str, client: str, seen: str) -> None:
    context = client_context(papers.ca.file)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[client]
    async with serving(settings(papers.server, min_version=low, max_version=high)) as port:
        assert await visited(port, context) == seen


async def test_cipher_suites_by_gos_names(papers: Papers) -> None:
    name = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    async with serving(
        settings(papers.server, cipher_suites=(name,), max_version="TLS1.2")
    ) as port:
        context = client_context(papers.ca.file)
        context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        assert await visited(port, context) == SERVED
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        assert await visited(port, context) == "remote error: tls: handshake failure"


@pytest.mark.parametrize("offered", [["h2"], ["http/1.1"], ["http/1.1", "h2"], []])
async def test_alpn_prefers_http2(papers: Papers, offered: list[str]) -> None:
    context = ssl.create_default_context(cafile=str(papers.ca.file))
    if offered:
        context.set_alpn_protocols(offered)
    async with serving(settings(papers.server)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        writer.close()
        assert chosen == ("h2" if "h2" in offered else offered[0] if offered else None)


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x40\x00" + b"\x01" * 100])
async def test_a_stalled_handshake_is_cut_in_time(
    papers: Papers, caplog: pytest.LogCaptureFixture, hello: bytes
) -> None:
    async with serving(settings(papers.server), limits=Limits(handshake_timeout=0.2)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(hello)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(TIMEOUT):
                assert await reader.read() == b""
        writer.close()
        assert rejections(caplog) == ["i/o timeout"]
        assert await visited(port, client_context(papers.ca.file)) == SERVED


async def test_who_sends_its_handshake_by_drops_has_no_more_time(papers: Papers) -> None:
    """The time runs from the connection on, whatever comes meanwhile."""
    async with serving(settings(papers.server), limits=Limits(handshake_timeout=0.3)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01\x40\x00\x01")
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(TIMEOUT):
                while not reader.at_eof():
                    writer.write(b"\x00")
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await reader.read()
        writer.close()


async def test_a_flood_of_half_open_handshakes_is_bounded(papers: Papers) -> None:
    """The oldest go, so that who finishes its handshake is served through the flood."""
    limit = 20
    limits = Limits(handshake_timeout=60.0, max_handshakes=limit)
    async with serving(settings(papers.server), limits=limits) as port:
        flood = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5 * limit)]
        ended = [asyncio.ensure_future(reader.read()) for reader, _ in flood]
        try:
            oldest, youngest = ended[: 4 * limit], ended[4 * limit :]
            await until(lambda: all(each.done() for each in oldest), "the oldest to be dropped")
            assert not any(each.done() for each in youngest)
            assert await visited(port, client_context(papers.ca.file)) == SERVED
            assert not any(each.done() for each in youngest[1:])
        finally:
            for each, (_, writer) in zip(ended, flood, strict=True):
                each.cancel()
                writer.close()


async def test_whatever_is_sent_the_listener_goes_on(
    papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    """A real client's first flight with a few bytes damaged, and noise."""
    randomness = random.Random(6)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(papers.ca.file).wrap_bio(incoming, outgoing, server_hostname="a")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    async with serving(settings(papers.server, trusted_ca_file=papers.ca.file)) as port:
        for number in range(100):
            data = bytearray(hello if number % 4 else randomness.randbytes(300))
            for _ in range(randomness.randrange(4)):
                data[randomness.randrange(len(data))] = randomness.randrange(256)
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            writer.write_eof()
            writer.close()
        assert await visited(port, client_context(papers.ca.file, papers.alice)) == SERVED
    assert not [record for record in caplog.records if record.exc_info or record.name == "asyncio"]


async def test_endless_key_updates_are_cut(papers: Papers) -> None:
    """RFC 8446 4.6.3: each may ask for one in return, which would pile up unread."""
    async with serving(settings(papers.server)) as port:
        client = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-msg"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert client.stdin is not None
        assert client.stdout is not None
        answers = 0
        async with asyncio.timeout(4 * TIMEOUT):
            while b"Verify return code" not in await client.stdout.readline():
                pass
            client.stdin.write(b"K\n")
            while line := await client.stdout.readline():
                if line.endswith(b"KeyUpdate\n"):
                    answers += line.startswith(b"<<<")
                    if line.startswith(b">>>"):
                        client.stdin.write(b"K\n")
            await client.wait()
        assert 5 < answers < 100


async def test_rejections_do_not_flood_the_log(
    papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    count = 300
    async with serving(settings(papers.server)) as port:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.read()
            writer.close()
        seconds = int(loop.time() - begin) + 2
    assert len(rejections(caplog)) <= 20 * seconds < count or seconds > 14


async def test_closing_drops_handshakes_under_way(papers: Papers) -> None:
    async with serving(settings(papers.server)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await visited(port, client_context(papers.ca.file)) == SERVED
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()


async def test_draining_says_goodbye(papers: Papers) -> None:
    """GOAWAY, then close_notify, then the end of the socket: no client sees a truncation."""
    from pykvd.tls import TlsServer

    server = Server(unary={}, streams={}, limits=Limits(drain_ping_timeout=0.05))
    tls = TlsServer(settings(papers.server), "client")
    _, port = await server.listen_tcp("127.0.0.1", 0, tls=tls)

    def read_to_the_end(connection: ssl.SSLSocket) -> bytes:
        data = b""
        while chunk := connection.recv(4096):
            data += chunk
        return data

    plain = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port), TIMEOUT)
    context = client_context(papers.ca.file)
    with await asyncio.to_thread(
        context.wrap_socket,
        plain,
        server_hostname="localhost",
        suppress_ragged_eofs=False,
    ) as up:
        up.sendall(PREFACE)
        assert await asyncio.to_thread(up.recv, 1)
        draining = asyncio.ensure_future(server.drain(5.0))
        data = await asyncio.to_thread(read_to_the_end, up)
    await draining
    assert b"graceful_stop" in data


async def test_certificates_are_read_again_for_new_connections(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = Authority(tmp_path), Authority(tmp_path, "new")
    pair, other = old.issue("server"), new.issue("other")
    async with serving(settings(pair)) as port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context(old.file)
        )
        other.copy_to(pair)
        assert await visited(port, client_context(new.file)) == SERVED
        assert "unknown authority" in await visited(port, client_context(old.file))
        # A certificate without its key yet: the former pair serves, and the log says why.
        pair.cert.write_bytes(old.issue("third").cert.read_bytes())
        assert await visited(port, client_context(new.file)) == SERVED
        assert "private key does not match public key" in caplog.text
        pair.cert.unlink()
        assert await visited(port, client_context(new.file)) == SERVED
        # Who was there before stays.
        writer.write(PREFACE)
        assert await reader.read(1)
        writer.close()


async def test_authorities_are_read_again_for_new_connections(tmp_path: Path) -> None:
    old, new = Authority(tmp_path), Authority(tmp_path, "new")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(old.file.read_bytes())
    server, client = old.issue("server"), new.issue("client")
    async with serving(settings(server, trusted_ca_file=trusted)) as port:
        context = client_context(old.file, client)
        assert "unknown certificate authority" in await visited(port, context)
        trusted.write_bytes(old.file.read_bytes() + new.file.read_bytes())
        assert await visited(port, context) == SERVED
