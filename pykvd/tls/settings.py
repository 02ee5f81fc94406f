"""What is asked of TLS on one side of a server: towards its clients or towards its peers."""

from __future__ import annotations

from typing import NamedTuple

LATEST = ""
"""A `max_version` that sets no limit."""


class TlsSettings(NamedTuple):
    """Files are paths of PEM files, read when TLS is set up and again when they change.

    cert_file, key_file: what this end shows as a server.
    client_cert_file, client_key_file: what it shows as a client; the former two when empty.
    trusted_ca_file: who signs the certificates of the other end; empty means the system's list.
    client_cert_auth: whether clients must show a certificate, and are who its CN says.
    crl_file: revoked certificates, by serial number; PEM or DER.
    allowed_cns: the other end's CN must be one of them, unless there are none.
    allowed_hostnames: its certificate must be valid for one of them, unless there are none.
    server_name: what a server's certificate must be valid for; the host dialled when empty.
    check_client_address: whether a client's SANs, if any, must name the address it comes from.
    self_signed: the certificate was made here, and those of the others are not verified.
    cipher_suites: for TLS 1.2, by Go's names; none means the usual ones.
    min_version, max_version: TLS1.2 or TLS1.3; the latter may be `LATEST`.
    """

    cert_file: str = ""
    key_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False
    crl_file: str = ""
    allowed_cns: tuple[str, ...] = ()
    allowed_hostnames: tuple[str, ...] = ()
    server_name: str = ""
    check_client_address: bool = False
    self_signed: bool = False
    cipher_suites: tuple[str, ...] = ()
    min_version: str = "TLS1.2"
    max_version: str = LATEST

    @property
    def verifies_clients(self) -> bool:
        """Whether clients need a certificate: naming who signs them is asking for them."""
        return self.client_cert_auth or bool(self.trusted_ca_file)
