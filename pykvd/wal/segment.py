"""Reading one segment: its records, and what its end looks like.

An end is one of three:
- clean: only zeros follow the last record (segments are extended with zeros ahead of the writes);
- torn: a crash came between a write and its sync. Any of the sectors written since the last sync
  may be missing, in any order, so good records may well follow a bad one: none of the batch was
  acknowledged, and all of it is to be cut;
- damaged: a good record further on says (`synced`) that the bad bytes had been durable before it
  was written. That is no crash, and nothing may be cut.

The one case that cannot be told is damage in the very last batch of a log that was not closed: no
later record vouches for it, and it is taken for torn.

Pure: bytes and values only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pykvd.wal.record import (
    HEADER_BYTES,
    MAGIC,
    MAGIC_OFFSET,
    Frame,
    FrameError,
    Kind,
    Record,
    SegmentHead,
    Synced,
    decode_frame,
    decode_head,
    decode_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Damage", "SegmentReader"]


class Damage(NamedTuple):
    """A place that does not read back; `torn` if a crash in mid-write explains it."""

    offset: int
    reason: str
    torn: bool


class SegmentReader:
    """Walks the records of one segment's bytes.

    After `records()` is exhausted, `end` is the offset behind the last good record, `chain` its
    checksum, `synced` the highest offset that a good record vouches for, and `damage` is None for a
    clean end.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._content_end = len(data.rstrip(b"\0"))
        self.head: SegmentHead | None = None
        self.first_prev = 0
        self.seed = 0
        self.chain = 0
        self.end = 0
        self.synced = 0
        self.damage: Damage | None = None

    def read_head(self) -> SegmentHead:
        """The first frame; raises `FrameError`. A head is synced before its file gets its name."""
        frame = decode_frame(self._data, 0, 0)
        if frame.kind != Kind.HEAD:
            raise FrameError("the segment has no head")
        self.head = decode_head(self._data[frame.start : frame.end])
        self.first_prev = frame.prev
        self.seed = self.chain = frame.crc
        self.end = frame.end
        return self.head

    def records(self) -> Iterator[tuple[int, Record]]:
        """(offset, record) of every good record up to the end, after `read_head`."""
        while self.end < self._content_end:
            offset = self.end
            try:
                frame, record = self._next(offset)
            except FrameError as bad:
                self.damage = self._classify(offset, str(bad))
                return
            self.chain = frame.crc
            self.end = frame.end
            self.synced = frame.synced
            if not isinstance(record, Synced):
                yield offset, record

    def _next(self, offset: int) -> tuple[Frame, Record | Synced]:
        frame = decode_frame(self._data, offset, self.seed)
        if frame.prev != self.chain:
            raise FrameError("the record does not continue the one before it")
        return frame, decode_record(frame.kind, self._data[frame.start : frame.end])

    def _classify(self, offset: int, reason: str) -> Damage:
        witness = self._find_witness(offset)
        if witness is None:
            return Damage(offset, reason, torn=True)
        return Damage(offset, f"{reason}, yet it was synced before byte {witness}", torn=False)

    def _find_witness(self, offset: int) -> int | None:
        """Offset of a good frame that vouches for the byte at `offset`, or None."""
        at = self._data.find(MAGIC, offset + MAGIC_OFFSET)
        while at >= 0:
            try:
                frame = decode_frame(self._data, at - MAGIC_OFFSET, self.seed)
            except FrameError:
                pass
            else:
                if frame.synced > offset:
                    return frame.start - HEADER_BYTES
            at = self._data.find(MAGIC, at + 1)
        return None
