"""Certificates that a member makes for itself."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pykvd.config import Config
from pykvd.config.urls import parse_urls
from pykvd.tls import TlsError
from pykvd.tls.configured import member_tls
from pykvd.tls.self_signed import self_signed
from tests.harness.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

CLIENT_URL = (
    "TLS key/cert (--cert-file, --key-file) must be provided for client url {} with HTTPS scheme"
)


def test_what_is_made(tmp_path: Path) -> None:
    pair = self_signed(tmp_path / "data" / "client", ["10.0.0.1", "localhost", "10.0.0.1"], 3)
    certificate = x509.load_pem_x509_certificate((tmp_path / "data/client/cert.pem").read_bytes())
    assert certificate.subject.rfc4514_string() == certificate.issuer.rfc4514_string() == "O=etcd"
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == timedelta(days=3 * 365)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.0.0.1"]
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment) == (True, True)
    assert not usage.key_cert_sign
    modes = [(tmp_path / part).stat().st_mode & 0o777 for part in ("data", "data/client/key.pem")]
    assert modes == [0o700, 0o600]
    assert pair.key.endswith("/data/client/key.pem")


def test_what_is_there_is_used_again(tmp_path: Path) -> None:
    pair = self_signed(tmp_path, ["localhost"], 1)
    before = (tmp_path / "cert.pem").read_bytes()
    assert self_signed(tmp_path, ["other"], 2) == pair
    assert (tmp_path / "cert.pem").read_bytes() == before
    (tmp_path / "key.pem").unlink()
    self_signed(tmp_path, ["localhost"], 1)
    assert (tmp_path / "cert.pem").read_bytes() != before


def test_what_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="selfSignedCertValidity is invalid,it should be greater"):
        self_signed(tmp_path, [], 0)
    with pytest.raises(TlsError, match="cannot generate cert"):
        self_signed(tmp_path, [], 10_000_000)
    (tmp_path / "file").write_text("")
    with pytest.raises(TlsError, match="cannot generate cert"):
        self_signed(tmp_path / "file" / "client", [], 1)


def test_options(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pykvd.tls")
    secure = parse_urls("https://127.0.0.1:1")
    config = Config(
        data_dir=str(tmp_path),
        auto_tls=True,
        peer_auto_tls=True,
        listen_client_urls=secure,
        listen_peer_urls=secure,
    )
    tls = member_tls(config)
    assert tls.clients is not None
    assert tls.peers is not None
    assert tls.clients.settings.cert_file == str(tmp_path / "fixtures/client/cert.pem")
    assert tls.peers.settings.cert_file == str(tmp_path / "fixtures/peer/cert.pem")
    # Members that sign for themselves do not verify each other.
    assert tls.dialler.context().verify_mode.name == "CERT_NONE"
    assert "starting with client TLS" in caplog.text
    given = Config(
        data_dir=str(tmp_path),
        auto_tls=True,
        cert_file=tls.clients.settings.cert_file,
        key_file=tls.clients.settings.key_file,
        listen_client_urls=secure + parse_urls("http://127.0.0.1:2"),
        client_cert_auth=True,
    )
    tls = member_tls(given)
    assert "ignoring client auto TLS since certs given" in caplog.text
    text = (
        "scheme is http or unix while key and cert files are present; ignoring key and cert files"
    )
    assert text in caplog.text
    assert "while --client-cert-auth is enabled; ignoring client cert auth" in caplog.text


@pytest.mark.parametrize("verifies", [False, True])
def test_rules_that_do_not_apply_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, verifies: bool
) -> None:
    ca = Authority(tmp_path)
    pair = ca.issue("server")
    member_tls(
        Config(
            cert_file=str(pair.cert),
            key_file=str(pair.key),
            client_crl_file=str(ca.revoke()),
            trusted_ca_file=str(ca.file) if verifies else "",
        )
    )
    assert ("client listeners ask nobody for a certificate" in caplog.text) is not verifies


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"listen_client_urls": parse_urls("https://127.0.0.1:1")},
            CLIENT_URL.format("https://127.0.0.1:1"),
        ),
        (
            {"listen_client_urls": parse_urls("unixs://s")},
            CLIENT_URL.format("unixs://s"),
        ),
        (
            {"listen_metrics_urls": parse_urls("https://127.0.0.1:1")},
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
        ),
        (
            {"listen_peer_urls": parse_urls("https://127.0.0.1:1")},
            "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented",
        ),
    ],
)
def test_urls_that_need_a_certificate(options: dict[str, object], text: str) -> None:
    with pytest.raises(TlsError) as caught:
        member_tls(Config(**options))  # type: ignore[arg-type]
    assert str(caught.value) == text
