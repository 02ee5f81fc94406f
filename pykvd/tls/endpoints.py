"""The two ends of TLS: what a listener and what a dialler need for each connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.logs import get_logger
from pykvd.tls.addresses import names_to_look_up
from pykvd.tls.certificate import PeerCertificate, peer_certificate
from pykvd.tls.context import client_context, client_key_pair, server_context
from pykvd.tls.errors import TlsError
from pykvd.tls.reloading import Reloaded
from pykvd.tls.revocation import RevocationList

if TYPE_CHECKING:
    import ssl

    from pykvd.tls.settings import TlsSettings

_log = get_logger("tls")


class _End:
    """Rules about the certificate of the other end, the same for listeners and diallers."""

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self._revoked = RevocationList(settings.crl_file) if settings.crl_file else None

    def check(self, connection: ssl.SSLObject) -> PeerCertificate | None:
        """The certificate of the other end, None if it was not asked for. Raises TlsError."""
        certificate = peer_certificate(connection)
        if certificate is not None and self._revoked is not None:
            self._revoked.check(certificate.chain)
        return certificate

    def _check_allowed(self, certificate: PeerCertificate) -> None:
        settings = self.settings
        names, hosts = settings.allowed_cns, settings.allowed_hostnames
        if (names and certificate.common_name not in names) or (
            hosts and not any(map(certificate.is_valid_for, hosts))
        ):
            raise TlsError("client certificate authentication failed")


class TlsServer(_End):
    """TLS of listeners. `kind`, `client` or `peer`, says in the log who is let in."""

    def __init__(self, settings: TlsSettings, kind: str) -> None:
        """Read the files. Raises TlsError."""
        super().__init__(settings)
        self.kind = kind
        self._context = Reloaded(
            _present(settings.cert_file, settings.key_file, settings.trusted_ca_file),
            lambda: server_context(settings),
            keep_last_good=True,
        )

    def context(self) -> ssl.SSLContext:
        """For the next connection, with the files as they are now."""
        return self._context.get()

    def check(self, connection: ssl.SSLObject) -> PeerCertificate | None:
        """The client's certificate. Raises TlsError for one that is not let in."""
        certificate = super().check(connection)
        if certificate is not None:
            self._check_allowed(certificate)
        elif self.settings.verifies_clients:
            raise TlsError("tls: client didn't provide a certificate")
        return certificate

    def names_to_look_up(
        self, certificate: PeerCertificate | None, address: str
    ) -> tuple[str, ...]:
        """What `addresses.check_names` must still find true. Raises TlsError."""
        if certificate is None or not self.settings.check_client_address:
            return ()
        return names_to_look_up(certificate, address)


class TlsClient(_End):
    """TLS of connections that are dialled."""

    def __init__(self, settings: TlsSettings) -> None:
        """Read the files. Raises TlsError."""
        super().__init__(settings)
        self._context: Reloaded[ssl.SSLContext] | None = None
        if self._files():
            self.context()

    def _files(self) -> tuple[str, ...]:
        return _present(*client_key_pair(self.settings), self.settings.trusted_ca_file)

    def context(self) -> ssl.SSLContext:
        """For the next connection, with the files as they are now."""
        if self._context is None:
            # The system's authorities take a while to read: not before somebody dials.
            self._context = Reloaded(
                self._files(), lambda: client_context(self.settings), keep_last_good=True
            )
        return self._context.get()

    def check(self, connection: ssl.SSLObject) -> PeerCertificate | None:
        """The server's certificate. Raises TlsError for one that is not accepted."""
        certificate = super().check(connection)
        self._check_allowed(certificate or PeerCertificate())
        return certificate


def _present(*paths: str) -> tuple[str, ...]:
    return tuple(filter(None, paths))
