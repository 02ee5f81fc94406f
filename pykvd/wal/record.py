"""The records of the write-ahead log and their bytes.

A frame is a 20-byte header and a payload, little-endian, without padding:

    length  u32   bytes of payload
    kind    u8    one of `Kind`
    magic   3 B   lets a scan find frames behind a damaged one
    synced  u32   when this was written, all before this offset of the segment was durable
    prev    u32   checksum of the frame before (across segments): the chain
    crc     u32   CRC32C of the 16 bytes above and the payload, started from the segment's seed

The seed of a segment is the checksum of its first frame, the head, which holds a random salt: bytes
in a client's value can therefore not pass for a frame. `synced` is what tells a torn batch from
damage (see `segment`): a crash may lose any of the sectors written since the last sync, and none
before it.

Pure: bytes and values only.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple, TypeAlias

from google_crc32c import extend

__all__ = [
    "HEADER_BYTES",
    "MAGIC",
    "MAGIC_OFFSET",
    "Entry",
    "Frame",
    "FrameEncoder",
    "FrameError",
    "HardState",
    "Kind",
    "Metadata",
    "Record",
    "SegmentHead",
    "Snapshot",
    "Synced",
    "decode_frame",
    "decode_record",
]

MAGIC = b"\xd7WL"
MAGIC_OFFSET = 5
FORMAT_VERSION = 1

_HEADER = Struct("<IB3sII")
_CRC = Struct("<I")
_HEAD = Struct("<8sIIQQ")
_HEAD_NAME = b"pykvdwal"
_HARD_STATE = Struct("<QQQ")
_ENTRY = Struct("<QQB")
_SNAPSHOT = Struct("<QQ")

HEADER_BYTES = _HEADER.size + _CRC.size


class Kind(IntEnum):
    """What a frame holds; the numbers are the format."""

    HEAD = 1
    METADATA = 2
    HARD_STATE = 3
    ENTRY = 4
    SNAPSHOT = 5
    SYNCED = 6


class SegmentHead(NamedTuple):
    """First frame of a segment: which one it is, and the salt of the log's checksums."""

    sequence: int
    first_index: int
    salt: int


class Metadata(NamedTuple):
    """Opaque identity of the member and the cluster; repeated in every segment."""

    data: bytes


class HardState(NamedTuple):
    """What Raft must not forget (Raft paper, figure 2): term, vote; and the known commit index."""

    term: int
    vote: int
    commit: int


class Entry(NamedTuple):
    """One entry of the Raft log; `kind` (0..255) and `data` are the caller's."""

    term: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    kind: int
    data: bytes


class Snapshot(NamedTuple):
    """Mark: the store durably holds everything up to `index`, whose entry had `term`."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int


class Synced(NamedTuple):
    """Empty record that only carries the header's `synced`; written when the log is closed."""


Record: TypeAlias = Metadata | HardState | Entry | Snapshot


class FrameError(Exception):
    """The bytes at an offset are not a frame of this segment; the text says why."""


class Frame(NamedTuple):
    """A frame whose checksum is right; `start`..`end` are its payload's offsets in the segment."""

    kind: int
    start: int
    end: int
    synced: int
    prev: int
    crc: int


class FrameEncoder:
    """Makes the frames of one segment, in order, and carries the chain."""

    def __init__(self, seed: int, chain: int) -> None:
        self.seed = seed
        self.chain = chain

    @classmethod
    def start(cls, head: SegmentHead, chain: int, out: list[bytes]) -> FrameEncoder:
        """Begin a segment: its head goes to `out`; `chain` is the last checksum before it."""
        encoder = cls(0, chain)
        fields = (FORMAT_VERSION, head.salt, head.sequence, head.first_index)
        encoder._frame(Kind.HEAD, _HEAD.pack(_HEAD_NAME, *fields), b"", 0, out)
        encoder.seed = encoder.chain
        return encoder

    def encode(self, record: Record | Synced, synced: int, out: list[bytes]) -> int:
        """Add the record's buffers to `out` (entry data is not copied); return their bytes.

        Raises `struct.error` for a number out of range; nothing is added then.
        """
        match record:
            case Entry(term, index, kind, data):
                return self._frame(Kind.ENTRY, _ENTRY.pack(term, index, kind), data, synced, out)
            case HardState(term, vote, commit):
                fixed = _HARD_STATE.pack(term, vote, commit)
                return self._frame(Kind.HARD_STATE, fixed, b"", synced, out)
            case Snapshot(index, term):
                return self._frame(Kind.SNAPSHOT, _SNAPSHOT.pack(index, term), b"", synced, out)
            case Metadata(data):
                return self._frame(Kind.METADATA, b"", data, synced, out)
            case Synced():
                return self._frame(Kind.SYNCED, b"", b"", synced, out)

    def _frame(self, kind: Kind, fixed: bytes, data: bytes, synced: int, out: list[bytes]) -> int:
        length = len(fixed) + len(data)
        header = _HEADER.pack(length, kind, MAGIC, synced, self.chain)
        crc = extend(extend(self.seed, header + fixed), data)
        out.append(b"".join((header, _CRC.pack(crc), fixed)))
        if data:
            out.append(data)
        self.chain = crc
        return HEADER_BYTES + length


def decode_frame(data: bytes, offset: int, seed: int) -> Frame:
    """The frame at `offset`, its own checksum verified (the chain is the caller's to check).

    Raises `FrameError`.
    """
    start = offset + HEADER_BYTES
    if start > len(data):
        raise FrameError("the header is cut short")
    length, kind, magic, synced, prev = _HEADER.unpack_from(data, offset)
    if magic != MAGIC:
        raise FrameError("no record begins here")
    end = start + length
    if end > len(data):
        raise FrameError("the record is longer than the file")
    (crc,) = _CRC.unpack_from(data, offset + _HEADER.size)
    if extend(extend(seed, data[offset : offset + _HEADER.size]), data[start:end]) != crc:
        raise FrameError("the checksum does not match")
    return Frame(kind, start, end, synced, prev, crc)


def decode_head(payload: bytes) -> SegmentHead:
    """The head of a segment; raises `FrameError` for another file or another version's."""
    if len(payload) != _HEAD.size:
        raise FrameError("the segment has no head")
    name, version, salt, sequence, first_index = _HEAD.unpack(payload)
    if name != _HEAD_NAME or version != FORMAT_VERSION:
        raise FrameError(f"format version {version} is not known to this program")
    return SegmentHead(sequence, first_index, salt)


def decode_record(kind: int, payload: bytes) -> Record | Synced:
    """The record in a verified frame; raises `FrameError` for an unknown kind or size."""
    if kind == Kind.ENTRY and len(payload) >= _ENTRY.size:
        term, index, entry_kind = _ENTRY.unpack_from(payload)
        return Entry(term, index, entry_kind, payload[_ENTRY.size :])
    if kind == Kind.HARD_STATE and len(payload) == _HARD_STATE.size:
        return HardState(*_HARD_STATE.unpack(payload))
    if kind == Kind.SNAPSHOT and len(payload) == _SNAPSHOT.size:
        return Snapshot(*_SNAPSHOT.unpack(payload))
    if kind == Kind.METADATA:
        return Metadata(payload)
    if kind == Kind.SYNCED and not payload:
        return Synced()
    raise FrameError(f"record kind {kind} of {len(payload)} bytes is not known to this program")
