"""Bytes on the peer service's streams and calls. All integers are big-endian.

Raft messages: a gRPC message of `Stream` is a batch, each raft message preceded by its length
(4 bytes); the messages themselves are `pykvd.raft.codec`'s.

Forwarded calls: length of the kind (1 byte), the kind in ASCII, the payload. The answer is bare.

Members: the cluster id (8 bytes), then each member preceded by its length (4 bytes).

Snapshots: the first byte of each gRPC message tells what it is. The sender offers one (`OFFER`);
the receiver says how much of it is there from an earlier attempt (`RESUME`); the sender goes on
from that offset with `CHUNK`s, each with its CRC32C, and ends with the `DIGEST` of the whole file.
Now and then the receiver tells how much is safe (`PROGRESS`). Status OK means installed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google_crc32c import value as crc32c

from pykvd.errors import Code, RpcError
from pykvd.raft import Message, MessageDecodeError, decode_message, encode_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VERSION: Final = "1"
"""Of this protocol. Members of different versions refuse each other."""

STREAM: Final = "/pykvd.peer.Peer/Stream"
SNAPSHOT: Final = "/pykvd.peer.Peer/Snapshot"
CALL: Final = "/pykvd.peer.Peer/Call"
MEMBERS: Final = "/pykvd.peer.Peer/Members"

SNAPSHOT_ID_BYTES: Final = 16
DIGEST_BYTES: Final = 32

_LENGTH = struct.Struct(">I")
_UINT64 = struct.Struct(">Q")
_OFFER = struct.Struct(f">c{SNAPSHOT_ID_BYTES}sQ")
_CHUNK = struct.Struct(">cQI")
_OFFSET = struct.Struct(">cQ")
CHUNK_OVERHEAD: Final = _CHUNK.size

_OFFER_TAG: Final = b"O"
_CHUNK_TAG: Final = b"C"
_DIGEST_TAG: Final = b"D"
_RESUME_TAG: Final = b"R"
_PROGRESS_TAG: Final = b"P"


class WireError(ValueError):
    """Bytes from a peer that do not follow this page."""


# Raft messages.


def encode_batch(messages: Iterable[Message]) -> bytes:
    """Messages in order, as one gRPC message."""
    parts: list[bytes] = []
    for message in messages:
        data = encode_message(message)
        parts += (_LENGTH.pack(len(data)), data)
    return b"".join(parts)


def decode_batch(data: bytes) -> list[Message]:
    """The inverse of `encode_batch`; raises `WireError`."""
    try:
        return [decode_message(piece) for piece in _split(data, 0)]
    except MessageDecodeError as error:
        raise WireError(str(error)) from error


def _split(data: bytes, position: int) -> Iterable[bytes]:
    """The pieces that are preceded by their lengths."""
    end = len(data)
    while position < end:
        start = position + _LENGTH.size
        if start > end:
            raise WireError("truncated length")
        position = start + _LENGTH.unpack_from(data, start - _LENGTH.size)[0]
        if position > end:
            raise WireError("truncated piece")
        yield data[start:position]


# Calls.


def encode_call(kind: str, payload: bytes) -> bytes:
    """A forwarded call; `kind` is ASCII of at most 255 characters."""
    name = kind.encode("ascii")
    return bytes((len(name),)) + name + payload


def decode_call(data: bytes) -> tuple[str, bytes]:
    """Kind and payload; raises `WireError`."""
    if not data or len(data) <= data[0]:
        raise WireError("truncated call")
    end = 1 + data[0]
    try:
        return data[1:end].decode("ascii"), data[end:]
    except UnicodeDecodeError as error:
        raise WireError("kind of call is not ASCII") from error


def encode_members(cluster_id: int, members: Sequence[bytes]) -> bytes:
    """The answer to `Members`."""
    pieces = b"".join(_LENGTH.pack(len(member)) + member for member in members)
    return _UINT64.pack(cluster_id) + pieces


def decode_members(data: bytes) -> tuple[int, list[bytes]]:
    """Cluster id and members; raises `WireError`."""
    if len(data) < _UINT64.size:
        raise WireError("truncated list of members")
    return _UINT64.unpack_from(data)[0], list(_split(data, _UINT64.size))


# Who is speaking.


@dataclass(frozen=True, slots=True)
class Greeting:
    """The metadata of every stream and call but `Members`.

    `urls` are the sender's peer URLs: a member that has not heard of the sender yet can answer it.
    """

    cluster_id: int
    sender: int
    to: int
    urls: tuple[str, ...] = ()
    version: str = VERSION

    def metadata(self) -> list[tuple[str, str]]:
        """As request headers; ids in lower-case hex, as logs print them."""
        return [
            ("pykvd-peer-version", self.version),
            ("pykvd-cluster", f"{self.cluster_id:x}"),
            ("pykvd-from", f"{self.sender:x}"),
            ("pykvd-to", f"{self.to:x}"),
            ("pykvd-urls", ",".join(self.urls)),
        ]

    @classmethod
    def parse(cls, metadata: Mapping[str, str | bytes]) -> Greeting:
        """Read request headers. Raises RpcError INVALID_ARGUMENT when there is no greeting."""
        try:
            return cls(
                cluster_id=int(str(metadata["pykvd-cluster"]), 16),
                sender=int(str(metadata["pykvd-from"]), 16),
                to=int(str(metadata["pykvd-to"]), 16),
                urls=tuple(filter(None, str(metadata.get("pykvd-urls", "")).split(","))),
                version=str(metadata["pykvd-peer-version"]),
            )
        except (KeyError, ValueError):
            raise RpcError(Code.INVALID_ARGUMENT, "peer: malformed greeting") from None


# Snapshots.


@dataclass(frozen=True, slots=True)
class Offer:
    """A snapshot about to be sent. Equal ids promise equal bytes."""

    id: bytes
    size: int
    message: Message
    """The SNAPSHOT message that the file belongs to."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the file. `decode_transfer` has checked its CRC32C."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Digest:
    """The end of the file: its SHA-256."""

    sha256: bytes


