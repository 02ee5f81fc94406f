"""Files of certificates, keys, authorities and revocations: read, wrong, changed and damaged."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pykvd.tls import TlsClient, TlsError, TlsServer, TlsSettings
from pykvd.tls.ciphers import OPENSSL, TLS13, openssl_names
from pykvd.tls.reloading import Reloaded, read_bytes
from pykvd.tls.revocation import RevocationList, revoked_serials, serial_number
from tests.harness.certificates import Authority, Pair

quick = hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(ca: Authority) -> Pair:
    return ca.issue("server")


MISSING = r"^open /no/cert: no such file or directory$"


def serve(cert: Path, key: Path, **options: object) -> TlsServer:
    return TlsServer(
        TlsSettings(cert_file=str(cert), key_file=str(key), **options),  # type: ignore[arg-type]
        "client",
    )


def test_missing_files_are_named(ca: Authority, pair: Pair) -> None:
    for arguments in ((Path("/no/cert"), pair.key), (pair.cert, Path("/no/cert"))):
        with pytest.raises(TlsError, match=MISSING):
            serve(*arguments)
    for option in ("trusted_ca_file", "crl_file"):
        with pytest.raises(TlsError, match=MISSING):
            serve(pair.cert, pair.key, **{option: "/no/cert"})
    with pytest.raises(TlsError, match=f"read {ca.directory}: is a directory"):
        serve(ca.directory, pair.key)


def test_wrong_files_are_told_apart(ca: Authority, pair: Pair, tmp_path: Path) -> None:
    other = ca.issue("other")
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for cert, key, text in (
        (pair.key, pair.key, "tls: failed to find any PEM data in certificate input"),
        (pair.cert, pair.cert, "tls: failed to find any PEM data in key input"),
        (pair.cert, other.key, "tls: private key does not match public key"),
        (pair.cert, locked, "cannot be used"),
    ):
        with pytest.raises(TlsError, match=text):
            serve(cert, key)
    with pytest.raises(TlsError, match="holds no certificate"):
        serve(pair.cert, pair.key, trusted_ca_file=str(pair.key))


def test_cipher_suites() -> None:
    assert openssl_names(["TLS_RSA_WITH_AES_128_GCM_SHA256", *TLS13]) == ["AES128-GCM-SHA256"]
    for name in ("", "AES128-GCM-SHA256", "TLS_NO"):
        with pytest.raises(TlsError, match=f'unexpected TLS cipher suite "{name}"'):
            openssl_names([name])


def test_every_modern_suite_is_known_to_openssl(pair: Pair) -> None:
    for name in OPENSSL:
        if not any(old in name for old in ("RC4", "3DES")):
            server = serve(pair.cert, pair.key, cipher_suites=(name,))
            chosen = [each["name"] for each in server.context().get_ciphers()]
            assert OPENSSL[name] in chosen


def test_suites_of_tls13_alone_leave_only_that_version(pair: Pair) -> None:
    context = serve(pair.cert, pair.key, cipher_suites=tuple(TLS13)).context()
    assert context.minimum_version.name == "TLSv1_3"


def test_what_has_not_changed_is_not_read_again(pair: Pair) -> None:
    server = serve(pair.cert, pair.key)
    assert server.context() is server.context()
    os.utime(pair.cert)
    context = server.context()
    assert context is server.context()


def test_a_dialler_without_files_reads_nothing_before_it_dials() -> None:
    client = TlsClient(TlsSettings())
    assert client.context().verify_mode.name == "CERT_REQUIRED"
    assert client.context().check_hostname


def test_forbidding_files_fail_until_they_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    value = Reloaded((str(path),), lambda: read_bytes(str(path)), keep_last_good=False)
    assert value.get() == b"1"
    path.unlink()
    for _ in range(2):
        with pytest.raises(TlsError):
            value.get()
    path.write_bytes(b"2")
    assert value.get() == b"2"


def test_revoked_serials_are_found_in_the_whole_chain(ca: Authority, pair: Pair) -> None:
    chain = [
        each.public_bytes(serialization.Encoding.DER)
        for each in x509.load_pem_x509_certificates(pair.cert.read_bytes() + ca.file.read_bytes())
    ]
    assert serial_number(chain[0]) == pair.serial
    RevocationList(str(ca.revoke(1, 2, 3))).check(chain)
    for serial in map(serial_number, chain):
        with pytest.raises(TlsError, match=f"^transport: certificate serial {serial:x} revoked$"):
            RevocationList(str(ca.revoke(1, serial))).check(chain)


def _damaged(original: bytes) -> st.SearchStrategy[bytes]:
    """The file with bytes replaced, cut away or put in, or something else altogether."""

    def damage(edits: list[tuple[int, int, bytes]]) -> bytes:
        data = bytearray(original)
        for start, length, new in edits:
            data[start : start + length] = new
        return bytes(data)

    position = st.integers(0, len(original))
    edit = st.tuples(position, st.integers(0, 8), st.binary(max_size=8))
    return st.one_of(st.lists(edit, max_size=5).map(damage), st.binary(max_size=200))


@pytest.fixture(scope="module")
def originals(ca: Authority, pair: Pair) -> dict[str, bytes]:
    """What is damaged: made once, for its length differs each time."""
    certificate = x509.load_pem_x509_certificate(pair.cert.read_bytes())
    return {
        "cert_file": pair.cert.read_bytes(),
        "key_file": pair.key.read_bytes(),
        "trusted_ca_file": ca.file.read_bytes(),
        "crl_file": ca.revoke(5, file="fuzz.crl").read_bytes(),
        "certificate": certificate.public_bytes(serialization.Encoding.DER),
        "crl": ca.revoke(5, 6, der=True, file="fuzz.crl").read_bytes(),
    }


@quick
@given(data=st.data())
@pytest.mark.parametrize("which", ["cert_file", "key_file", "trusted_ca_file", "crl_file"])
def test_damaged_files_raise_nothing_but_our_error(
    data: st.DataObject, which: str, originals: dict[str, bytes]
) -> None:
    with TemporaryDirectory() as directory:
        files = {}
        for name in ("cert_file", "key_file", "trusted_ca_file", "crl_file"):
            path = Path(directory) / name
            path.write_bytes(originals[name])
            files[name] = str(path)
        Path(files[which]).write_bytes(data.draw(_damaged(originals[which])))
        with contextlib.suppress(TlsError):
            TlsServer(TlsSettings(**files), "client")  # type: ignore[arg-type]
        with contextlib.suppress(TlsError):
            TlsClient(TlsSettings(**files))  # type: ignore[arg-type]


@quick
@given(data=st.data())
def test_damaged_encodings_raise_nothing_but_our_error(
    data: st.DataObject, originals: dict[str, bytes]
) -> None:
    with contextlib.suppress(TlsError):
        serial_number(data.draw(_damaged(originals["certificate"])))
    with contextlib.suppress(TlsError):
        revoked_serials(data.draw(_damaged(originals["crl"])))
