"""Certificate authorities, certificates and revocation lists for tests, as PEM files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
BOTH = (SERVER, CLIENT)
LOCAL = ("localhost", "127.0.0.1")
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """The files of a certificate, or chain, and its key."""

    cert: Path
    key: Path
    serial: int

    def copy_to(self, other: Pair) -> None:
        """Put these files in the place of others', the key last; readers never see half a file."""
        for source, target in ((self.cert, other.cert), (self.key, other.key)):
            temporary = target.with_suffix(".new")
            temporary.write_bytes(source.read_bytes())
            os.replace(temporary, target)


class Authority:
    """A certificate authority whose files are in one directory; `signed_by` makes it a lesser one.

    Keys are P-256, which are made in no time.
    """

    def __init__(self, directory: Path, name: str = "ca", signed_by: Authority | None = None):
        self.directory = directory
        self.name = name
        self.parent = signed_by
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(name)
        issuer = signed_by or self
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self._subject)
            .issuer_name(issuer._subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 10 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(issuer._key, hashes.SHA256())
        )
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *,
        common_name: str | None = None,
        hosts: Sequence[str] = LOCAL,
        usages: Sequence[x509.ObjectIdentifier] = BOTH,
        begins: timedelta = -DAY,
        ends: timedelta = DAY,
        serial: int | None = None,
    ) -> Pair:
        """A certificate in files called `name`; its CN is `name` too unless given ("" is none).

        `begins` and `ends` are relative to now. A lesser authority's own certificate follows.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        number = serial or x509.random_serial_number()
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name if common_name is None else common_name))
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(number)
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        chain = [certificate] + ([self.certificate] if self.parent else [])
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key", number)
        pair.cert.write_bytes(
            b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
        )
        _write_key(pair.key, key)
        return pair

    def revoke(self, *serials: int, der: bool = False, file: str = "crl.pem") -> Path:
        """Write the list of revoked certificates; it replaces a former one at once."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._subject)
            .last_update(now - DAY)
            .next_update(now + DAY)
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial)
            builder = builder.add_revoked_certificate(revoked.revocation_date(now).build())
        encoding = serialization.Encoding.DER if der else serialization.Encoding.PEM
        path = self.directory / file
        temporary = path.with_suffix(".new")
        temporary.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(encoding))
        os.replace(temporary, path)
        return path


def _name(common_name: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tests")]
    if common_name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: EllipticCurvePrivateKey) -> None:
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
