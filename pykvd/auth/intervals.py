"""Sets of key ranges, as permissions need them.

Ranges are written as in requests: `(key, range_end)`, where an empty end means the single key and
one zero byte means every key from `key` on.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable

#: A range end that reaches to the last key.
FROM_KEY = b"\x00"

Range = tuple[bytes, bytes]


def is_valid(key: bytes, range_end: bytes) -> bool:
    """Whether a range may be granted: it has a key and is not empty."""
    return bool(key) and (not range_end or range_end == FROM_KEY or key < range_end)


class IntervalSet:
    """The union of ranges; asked in O(log n)."""

    __slots__ = ("_begins", "_ends")

    def __init__(self, ranges: Iterable[Range]) -> None:
        # Disjoint, ascending, half-open; the end None lies behind all keys.
        self._begins: list[bytes] = []
        self._ends: list[bytes | None] = []
        for begin, end in sorted(map(_half_open, ranges), key=lambda interval: interval[0]):
            self._add(begin, end)

    def _add(self, begin: bytes, end: bytes | None) -> None:
        """Join an interval to the last one if they touch, else append it."""
        if not self._begins:
            self._begins, self._ends = [begin], [end]
            return
        last = self._ends[-1]
        if last is None:
            return
        if begin > last:
            self._begins.append(begin)
            self._ends.append(end)
        elif end is None or end > last:
            self._ends[-1] = end

    def covers(self, key: bytes, range_end: bytes = b"") -> bool:
        """Whether every key of a range is in the set; an inverted range stands for its key."""
        position = bisect_right(self._begins, key) - 1
        if position < 0:
            return False
        end = self._ends[position]
        if end is None:
            return True
        if range_end == FROM_KEY:
            return False
        return key < end and range_end <= end

    def covers_all(self, keys: Collection[bytes]) -> bool:
        """Whether all of some keys, at least one, are in the set.

        They are mostly of one prefix, and then their bounds tell without a look at each.
        """
        if self.covers(min(keys), max(keys) + b"\x00"):
            return True
        return all(map(self.covers, keys))


def _half_open(interval: Range) -> tuple[bytes, bytes | None]:
    key, range_end = interval
    if not range_end:
        return key, key + b"\x00"
    return key, None if range_end == FROM_KEY else range_end


EVERYTHING = IntervalSet([(b"", FROM_KEY)])
