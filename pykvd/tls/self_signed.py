"""--auto-tls and --peer-auto-tls: a certificate that a member makes for itself.

As etcd's, except that the key is one of P-256: BoringSSL, and so grpcio, takes none of P-521.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pykvd.logs import get_logger
from pykvd.tls.certificate import parse_address
from pykvd.tls.errors import TlsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

_DAYS_A_YEAR = 365

_log = get_logger("tls")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The files of a certificate and its key."""

    certificate: str
    key: str


def self_signed(directory: Path, hosts: Sequence[str], years: int) -> KeyPair:
    """The key pair in `directory`, made if it is not there; an expired one is used as it is.

    `hosts` are names and IP addresses for which it is valid. Raises TlsError.
    """
    if years == 0:
        raise TlsError("selfSignedCertValidity is invalid,it should be greater than 0")
    pair = KeyPair(str(directory.absolute() / "cert.pem"), str(directory.absolute() / "key.pem"))
    if os.path.exists(pair.certificate) and os.path.exists(pair.key):
        return pair
    try:
        _make_private(directory.absolute())
        _make(pair, hosts, years)
    except (OSError, OverflowError, ValueError) as error:
        raise TlsError(f"cannot generate cert: {error}") from error
    return pair


def _make_private(directory: Path) -> None:
    """Make a directory, and those above that are not there: for the owner alone."""
    if not directory.is_dir():
        _make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def _make(pair: KeyPair, hosts: Sequence[str], years: int) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certify(key, hosts, timedelta(days=years * _DAYS_A_YEAR))
    _log.warn(
        "automatically generate certificates",
        certificate_validity_bound_not_after=certificate.not_valid_after_utc.isoformat(),
    )
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    # The key first: a certificate that is there says that its key is.
    _write(pair.key, encoded, 0o600)
    _log.info("created key file", path=pair.key)
    _write(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _log.info("created cert file", path=pair.certificate)


def _certify(key: EllipticCurvePrivateKey, hosts: Sequence[str], life: timedelta) -> Certificate:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "etcd")])
    usage = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"),
        False,
    )
    alternatives: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(host)) if parse_address(host) else x509.DNSName(host)
        for host in dict.fromkeys(filter(None, hosts))
    ]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + life)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_encipherment=True,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(key, hashes.SHA256())


def _write(path: str, data: bytes, mode: int) -> None:
    """Write a file that appears whole or not at all."""
    temporary = f"{path}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    os.replace(temporary, path)
