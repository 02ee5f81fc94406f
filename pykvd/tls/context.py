"""`ssl.SSLContext`s out of settings: versions, suites, certificates and whom to trust."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from pykvd.tls.ciphers import openssl_names
from pykvd.tls.errors import TlsError
from pykvd.tls.reloading import read_bytes

if TYPE_CHECKING:
    from pykvd.tls.settings import TlsSettings

_VERSIONS = {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """For connections that are accepted. Raises TlsError.

    Sessions are never resumed: each handshake verifies the client again, and connections live
    long enough not to need it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_versions(context, settings)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    load_key_pair(context, settings.cert_file, settings.key_file)
    if settings.verifies_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, settings.trusted_ca_file, ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """For connections that are dialled. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _set_versions(context, settings)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.hostname_checks_common_name = False
    certificate, key = client_key_pair(settings)
    if certificate:
        load_key_pair(context, certificate, key)
    if settings.self_signed:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _trust(context, settings.trusted_ca_file, ssl.Purpose.SERVER_AUTH)
    context.set_alpn_protocols(["h2"])
    return context


def client_key_pair(settings: TlsSettings) -> tuple[str, str]:
    """The files of certificate and key for connections that are dialled; empty without any."""
    if settings.client_cert_file:
        return settings.client_cert_file, settings.client_key_file
    return settings.cert_file, settings.key_file


def load_key_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a chain and its key. Raises TlsError, in Go's words where it has some."""
    if _CERTIFICATE not in read_bytes(certificate):
        raise TlsError("tls: failed to find any PEM data in certificate input")
    if b"PRIVATE KEY-----" not in read_bytes(key):
        raise TlsError("tls: failed to find any PEM data in key input")
    try:
        # A password is given so that nobody is asked for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError("tls: private key does not match public key") from None
        raise TlsError(f"tls: {certificate} and {key} cannot be used: {error}") from None
    except (OSError, ValueError) as error:
        raise TlsError(f"tls: {certificate} and {key} cannot be used: {error}") from None


def _trust(context: ssl.SSLContext, path: str, purpose: ssl.Purpose) -> None:
    """Trust those in a file, intermediate authorities too as in Go; without one, the system's."""
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not path:
        context.load_default_certs(purpose)
        return
    data = read_bytes(path)
    if _CERTIFICATE not in data:
        raise TlsError(f"tls: {path} holds no certificate")
    try:
        context.load_verify_locations(cadata=data.decode("ascii", "ignore"))
    except (OSError, ValueError) as error:
        raise TlsError(f"tls: {path} cannot be used: {error}") from None


def _set_versions(context: ssl.SSLContext, settings: TlsSettings) -> None:
    suites = openssl_names(settings.cipher_suites)
    context.minimum_version = _VERSIONS[settings.min_version]
    if settings.max_version:
        context.maximum_version = _VERSIONS[settings.max_version]
    if suites:
        try:
            context.set_ciphers(":".join(suites))
        except ssl.SSLError:
            raise TlsError("tls: none of the cipher suites is supported here") from None
    elif settings.cipher_suites:
        # Only suites of TLS 1.3 are named: no version before it can be spoken.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
