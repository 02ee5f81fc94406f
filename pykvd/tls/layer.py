"""TLS between a socket and a protocol, on top of OpenSSL's state machine without I/O.

The event loops have such a layer too, but it says nothing about a handshake that fails: neither to
the other end, which should see the alert, nor to us (docs/adr/0006-tls.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Protocol, cast

from pykvd.tls.errors import TlsError, reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.tls.certificate import PeerCertificate

RECORD_BYTES = 16 << 10
"""The most that one record holds (RFC 8446 5.1)."""
UNASKED_BYTES = 1 << 10
"""What a client may have us send without any data of its own: some forty answers to key updates.

They would fill memory for one who reads none of them.
"""
REFUSAL_LINGER_S = 1.0
"""How long the other end has to read why it is refused."""


class Handshaker(Protocol):
    """Leads the handshake of a connection: calls `wrap`, `step`, then `attach` or `refuse`."""

    def connected(self, layer: TlsLayer) -> None:
        """The socket is there."""

    def readable(self, layer: TlsLayer) -> None:
        """Bytes have come: `step` goes on."""

    def lost(self, layer: TlsLayer, error: Exception | None) -> None:
        """The socket is gone and nothing was attached; last call."""


class TlsLayer(asyncio.Transport, asyncio.Protocol):
    """A connection: the protocol of its socket, and the transport of what is attached to it.

    Invariant: what was encrypted is handed to the socket before a method returns, so its write
    buffer is the only one there is.
    """

    def __init__(self, handshaker: Handshaker) -> None:
        super().__init__()
        self.certificate: PeerCertificate | None = None
        """The other end's, once it is verified."""
        self.common_name = ""
        """Who the client is by its certificate, where that counts."""
        self.peername: object = None
        """The other end's address, kept for the log when the socket is gone."""
        self.gone = False
        """Whether the socket is no more."""
        self.refused = False
        """Whether the handshake was ended here, for a reason that is known."""
        self._handshaker = handshaker
        self._socket: asyncio.Transport
        self._protocol: asyncio.Protocol | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object: ssl.SSLObject
        self._wrapped = False
        self._unasked = 0
        self._error: Exception | None = None
        self._ended = False
        self._cut: asyncio.TimerHandle | None = None

    # For the handshaker.

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """OpenSSL's view of the connection, once it is wrapped."""
        return self._object

    def wrap(self, context: ssl.SSLContext, *, server_side: bool, hostname: str = "") -> None:
        """Choose the context and the side. Raises TlsError for an impossible host name."""
        try:
            self._object = context.wrap_bio(
                self._incoming, self._outgoing, server_side, hostname or None
            )
        except (ssl.SSLError, ValueError) as error:
            raise TlsError(reason(error)) from error
        self._wrapped = True
        self._encrypt: Callable[[bytes | bytearray | memoryview], int] = self._object.write
        self._decrypt: Callable[[int], bytes] = self._object.read

    def step(self) -> bool:
        """Go on with the handshake; whether it is complete. Raises TlsError when it failed."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (OSError, ValueError) as error:
            raise TlsError(reason(error)) from error
        finally:
            self._flush()  # an alert says why it failed
        return True

    def attach(self, protocol: asyncio.Protocol) -> None:
        """The handshake is over and the other end let in: `protocol` speaks from now on."""
        self._protocol = protocol
        protocol.connection_made(self)
        if self._incoming.pending and not self._ended:
            self._read()

    def refuse(self) -> None:
        """Close, and leave the other end time to read the alert."""
        self.refused = self._ended = True
        if self._cut is not None or self._socket.is_closing():
            return
        loop = asyncio.get_running_loop()
        self._cut = loop.call_later(REFUSAL_LINGER_S, self._socket.abort)
        # Closing a socket with unread input resets it, and the alert would be lost.
        self._socket.resume_reading()
        self._end_output()

    def drop(self, error: TlsError) -> None:
        """Give up at once, for this reason."""
        self._error = error
        self.abort()

    # asyncio.Protocol, towards the socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._socket = cast("asyncio.Transport", transport)
        self.peername = transport.get_extra_info("peername")
        self._handshaker.connected(self)

    def data_received(self, data: bytes) -> None:
        """Records."""
        if self._ended:
            return
        self._incoming.write(data)
        if self._protocol is None:
            self._handshaker.readable(self)
        else:
            self._read()

    def eof_received(self) -> bool:
        """The socket ends: whether by close_notify before is for the protocol's framing to say."""
        if self._protocol is not None and not self._ended:
            self._protocol.eof_received()
        return False

    def pause_writing(self) -> None:
        """The socket is full."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The socket has room."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self.gone = self._ended = True
        if self._cut is not None:
            self._cut.cancel()
        error = self._error or exc
        if self._protocol is None:
            self._handshaker.lost(self, error)
        else:
            self._protocol.connection_lost(error)
        self._free()

    def _free(self) -> None:
        """Let go of OpenSSL's state, which is large, and of the cycles with what was attached.

        The collector of cycles may not come by for hours.
        """
        self._protocol = None
        if self._wrapped:
            self._wrapped = False
            del self._object, self._encrypt, self._decrypt
        self._incoming = self._outgoing = ssl.MemoryBIO()

    # Records.

    def _read(self) -> None:
        """Decrypt all complete records and hand them on together."""
        incoming, decrypt = self._incoming, self._decrypt
        chunks = []
        closed = False
        try:
            # Each read takes a whole record, so nothing decrypted is left behind. Asking once more
            # when nothing is pending would only raise, which costs more than a read.
            while incoming.pending:
                chunk = decrypt(RECORD_BYTES)
                if not chunk:
                    closed = True
                    break
                chunks.append(chunk)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            closed = True
        except OSError as error:
            self._fail(error)
        if chunks and self._protocol is not None:
            self._protocol.data_received(chunks[0] if len(chunks) == 1 else b"".join(chunks))
            self._unasked = 0
        if self._outgoing.pending:
            self._answer()
        if closed and not self._ended:
            if self._protocol is not None:
                self._protocol.eof_received()
            self.close()

    def _answer(self) -> None:
        """Send what OpenSSL says by itself: answers to key updates, which nobody needs many of."""
        self._unasked += self._outgoing.pending
        self._flush()
        if self._unasked > UNASKED_BYTES:
            self.drop(TlsError("tls: too many non-advancing records"))

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._socket.write(self._outgoing.read())

    def _fail(self, error: OSError) -> None:
        """The other end broke the protocol, or said in an alert that we did."""
        self._error = TlsError(reason(error))
        self._ended = True
        self._flush()
        self._socket.close()

    # asyncio.Transport, towards the protocol.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if self._ended or not data:
            return
        try:
            size = self._encrypt(data)
            if size < len(data):  # one record a call
                view = memoryview(data)
                while size < len(view):
                    size += self._encrypt(view[size:])
        except OSError as error:
            self._fail(error)
            return
        self._socket.write(self._outgoing.read())

    def can_write_eof(self) -> bool:
        """Each direction is closed by itself."""
        return True

    def write_eof(self) -> None:
        """Say that nothing follows, by close_notify and on the socket; reading goes on."""
        if self._ended:
            return
        self._say_goodbye()
        self._ended = True
        if not self._socket.is_closing():
            self._end_output()

    def _end_output(self) -> None:
        try:
            self._socket.write_eof()
        except OSError:  # the other end has reset the connection
            self._socket.abort()

    def close(self) -> None:
        """Close once everything is written."""
        if not self._ended:
            self._say_goodbye()
            self._ended = True
        self._socket.close()

    def abort(self) -> None:
        """Drop the socket at once."""
        self._ended = True
        self._socket.abort()

    def _say_goodbye(self) -> None:
        # The answer has not come yet, or the other end is past caring.
        with contextlib.suppress(OSError, ValueError):
            self._object.unwrap()
        self._flush()

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._ended or self._socket.is_closing()

    def pause_reading(self) -> None:
        """Stop reading the socket."""
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Read the socket again."""
        self._socket.resume_reading()

    def is_reading(self) -> bool:
        """Whether the socket is read."""
        return self._socket.is_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection on to another protocol."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that speaks."""
        assert self._protocol is not None
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As the socket's: encrypted bytes wait nowhere else."""
        self._socket.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that the kernel has not taken."""
        return self._socket.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """As the socket's."""
        return self._socket.get_write_buffer_limits()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, `common_name`, and what the socket knows."""
        if name == "ssl_object":
            return self._object if self._wrapped else default
        if name == "common_name":
            return self.common_name
        return self._socket.get_extra_info(name, default)
