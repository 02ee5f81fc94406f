"""The small world that generated requests live in, and weighted choices from it.

Few keys and leases make requests meet: overwrites, deletes of deleted keys, ranges whose ends are
keys. Odd values (empty keys, extreme numbers, unknown enum members) are rare but always present.
"""

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from tests.conformance.revisions import compacted, now

T = TypeVar("T")

MAX_INT64 = (1 << 63) - 1
MIN_INT64 = -(1 << 63)

KEYS = (
    b"\x00",
    b"\x00\x00",
    b"\x01",
    b"a",
    b"a\x00",
    b"a/",
    b"a/b",
    b"a/b/c",
    b"a\xff",
    b"a\xff\xff",
    b"ab",
    b"b",
    b"m",
    b"\xfe",
    b"\xff",
    b"\xff\xff",
)
VALUES = (b"", b"\x00", b"v", b"v1", b"v2", b"w", b"\xff" * 9, b"long" * 40)
LEASES = (1, 2, 7, 0x1234_5678_9ABC, MAX_INT64, -5)
UNKNOWN_LEASE = 404
#: Who has never logged in.
NOBODY = "nobody"
#: A user whose token no server has ever given.
BAD_TOKEN = "stranger"
EVERYTHING = b"\x00"


class Dice:
    """Weighted choices on one seeded generator."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.rng.random() < probability

    def pick(self, values: Sequence[T]) -> T:
        """One of the values."""
        return self.rng.choice(values)

    def member(self, enum: Any) -> Any:
        """A known member of a protobuf enum."""
        return self.rng.choice(enum.values())

    def key(self) -> bytes:
        """A key; empty once in a hundred."""
        return b"" if self.chance(0.01) else self.pick(KEYS)

    def interval(self, key: bytes, single: float = 0.4) -> bytes:
        """A range end for `key`: none, prefix, everything after, a neighbour, or inverted."""
        if self.chance(single):
            return b""
        choice = self.rng.random()
        if choice < 0.3:
            return prefix_end(key)
        if choice < 0.45:
            return EVERYTHING
        if choice < 0.55:
            return key + b"\x00"
        return self.pick(KEYS)

    def value(self) -> bytes:
        """A value."""
        return self.pick(VALUES)

    def lease(self) -> int:
        """A lease id, seldom one that is never granted."""
        return UNKNOWN_LEASE if self.chance(0.05) else self.pick(LEASES)

    def revision(self) -> int:
        """A revision to read at: mostly past, sometimes compacted, future or extreme."""
        choice = self.rng.random()
        if choice < 0.60:
            return now(-self.rng.randrange(12))
        if choice < 0.80:
            return compacted(self.rng.randrange(-2, 4))
        if choice < 0.88:
            return now(self.rng.randrange(1, 4))
        return self.pick((-5, -1, 1, 2, MAX_INT64, MIN_INT64))

    def bound(self) -> int:
        """A revision to filter by."""
        if self.chance(0.9):
            return now(-self.rng.randrange(40))
        return self.pick((-1, 1, MAX_INT64, MIN_INT64))

    def limit(self) -> int:
        """A limit: usually none."""
        if self.chance(0.6):
            return 0
        return self.pick((1, 1, 2, 3, 5, 8, 100, -1, MAX_INT64, MIN_INT64))


def prefix_end(key: bytes) -> bytes:
    """The end of the range of keys that start with `key`."""
    head = key.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else EVERYTHING
