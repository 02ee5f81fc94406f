"""gRPC over HTTP/2, the parts that are only bytes (grpc/grpc doc/PROTOCOL-HTTP2.md).

Message prefix, timeouts, `grpc-message` escaping, metadata, compression, and the response header
blocks. The blocks use static-table names and literals without indexing, so they are the same bytes
for every connection.
"""

import binascii
import zlib
from base64 import b64decode
from collections.abc import Iterable, Mapping
from struct import Struct
from types import MappingProxyType
from typing import Final

from pykvd.status import Code, RpcError
from pykvd.transport.hpack import Field

PREFIX_BYTES: Final = 5
_PREFIX = Struct(">BL")
unpack_prefix = _PREFIX.unpack_from

CONTENT_TYPE: Final = "application/grpc"
MAX_STATUS_TEXT_BYTES: Final = 4096
"""Longer status texts are cut: trailers must fit one frame and the client's header limit."""

MAX_COMPRESSED_BYTES: Final = 64 << 10
"""Longer messages are sent as they are: compressing them takes the loop a millisecond and more."""

_TIMEOUT_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MAX_TIMEOUT_DIGITS = 8
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
_RESERVED = frozenset({"te", "content-type"})


def frame_message(message: bytes) -> bytes:
    """The message with its five-byte prefix, uncompressed: what `Stream.send_shared` takes."""
    return _PREFIX.pack(0, len(message)) + message


def parse_timeout(value: str) -> float:
    """Seconds in a `grpc-timeout` header.

    Raises:
        ValueError: not one to eight digits and a unit.

    """
    digits = value[:-1]
    if not (digits.isdecimal() and digits.isascii() and len(digits) <= _MAX_TIMEOUT_DIGITS):
        raise ValueError(value)
    try:
        return int(digits) * _TIMEOUT_UNITS[value[-1]]
    except KeyError:
        raise ValueError(value) from None


def encode_status_text(text: str) -> bytes:
    """`grpc-message`.

    UTF-8 with everything but printable ASCII percent-encoded, cut to a bounded length.
    """
    if text.isascii() and text.isprintable() and "%" not in text:
        return text[:MAX_STATUS_TEXT_BYTES].encode("ascii")
    out = bytearray()
    for character in text:
        piece = b"".join(
            b"%c" % octet if 0x20 <= octet <= 0x7E and octet != 0x25 else b"%%%02X" % octet
            for octet in character.encode("utf-8", "replace")
        )
        if len(out) + len(piece) > MAX_STATUS_TEXT_BYTES:
            break
        out += piece
    return bytes(out)


def decode_metadata(fields: Iterable[Field]) -> Mapping[str, str | bytes]:
    """Request metadata as `Call.metadata` promises it.

    Raises:
        ValueError: a `-bin` value is not base64.

    """
    metadata: dict[str, str | bytes] = {}
    for name, value, _ in fields:
        if name in metadata or name[0] == ":" or name.startswith("grpc-") or name in _RESERVED:
            continue
        metadata[name] = decode_binary(value) if name.endswith("-bin") else value
    return MappingProxyType(metadata)


def decode_binary(value: str) -> bytes:
    """The first element of a `-bin` value: base64, padded or not.

    Raises:
        ValueError: it is not base64.

    """
    first = value.split(",", 1)[0].strip()
    try:
        return b64decode(first + "=" * (-len(first) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def message_too_large(size: int, limit: int) -> RpcError:
    """The error for a request above the limit, in grpc-go's words."""
    return RpcError(
        Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {limit})"
    )


def decompress(data: bytes, encoding: str, limit: int) -> bytes:
    """The request message inside a compressed one; never more than `limit` bytes are produced.

    Raises:
        RpcError: unknown encoding, corrupt data, or a message above the limit.

    """
    if encoding != "gzip":
        raise RpcError(Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
    inflater = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        message = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise RpcError(
            Code.INTERNAL, f"grpc: failed to decompress the received message: {error}"
        ) from None
    if len(message) > limit:
        raise RpcError(
            Code.RESOURCE_EXHAUSTED,
            f"grpc: received message after decompression larger than max {limit}",
        )
    if not inflater.eof:
        raise RpcError(
            Code.INTERNAL, "grpc: failed to decompress the received message: unexpected EOF"
        )
    return message


def compress(message: bytes) -> tuple[bytes, bytes]:
    """The prefix and the body of a message on a stream whose encoding is gzip.

    An empty message goes as it is, and so does one that would hold up all others.
    """
    if not 0 < len(message) <= MAX_COMPRESSED_BYTES:
        return _PREFIX.pack(0, len(message)), message
    packed = zlib.compress(message, zlib.Z_BEST_SPEED, _GZIP_WINDOW_BITS)
    return _PREFIX.pack(1, len(packed)), packed


def _encode_integer(value: int, prefix_bits: int) -> bytes:
    """An HPACK integer without the flag bits of its first byte (RFC 7541 5.1)."""
    full = (1 << prefix_bits) - 1
    if value < full:
        return bytes((value,))
    out = bytearray((full,))
    value -= full
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def literal_field(name: bytes, value: bytes) -> bytes:
    """A header field as a literal without indexing and without Huffman coding (RFC 7541 6.2.2)."""
    return b"\x00" + _encode_integer(len(name), 7) + name + _encode_integer(len(value), 7) + value


_STATUS_200 = b"\x88"
_CONTENT_TYPE_FIELD = b"\x0f\x10" + _encode_integer(len(CONTENT_TYPE), 7) + CONTENT_TYPE.encode()

RESPONSE_BLOCK: Final = _STATUS_200 + _CONTENT_TYPE_FIELD
"""The header block of every response that has a body."""

GZIP_RESPONSE_BLOCK: Final = RESPONSE_BLOCK + literal_field(b"grpc-encoding", b"gzip")
"""The same for one whose messages may be compressed."""

OK_TRAILER_BLOCK: Final = literal_field(b"grpc-status", b"0")
"""The trailers of every call that succeeded."""


def trailer_block(code: int, text: str) -> bytes:
    """Trailers for this status."""
    if not code and not text:
        return OK_TRAILER_BLOCK
    block = literal_field(b"grpc-status", b"%d" % code)
    if text:
        block += literal_field(b"grpc-message", encode_status_text(text))
    return block


def trailers_only_block(
    code: int, text: str, *, http_status: int = 200, extra: bytes = b""
) -> bytes:
    """The one header block of a response without messages."""
    if http_status == 200:
        status = _STATUS_200
    else:
        status = b"\x08" + _encode_integer(3, 7) + b"%03d" % http_status
    return status + _CONTENT_TYPE_FIELD + trailer_block(code, text) + extra


ACCEPT_ENCODING_FIELD: Final = literal_field(b"grpc-accept-encoding", b"identity,gzip")
"""Sent with the refusal of an unknown request encoding."""
