"""The client end of handshakes: one connection that somebody waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pykvd.tls.errors import TlsError, reason
from pykvd.tls.layer import TlsLayer

if TYPE_CHECKING:
    from pykvd.tls.endpoints import TlsClient


class Dialler:
    """Leads one handshake. `layer` is the protocol to connect with; then await `handshake`."""

    def __init__(self, tls: TlsClient, hostname: str) -> None:
        """`hostname` is dialled, and what the certificate must be valid for unless `tls` says."""
        self.layer = TlsLayer(self)
        self._tls = tls
        self._hostname = tls.settings.server_name or hostname
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handshake(self, protocol: asyncio.Protocol) -> None:
        """Wait for the handshake and attach `protocol`; TlsError when the server is not accepted.

        A caller that gives up waiting drops the connection with it.
        """
        try:
            await self._done
        except BaseException:
            self.layer.abort()
            raise
        if self.layer.gone:
            raise TlsError("tls: handshake failed: EOF")
        self.layer.attach(protocol)

    # Handshaker.

    def connected(self, layer: TlsLayer) -> None:
        """Begin."""
        try:
            layer.wrap(self._tls.context(), server_side=False, hostname=self._hostname)
            layer.step()
        except TlsError as error:
            self._fail(error)

    def readable(self, layer: TlsLayer) -> None:
        """Go on."""
        if self._done.done():
            return
        try:
            if layer.step():
                layer.certificate = self._tls.check(layer.ssl_object)
                self._done.set_result(None)
        except TlsError as error:
            self._fail(error)

    def lost(self, layer: TlsLayer, error: Exception | None) -> None:
        """The server hung up."""
        del layer
        text = reason(error) if error else "EOF"
        self._fail(TlsError(f"tls: handshake failed: {text}"))

    def _fail(self, error: TlsError) -> None:
        if not self._done.done():
            self._done.set_exception(error)
            self._done.exception()  # the caller may have given up already
