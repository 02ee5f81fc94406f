"""Certificate revocation lists, as etcd uses them: a file of serial numbers that are not let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.tls.errors import TlsError
from pykvd.tls.reloading import Reloaded, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable


class RevocationList:
    """The list in a file. Who issued a certificate does not count, nor who signed the list."""

    def __init__(self, path: str) -> None:
        """Read the file, PEM or DER. Raises TlsError."""
        # A list that cannot be read lets nobody in.
        self._serials = Reloaded(
            (path,), lambda: revoked_serials(read_bytes(path)), keep_last_good=False
        )

    def check(self, chain: Iterable[bytes]) -> None:
        """Raise TlsError for a chain (DER) with a revoked certificate, or when the list is gone."""
        revoked = self._serials.get()
        if not revoked:
            return
        for encoded in chain:
            serial = serial_number(encoded)
            if serial in revoked:
                raise TlsError(f"transport: certificate serial {serial:x} revoked")


def revoked_serials(data: bytes) -> frozenset[int]:
    """The serial numbers in a revocation list, PEM or DER. Raises TlsError."""
    from cryptography import x509  # noqa: PLC0415 - heavy, and only for those who revoke

    parse = x509.load_pem_x509_crl if b"-----BEGIN" in data else x509.load_der_x509_crl
    try:
        return frozenset(revoked.serial_number for revoked in parse(data))
    except (ValueError, TypeError) as error:
        raise TlsError(f"x509: malformed crl: {error}") from None


def serial_number(certificate: bytes) -> int:
    """The serial number of a certificate in DER. Raises TlsError."""
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.load_der_x509_certificate(certificate).serial_number
    except ValueError as error:
        raise TlsError(f"x509: malformed certificate: {error}") from None