def encode_offer(offer: Offer) -> bytes:
    """As the first message of a transfer."""
    return _OFFER.pack(_OFFER_TAG, offer.id, offer.size) + encode_message(offer.message)


def encode_chunk(offset: int, data: bytes) -> bytes:
    """A piece of the file at `offset`."""
    return _CHUNK.pack(_CHUNK_TAG, offset, crc32c(data)) + data


def encode_digest(sha256: bytes) -> bytes:
    """The end of a transfer."""
    return _DIGEST_TAG + sha256


def decode_transfer(data: bytes) -> Offer | Chunk | Digest:
    """What the sender of a snapshot says.

    Raises `WireError`, and RpcError DATA_LOSS for a chunk whose checksum is wrong.
    """
    tag = data[:1]
    if tag == _CHUNK_TAG and len(data) > _CHUNK.size:
        _, offset, checksum = _CHUNK.unpack_from(data)
        piece = data[_CHUNK.size :]
        if crc32c(piece) != checksum:
            raise RpcError(Code.DATA_LOSS, f"peer: snapshot chunk at {offset} is damaged")
        return Chunk(offset, piece)
    if tag == _DIGEST_TAG and len(data) == 1 + DIGEST_BYTES:
        return Digest(data[1:])
    if tag == _OFFER_TAG and len(data) > _OFFER.size:
        _, snapshot_id, size = _OFFER.unpack_from(data)
        try:
            return Offer(snapshot_id, size, decode_message(data[_OFFER.size :]))
        except MessageDecodeError as error:
            raise WireError(str(error)) from error
    raise WireError("malformed part of a snapshot")


def encode_resume(offset: int) -> bytes:
    """The receiver has everything before `offset`."""
    return _OFFSET.pack(_RESUME_TAG, offset)


def encode_progress(offset: int) -> bytes:
    """The receiver has come to `offset`."""
    return _OFFSET.pack(_PROGRESS_TAG, offset)


def decode_offset(data: bytes) -> int:
    """The offset that the receiver tells, in either form; raises `WireError`."""
    if len(data) != _OFFSET.size or data[:1] not in (_RESUME_TAG, _PROGRESS_TAG):
        raise WireError("malformed answer to a snapshot")
    offset: int = _OFFSET.unpack(data)[1]
    return offset
