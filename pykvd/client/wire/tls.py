"""TLS: its settings, and a session between bytes and bytes for drivers that own their socket."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ALPN = "h2"


@dataclass(frozen=True)
class TLS:
    """How to trust the server and who we are; paths of PEM files.

    Without `ca` the system's authorities are trusted. `cert` and `key` go together.
    """

    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None
    """The name expected in the server's certificate, if it is not the host of the endpoint."""
    verify: bool = True
    """False trusts any certificate: for tests only."""

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("tls: cert and key go together")

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The context for connections; raises ValueError for files that do not do."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise ValueError(f"tls: ca {self.ca}: {error}") from None
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert is not None and self.key is not None:
            try:
                context.load_cert_chain(self.cert, self.key)
            except OSError as error:
                raise ValueError(f"tls: cert {self.cert}, key {self.key}: {error}") from None
        context.set_alpn_protocols([ALPN])
        return context


class TlsSession:
    """A TLS connection without a socket. Methods return what to write or what was read."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_name
        )

    def handshake(self, data: bytes) -> tuple[bool, bytes]:
        """Go on with what the server sent; whether it is done, and what to write.

        Raises:
            ssl.SSLError: no agreement, or the server speaks no HTTP/2.

        """
        self._incoming.write(data)
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._outgoing.read()
        if self._session.selected_alpn_protocol() not in {ALPN, None}:
            raise ssl.SSLError("the server does not speak HTTP/2")
        return True, self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """What to write for these bytes."""
        if data:
            self._session.write(data)
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> tuple[bytes, bool]:
        """The plain bytes in what was received, and whether the server has closed the session."""
        if data:
            self._incoming.write(data)
        pieces = []
        try:
            while piece := self._session.read(1 << 18):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces), False
        except ssl.SSLError:  # closed by the server, or damaged: nothing more will come
            return b"".join(pieces), True
        return b"".join(pieces), True
