"""The matrix of client certificates, on listeners for clients and for peers."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.harness.certificates import Pair
from tests.integration.tls.listening import (
    CLOSED,
    PREFACE,
    SERVED,
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

UNTRUSTED = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
DATES = "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
USAGE = "tls: failed to verify certificate: x509: certificate specifies an incompatible key usage"
DISALLOWED = "client certificate authentication failed"

#: Certificate, what the client sees, and what the log says; for listeners of both kinds.
VERIFIED = [
    ("alice", SERVED, None),
    ("bob", SERVED, None),
    ("no names", SERVED, None),
    ("by a lesser authority", SERVED, None),
    (None, "remote error: tls: certificate required", "tls: client didn't provide a certificate"),
    ("stranger", "remote error: tls: unknown certificate authority", UNTRUSTED),
    ("expired", "remote error: tls: expired certificate", DATES),
    ("not yet valid", "remote error: tls: bad certificate", DATES),
    ("server only", "remote error: tls: unsupported certificate", USAGE),
]


@pytest.mark.parametrize("kind", ["client", "peer"])
@pytest.mark.parametrize(("name", "seen", "logged"), VERIFIED)
async def test_certificates_are_verified(
    papers: Papers,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    name: str | None,
    seen: str,
    logged: str | None,
) -> None:
    pair = papers.clients[name] if name else None
    tls = settings(papers.server, trusted_ca_file=papers.ca.file)
    async with serving(tls, kind) as port:
        assert await visited(port, client_context(papers.ca.file, pair)) == seen
        if logged:
            await until(lambda: rejections(caplog), "the log")
        assert rejections(caplog) == ([logged] if logged else [])
        record = next((r for r in caplog.records if "rejected" in r.getMessage()), None)
        assert record is None or f"on {kind} endpoint" in record.getMessage()


@pytest.mark.parametrize("kind", ["client", "peer"])
@pytest.mark.parametrize("der", [False, True])
async def test_revoked_certificates_are_refused_on_both_listeners(
    papers: Papers, caplog: pytest.LogCaptureFixture, kind: str, der: bool
) -> None:
    revoked, lesser = papers.clients["revoked"], papers.clients["by a lesser authority"]
    crl = papers.ca.revoke(revoked.serial, der=der, file=f"{kind}-{der}.crl")
    tls = settings(papers.server, trusted_ca_file=papers.ca.file, crl_file=crl)
    contexts = [client_context(papers.ca.file, pair) for pair in (papers.alice, revoked, lesser)]
    async with serving(tls, kind) as port:
        assert [await visited(port, each) for each in contexts] == [SERVED, CLOSED, SERVED]
        assert rejections(caplog) == [f"transport: certificate serial {revoked.serial:x} revoked"]


@pytest.mark.parametrize("shown", [True, False])
async def test_whom_a_revoked_authority_has_signed_is_refused(
    papers: Papers, caplog: pytest.LogCaptureFixture, tmp_path: Path, shown: bool
) -> None:
    """Also when the client leaves it out of its chain, because the server knows it anyway."""
    pair = papers.clients["by a lesser authority"]
    leaf, lesser = x509.load_pem_x509_certificates(pair.cert.read_bytes())
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(papers.ca.file.read_bytes())
    if not shown:
        trusted.write_bytes(papers.ca.file.read_bytes() + lesser.public_bytes(Encoding.PEM))
        cert = tmp_path / "leaf.crt"
        cert.write_bytes(leaf.public_bytes(Encoding.PEM))
        pair = Pair(cert, pair.key, pair.serial)
    crl = papers.ca.revoke(lesser.serial_number, file="lesser.crl")
    tls = settings(papers.server, trusted_ca_file=trusted, crl_file=crl)
    async with serving(tls) as port:
        assert await visited(port, client_context(papers.ca.file, pair)) == CLOSED
        text = f"transport: certificate serial {lesser.serial_number:x} revoked"
        assert rejections(caplog) == [text]


async def test_the_revocation_list_is_read_for_every_handshake(papers: Papers) -> None:
    context = client_context(papers.ca.file, papers.alice)
    crl = papers.ca.revoke(file="changing.crl")
    tls = settings(papers.server, trusted_ca_file=papers.ca.file, crl_file=crl)
    async with serving(tls) as port:
        assert await visited(port, context) == SERVED
        papers.ca.revoke(papers.alice.serial, file="changing.crl")
        assert await visited(port, context) == CLOSED
        papers.ca.revoke(file="changing.crl")
        assert await visited(port, context) == SERVED
        crl.write_bytes(b"no list")
        assert await visited(port, context) == CLOSED
        crl.unlink()
        assert await visited(port, context) == CLOSED


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_no_session_is_resumed_past_a_revocation(papers: Papers, version: str) -> None:
    context = client_context(papers.ca.file, papers.alice)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    crl = papers.ca.revoke(file="resumed.crl")
    tls = settings(papers.server, trusted_ca_file=papers.ca.file, crl_file=crl)

    def greet(port: int, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bytes]:
        plain = socket.create_connection(("127.0.0.1", port), 10)
        with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as up:
            try:
                up.sendall(PREFACE)
                answer = up.recv(64)
            except (ConnectionError, ssl.SSLError):
                answer = b""
            return up.session, answer

    async with serving(tls) as port:
        session, answer = await asyncio.to_thread(greet, port, None)
        assert answer
        papers.ca.revoke(papers.alice.serial, file="resumed.crl")
        assert (await asyncio.to_thread(greet, port, session))[1] == b""


@pytest.mark.parametrize(
    ("name", "options", "seen"),
    [
        ("alice", {"allowed_cns": ("alice",)}, SERVED),
        ("alice", {"allowed_cns": ("bob", "alice")}, SERVED),
        ("bob", {"allowed_cns": ("alice",)}, CLOSED),
        ("nameless", {"allowed_cns": ("alice",)}, CLOSED),
        (
            "stranger",
            {"allowed_cns": ("alice",)},
            "remote error: tls: unknown certificate authority",
        ),
        ("bob", {"allowed_hostnames": ("localhost",)}, SERVED),
        ("bob", {"allowed_hostnames": ("node.invalid", "127.0.0.1")}, SERVED),
        ("bob", {"allowed_hostnames": ("node.invalid",)}, CLOSED),
        ("named elsewhere", {"allowed_hostnames": ("node.invalid",)}, SERVED),
        ("no names", {"allowed_hostnames": ("mobile",)}, CLOSED),
    ],
)
async def test_only_allowed_names_are_let_in(
    papers: Papers,
    caplog: pytest.LogCaptureFixture,
    name: str,
    options: dict[str, object],
    seen: str,
) -> None:
    tls = settings(papers.server, trusted_ca_file=papers.ca.file, **options)
    async with serving(tls, "peer") as port:
        assert await visited(port, client_context(papers.ca.file, papers.clients[name])) == seen
        assert rejections(caplog) == ([DISALLOWED] if seen == CLOSED else rejections(caplog)[:1])


@pytest.mark.parametrize(
    ("name", "checked", "seen", "logged"),
    [
        ("bob", True, SERVED, None),
        ("no names", True, SERVED, None),
        ("by name", True, SERVED, None),
        (
            "by wildcard",
            True,
            CLOSED,
            'tls: "127.0.0.1" does not match any of DNSNames ["*.invalid"]',
        ),
        ("elsewhere", False, SERVED, None),
        ("elsewhere", True, CLOSED, "x509: certificate is valid for 10.1.2.3, not 127.0.0.1"),
        (
            "named elsewhere",
            True,
            CLOSED,
            'tls: "127.0.0.1" does not match any of DNSNames ["node.invalid"]',
        ),
    ],
)
async def test_peers_dial_from_the_addresses_of_their_certificates(
    papers: Papers,
    caplog: pytest.LogCaptureFixture,
    name: str,
    checked: bool,
    seen: str,
    logged: str | None,
) -> None:
    tls = settings(papers.server, trusted_ca_file=papers.ca.file, check_client_address=checked)
    async with serving(tls, "peer") as port:
        assert await visited(port, client_context(papers.ca.file, papers.clients[name])) == seen
        assert rejections(caplog) == ([logged] if logged else [])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_without_an_authority_nobody_is_asked(papers: Papers, host: str) -> None:
    async with serving(settings(papers.server)) as port:
        assert await visited(port, client_context(papers.ca.file), host) == SERVED
        stranger = client_context(papers.ca.file, papers.clients["stranger"])
        assert await visited(port, stranger, host) == SERVED


async def test_clients_refuse_a_server_for_its_name_or_its_authority(papers: Papers) -> None:
    async with serving(settings(papers.server)) as port:
        wrong = await visited(port, client_context(papers.ca.file), "other.host")
        assert "hostname mismatch" in wrong.lower()
        other = papers.directory / "other.pem"
        assert await visited(port, client_context(other)) == UNTRUSTED
