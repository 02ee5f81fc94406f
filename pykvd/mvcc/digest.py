"""A running checksum of everything that was ever written, to compare with other members'.

Members apply the same entries in the same order, so the bytes of their records, one after the
other, are the same, however each cuts them into commits. The CRC of that stream up to a revision
says whether two members agree on all of it; it costs one call a commit, on the store's thread, and
needs no reading. What was different once stays different: a comparison that is missed is made up
for by the next.

A digest is only comparable with one that began at the same record: those of members that were
founded together, or that got their store from each other.
"""

from bisect import bisect_right
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

import google_crc32c

from pykvd.mvcc.record import MAIN_SHIFT

#: The CRC is remembered whenever this many revisions are complete.
STEP = 1024
#: And so often: a member that lags behind by no more than these revisions can be compared.
REMEMBERED = 512
#: Marks that others are asked about.
OFFERED = 16

_STATE = Struct(">QQI")


class Mark(NamedTuple):
    """The checksum of all records up to a revision."""

    revision: int
    crc: int


class Digest:
    """The checksum so far. `origin` is the first record's revision, 0 before there is one.

    Written by the store's thread; `at` and `newest` may be read by another.
    """

    def __init__(self, origin: int = 0, last: Mark = Mark(0, 0)) -> None:  # noqa: B008 - immutable
        self.origin = origin
        self.newest = last
        """Of the last commit: complete, for a commit ends with a revision."""
        self._marks: dict[int, int] = {}

    @classmethod
    def decode(cls, data: bytes) -> "Digest":
        """Read back what `encode` wrote."""
        origin, revision, crc = _STATE.unpack(data)
        return cls(origin, Mark(revision, crc))

    def encode(self) -> bytes:
        """What the store keeps, in the transaction of the records that it is of."""
        return _STATE.pack(self.origin, *self.newest)

    def extend(self, ids: Sequence[int], records: Sequence[bytes]) -> None:
        """Take in the records of a commit, at least one, ids ascending; they end a revision."""
        first, last = ids[0] >> MAIN_SHIFT, ids[-1] >> MAIN_SHIFT
        self.origin = self.origin or first
        crc, start = self.newest.crc, 0
        for boundary in range(first - first % STEP + STEP - 1, last + 1, STEP):
            end = bisect_right(ids, ((boundary + 1) << MAIN_SHIFT) - 1, start)
            crc, start = _extend(crc, records[start:end]), end
            self._remember(boundary, crc)
        self.newest = Mark(last, _extend(crc, records[start:]))

    def _remember(self, revision: int, crc: int) -> None:
        self._marks[revision] = crc
        if len(self._marks) > REMEMBERED:
            del self._marks[next(iter(self._marks))]

    @property
    def marks(self) -> list[Mark]:
        """What another member may know too: the last remembered ones, and the newest."""
        remembered = list(self._marks.items())[-OFFERED:]
        return [*(Mark(*each) for each in remembered), self.newest]

    def at(self, revision: int) -> int | None:
        """The checksum up to a revision, or None where it is not remembered."""
        newest = self.newest
        return newest.crc if newest.revision == revision else self._marks.get(revision)


def _extend(crc: int, records: Sequence[bytes]) -> int:
    extended: int = google_crc32c.extend(crc, b"".join(records))
    return extended
