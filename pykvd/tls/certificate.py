"""What a verified certificate says about the other end."""

from __future__ import annotations

import ipaddress
import ssl
import sys
import time
from typing import Any, NamedTuple

from pykvd.tls.errors import TlsError

_DER = 2  # `_ssl.ENCODING_DER`


class PeerCertificate(NamedTuple):
    """The leaf that the other end has shown, after its chain was verified.

    common_name: the last CN of the subject, as Go reads it; "" without any.
    dns_names, ip_addresses: its subject alternative names of these kinds, the latter in the
        shortest form of each.
    chain: DER of the leaf and of those who signed for it.
    """

    common_name: str = ""
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    chain: tuple[bytes, ...] = ()

    def is_valid_for(self, host: str) -> bool:
        """Whether a SAN matches a host name or an IP address (RFC 6125 6.4).

        `*` stands for exactly one whole label, the leftmost.
        """
        address = parse_address(host)
        if address:
            return address in self.ip_addresses
        wanted = host.lower().removesuffix(".").split(".")
        return all(wanted) and any(_matches(name, wanted) for name in self.dns_names)


def peer_certificate(connection: ssl.SSLObject) -> PeerCertificate | None:
    """The other end's certificate; None when it was not asked for one or not verified.

    Raises TlsError for one that cannot be read.
    """
    try:
        fields: Any = connection.getpeercert()
        if not fields:
            return None
        _check_dates(connection, fields)
        return _read(fields, _chain(connection))
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(f"tls: failed to parse certificate: {error}") from None


def _read(fields: Any, chain: tuple[bytes, ...]) -> PeerCertificate:
    common_name = ""
    for relative_name in fields.get("subject", ()):
        for key, value in relative_name:
            if key == "commonName":
                common_name = value
    names = fields.get("subjectAltName", ())
    return PeerCertificate(
        common_name,
        tuple(value for kind, value in names if kind == "DNS"),
        tuple(
            address
            for kind, value in names
            if kind == "IP Address" and (address := parse_address(value))
        ),
        chain,
    )


def parse_address(text: str) -> str:
    """The shortest form of an IP address, with or without brackets; "" for anything else."""
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _matches(pattern: str, wanted: list[str]) -> bool:
    labels = pattern.lower().removesuffix(".").split(".")
    if len(labels) != len(wanted) or not all(labels):
        return False
    first_matches = labels[0] in {"*", wanted[0]}
    return first_matches and labels[1:] == wanted[1:]


def _check_dates(connection: ssl.SSLObject, fields: Any) -> None:
    """A resumed session was verified when it began, maybe long ago."""
    if connection.session_reused and ssl.cert_time_to_seconds(fields["notAfter"]) < time.time():
        raise ValueError("x509: certificate has expired or is not yet valid")


def _chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """The chain that was verified; of a resumed session only the leaf is known."""
    return _verified_chain(connection) or (connection.getpeercert(binary_form=True) or b"",)


def _verified_chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    if sys.version_info >= (3, 13):
        return tuple(connection.get_verified_chain())
    # Before 3.13 only the object behind it tells.
    inner: Any = connection._sslobj  # type: ignore[attr-defined]
    return tuple(each.public_bytes(_DER) for each in inner.get_verified_chain() or ())
