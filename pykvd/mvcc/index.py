"""The in-memory index: which records each key has.

- `live` holds the newest record of every key that exists: its id alone while the key is at
  version 1 (the id then tells create_revision too), else `(id, create_revision, version)`.
- `past` holds, for keys changed or deleted since the last compaction, the ids that `live` no
  longer shows, ascending; a deleted key's list ends with its tombstone.
- `_sorted` orders the live keys, so that counting a range costs O(log n).

Invariant: a key stands in `live`, in `past`, or in both, and the ids of `past[key]` are smaller
than the id in `live[key]`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

from sortedcontainers import SortedList

from pykvd.mvcc.record import FRESH, LEASED, MAIN_SHIFT, SUB_SHIFT, TOMBSTONE

LiveEntry = int | tuple[int, int, int]
#: Keys, and what `live` has, or had, of each.
Page = tuple[list[bytes], list[LiveEntry]]
#: A key and an end, as in requests.
Resume = tuple[bytes, bytes]

#: range_end of "every key from `key` on".
FROM_KEY = b"\x00"
#: To take one key out of the order costs as much as to build it anew costs for so many that stay.
REBUILDING = 16


class Index:
    """Keys and the ids of their records."""

    def __init__(self) -> None:
        self.live: dict[bytes, LiveEntry] = {}
        self.past: dict[bytes, list[int]] = {}
        self._sorted = SortedList()
        self._past_sorted = SortedList()
        self._past_unsorted: list[bytes] = []

    def load(self, records: Iterable[tuple[int, bytes, int, int]]) -> None:
        """Fill an empty index from `(id, key, create, version)` in id order.

        create and version are read only where the id is neither FRESH nor a TOMBSTONE.
        """
        live, past = self.live, self.past
        for record_id, key, create, version in records:
            old = live.get(key)
            if old is not None:
                past.setdefault(key, []).append(old if isinstance(old, int) else old[0])
            if record_id & TOMBSTONE:
                live.pop(key, None)
                past.setdefault(key, []).append(record_id)
            elif record_id & FRESH:
                live[key] = record_id
            else:
                live[key] = (record_id, create, version)
        self._sorted = SortedList(live)
        self._past_unsorted = list(past)

    def put(self, key: bytes, main: int, sub: int, leased: bool) -> tuple[int, int, int, int]:
        """Record a put; returns `(id, create_revision, version, id of the version before or 0)`."""
        record_id = main << MAIN_SHIFT | sub << SUB_SHIFT | (LEASED if leased else 0)
        entry = self.live.get(key)
        if entry is None:
            record_id |= FRESH
            self.live[key] = record_id
            self._sorted.add(key)
            return record_id, main, 1, 0
        if isinstance(entry, int):
            previous, create, version = entry, entry >> MAIN_SHIFT, 2
        else:
            previous, create, version = entry
            version += 1
        self.live[key] = (record_id, create, version)
        self._supersede(key, previous)
        return record_id, create, version, previous

    def delete(self, keys: Sequence[bytes], main: int, sub: int) -> tuple[list[int], list[bytes]]:
        """Record the deletion of live keys; returns the tombstones' ids, and the keys with a lease.

        `sub` is the first one's.
        """
        live, past, unsorted = self.live, self.past, self._past_unsorted
        first = main << MAIN_SHIFT | sub << SUB_SHIFT | TOMBSTONE
        ids = list(range(first, first + (len(keys) << SUB_SHIFT), 1 << SUB_SHIFT))
        leased = []
        for key, record_id in zip(keys, ids, strict=True):
            entry = live.pop(key)
            previous = entry if isinstance(entry, int) else entry[0]
            if previous & LEASED:
                leased.append(key)
            older = past.get(key)
            if older is None:
                past[key] = [previous, record_id]
                unsorted.append(key)
            else:
                older += (previous, record_id)
        if len(keys) * REBUILDING > len(self._sorted) + REBUILDING * REBUILDING:
            self._sorted = SortedList(filter(live.__contains__, self._sorted))
        else:
            for key in keys:
                self._sorted.remove(key)
        return ids, leased

    def _supersede(self, key: bytes, previous: int) -> None:
        ids = self.past.get(key)
        if ids is None:
            self.past[key] = [previous]
            self._past_unsorted.append(key)
        else:
            ids.append(previous)

    def find(self, key: bytes) -> tuple[int, int, int] | None:
        """`(id, create_revision, version)` of a live key."""
        entry = self.live.get(key)
        if isinstance(entry, int):
            return entry, entry >> MAIN_SHIFT, 1
        return entry

    def keys(self, key: bytes, end: bytes, *, reverse: bool = False) -> Iterator[bytes]:
        """Live keys in `[key, end)`, in order; an empty `end` means the single key."""
        if not end:
            return iter((key,) if key in self.live else ())
        return _slice(self._sorted, key, end, reverse=reverse)

    def count(self, key: bytes, end: bytes) -> int:
        """Number of live keys in the range, in O(log n)."""
        if not end:
            return 1 if key in self.live else 0
        first: int = self._sorted.bisect_left(key)
        last: int = len(self._sorted) if end == FROM_KEY else self._sorted.bisect_left(end)
        return max(0, last - first)

    def id_at(self, key: bytes, revision: int) -> int:
        """The id of the version of `key` that was current at `revision`, or 0."""
        entry = self.entry_at(key, revision)
        return entry if isinstance(entry, int) else entry[0]

    def _past_at(self, key: bytes, bound: int) -> int:
        ids = self.past.get(key)
        if not ids:
            return 0
        position = bisect_left(ids, bound)
        if not position or ids[position - 1] & TOMBSTONE:
            return 0
        return ids[position - 1]

    def page(
        self, key: bytes, end: bytes, limit: int, *, reverse: bool = False
    ) -> tuple[Page, Resume | None]:
        """The first `limit` live keys of a range, and the range that is left, None at the end."""
        names = list(islice(self.keys(key, end, reverse=reverse), limit + 1))
        rest = _rest(names, limit, key, end, reverse=reverse)
        return (names, list(map(self.live.__getitem__, names))), rest

    def page_at(
        self, key: bytes, end: bytes, revision: int, limit: int, *, reverse: bool = False
    ) -> tuple[Page, Resume | None]:
        """As `page`, of the keys as of a revision; there may be fewer, as others are passed over.

        Costs a look at `limit` keys once `sort_past` has nothing left to do.
        """
        names, rest = [key], None
        if end:
            live = islice(self.keys(key, end, reverse=reverse), limit + 1)
            past = islice(self._past_keys(key, end, reverse=reverse), limit + 1)
            names = sorted({*live, *past}, reverse=reverse)[: limit + 1]
            rest = _rest(names, limit, key, end, reverse=reverse)
        found = [(name, entry) for name in names if (entry := self.entry_at(name, revision))]
        return ([name for name, _ in found], [entry for _, entry in found]), rest

    def entry_at(self, key: bytes, revision: int) -> LiveEntry:
        """As `live` has it, what was current at `revision`, or 0.

        An id that is not FRESH tells that the key was overwritten, but not how often.
        """
        entry = self.live.get(key)
        if entry is not None:
            record_id = entry if isinstance(entry, int) else entry[0]
            if record_id >> MAIN_SHIFT <= revision:
                return entry
        return self._past_at(key, (revision + 1) << MAIN_SHIFT)

    def sort_past(self, limit: int) -> bool:
        """Order up to `limit` of the keys in `past` that are not yet; whether there were any.

        Keys enter `past` far more often than anybody reads old revisions: sort on demand.
        """
        if not self._past_unsorted:
            return False
        self._past_sorted.update(self._past_unsorted[-limit:])
        del self._past_unsorted[-limit:]
        return True

    def _past_keys(self, key: bytes, end: bytes, *, reverse: bool) -> Iterator[bytes]:
        self.sort_past(len(self._past_unsorted))
        return _slice(self._past_sorted, key, end, reverse=reverse)

    def compact_key(self, key: bytes, revision: int) -> list[int]:
        """Forget what a compaction at `revision` removes of `key`; returns those ids.

        Kept are all versions after `revision` and the newest at or below it, unless that one is
        a tombstone older than `revision`.
        """
        ids = self.past.get(key)
        if ids is None:
            return []
        bound = (revision + 1) << MAIN_SHIFT
        entry = self.live.get(key)
        current = entry if entry is None or isinstance(entry, int) else entry[0]
        cut = bisect_right(ids, bound - 1)
        if current is None or current >= bound:
            newest = ids[cut - 1] if cut else 0
            if not (newest & TOMBSTONE and newest >> MAIN_SHIFT < revision):
                cut = max(0, cut - 1)
        dropped = ids[:cut]
        if cut < len(ids):
            self.past[key] = ids[cut:]
            return dropped
        del self.past[key]
        return dropped

    def forget_sorted_past(self) -> None:
        """Rebuild the order of `past` lazily: called when a compaction has removed keys."""
        self._past_sorted = SortedList()
        self._past_unsorted = list(self.past)


def ids_of(entries: Iterable[LiveEntry]) -> list[int]:
    """The ids of the records that entries of `live` are of."""
    return [entry if isinstance(entry, int) else entry[0] for entry in entries]


def _slice(keys: SortedList, key: bytes, end: bytes, *, reverse: bool = False) -> Iterator[bytes]:
    if end == FROM_KEY:
        return cast(Iterator[bytes], keys.irange(key, None, reverse=reverse))
    if key >= end:
        return iter(())
    return cast(Iterator[bytes], keys.irange(key, end, (True, False), reverse=reverse))


def _rest(
    names: list[bytes], limit: int, key: bytes, end: bytes, *, reverse: bool
) -> Resume | None:
    """Cut `names` to `limit`; returns the range of those behind them, None if there are none."""
    if len(names) <= limit:
        return None
    following = names.pop()
    return (key, following + b"\x00") if reverse else (following, end)
