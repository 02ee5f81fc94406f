"""The key-value store at all its revisions: ranges, writes, compaction.

One thread drives it. A write is `begin()`, then puts and deletes, which take effect at once (later
operations of the same request see them), then `end()`. Nothing here fails half way: callers check
leases, missing keys and revisions before the first change.

Invariant: `revision` is the main revision of the newest record, or 1 in an empty store;
`compact_revision` is -1 until the first compaction, and every revision from it on is readable.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from pykvd.mvcc.backend import Backend
from pykvd.mvcc.errors import CompactedError, FutureRevisionError
from pykvd.mvcc.index import Index, Resume, ids_of
from pykvd.mvcc.ranges import STEP, RangeReader, Steps, has_filters
from pykvd.mvcc.record import (
    FRESH,
    LEASED,
    MAIN_SHIFT,
    TOMBSTONE,
    encode_key_value,
    encode_tombstones,
    key_of,
    parse,
    without_value,
)
from pykvd.pb.rpc_pb2 import RangeRequest

COMPACT_KEY = b"compact_revision"


class Event(NamedTuple):
    """One change of one key, in the order of the changes of its revision."""

    key: bytes
    record_id: int
    framed: bytes
    """The record: a framed KeyValue; of the key alone when the id is a TOMBSTONE."""


@dataclass(slots=True)
class RangeResult:
    """What a Range returns, ready to be joined into a RangeResponse."""

    kvs: list[bytes]
    more: bool
    count: int


class Store:
    """All versions of all keys since the last compaction."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.index = Index()
        self.revision = 1
        self.compact_revision = -1
        #: Lease id of each live key that has one.
        self.lease_of: dict[bytes, int] = {}
        self._main = 0
        self._sub = 0
        self._events: list[Event] = []
        #: Operations on keys since the start, those of transactions included.
        self.ranges = self.puts = self.deletes = 0
        #: Records that compactions removed.
        self.compacted_records = 0

    def load(self) -> None:
        """Fill the index from the backend's committed records, whatever it held before."""
        self.index = Index()
        self.lease_of.clear()
        self.index.load(self._records())
        for key, value in self.backend.table("meta"):
            if key == COMPACT_KEY:
                self.compact_revision = int(value)
        self.revision = max(self.revision, self.compact_revision)

    def _records(self) -> Iterator[tuple[int, bytes, int, int]]:
        lease_of = self.lease_of
        record_id = 0
        for record_id, framed in self.backend.scan(0, (1 << 96) - 1):
            if record_id & (FRESH | TOMBSTONE) and not record_id & LEASED:
                key = key_of(framed)
                lease_of.pop(key, None)
                yield record_id, key, 0, 0
                continue
            kv = parse(framed)
            if kv.lease:
                lease_of[kv.key] = kv.lease
            else:
                lease_of.pop(kv.key, None)
            yield record_id, kv.key, kv.create_revision, kv.version
        self.revision = max(self.revision, record_id >> MAIN_SHIFT)

    # Reads

    def check_revision(self, revision: int) -> None:
        """Raise CompactedError or FutureRevisionError when `revision` cannot be read."""
        if revision > self.revision:
            raise FutureRevisionError
        if revision < self.compact_revision:
            raise CompactedError

    def get(self, key: bytes) -> bytes | None:
        """The framed KeyValue of a live key."""
        entry = self.index.live.get(key)
        if entry is None:
            return None
        return self.backend.get(entry if isinstance(entry, int) else entry[0])

    def get_all(self, keys: Iterable[bytes]) -> list[bytes]:
        """The framed KeyValues of live keys."""
        return self.backend.get_many(ids_of(map(self.index.live.__getitem__, keys)))

    def get_at(self, key: bytes, revision: int) -> bytes | None:
        """The framed KeyValue of a key as of a revision; None also where it was compacted."""
        if revision < self.compact_revision:
            return None
        record_id = self.index.id_at(key, revision)
        return self.backend.get(record_id) if record_id else None

    @property
    def newest(self) -> int:
        """The revision of the newest state, the write in progress included."""
        return self.revision + 1 if self._sub else self.revision

    def range(self, request: RangeRequest, revision: int = 0) -> RangeResult:
        """Answer a Range at `revision`; up to 0 it is the newest state, this write's included.

        The revision must have been checked. Long ones should be read by `steps`.
        """
        self.ranges += 1
        if revision <= 0:
            revision = self.newest
        if revision >= self.newest and is_plain(request):
            return self._plain(request)
        kvs: list[bytes] = []
        steps = RangeReader(self, request, revision).steps()
        while True:
            try:
                kvs += next(steps)
            except StopIteration as end:
                more, count = end.value
                return RangeResult(kvs, more, count)

    def steps(self, request: RangeRequest, revision: int, step: int = STEP) -> Steps:
        """Answer a Range at a revision, which must have been checked, `step` keys at a time.

        Others may use the store between the steps.
        """
        self.ranges += 1
        return RangeReader(self, request, revision, step).steps()

    def page(
        self, request: RangeRequest, rest: Resume, revision: int, limit: int
    ) -> tuple[list[bytes], Resume | None]:
        """Records of up to `limit` keys of a plain Range, and the range that is left.

        Costs what the page holds, however long the range and however old the revision.
        """
        if revision >= self.newest:
            (_, entries), left = self.index.page(*rest, limit)
        else:
            (_, entries), left = self.index.page_at(*rest, revision, limit)
        kvs = self.backend.get_many(ids_of(entries))
        return [without_value(kv) for kv in kvs] if request.keys_only else kvs, left

    def _plain(self, request: RangeRequest) -> RangeResult:
        """The newest state by key, without filters: only what is returned is touched."""
        index, key, end = self.index, request.key, request.range_end
        if not (end or request.count_only or request.keys_only):
            framed = self.get(key)
            return RangeResult([], False, 0) if framed is None else RangeResult([framed], False, 1)
        count = index.count(key, end)
        if request.count_only:
            return RangeResult([], False, count)
        limit = request.limit if 0 < request.limit < count else count
        descending = request.sort_order == RangeRequest.DESCEND
        keys = islice(index.keys(key, end, reverse=descending), limit)
        more = limit < count
        if request.keys_only:
            return RangeResult([self._key_only(key) for key in keys], more, count)
        return RangeResult(self.get_all(keys), more, count)

    def _key_only(self, key: bytes) -> bytes:
        found = self.index.find(key)
        assert found
        record_id, create, version = found
        mod = record_id >> MAIN_SHIFT
        return encode_key_value(key, create, mod, version, b"", self.lease_of.get(key, 0))

    # Writes

    def begin(self) -> int:
        """Start a write; returns the revision it will have if it changes anything."""
        self._main = self.revision + 1
        self._sub = 0
        return self._main

    @property
    def changed(self) -> bool:
        """Whether the write in progress has changed anything."""
        return self._sub > 0

    def put(self, key: bytes, value: bytes, lease: int) -> int:
        """Put a key; returns the record id of the version before, or 0."""
        self.puts += 1
        record_id, create, version, previous = self.index.put(
            key, self._main, self._sub, lease != 0
        )
        framed = encode_key_value(key, create, self._main, version, value, lease)
        if lease:
            self.lease_of[key] = lease
        elif previous & LEASED:
            del self.lease_of[key]
        self._record(key, record_id, framed)
        return previous

    def put_alone(self, key: bytes, value: bytes) -> Event:
        """A whole write: one put, where neither the key has a lease nor gets one.

        What `begin`, `put` and `end` do, in half the steps: most writes are of this kind.
        """
        self.puts += 1
        main = self.revision + 1
        record_id, create, version, _ = self.index.put(key, main, 0, False)
        framed = encode_key_value(key, create, main, version, value, 0)
        self.backend.add(record_id, framed)
        self.revision = main
        return Event(key, record_id, framed)

    def delete(self, *keys: bytes) -> list[tuple[bytes, int]]:
        """Delete live keys; returns those that had a lease, with its id."""
        self.deletes += len(keys)
        ids, leased = self.index.delete(keys, self._main, self._sub)
        tombstones = encode_tombstones(keys)
        self.backend.add_all(ids, tombstones)
        self._events += map(Event._make, zip(keys, ids, tombstones, strict=True))
        self._sub += len(keys)
        return [(key, self.lease_of.pop(key)) for key in leased]

    def _record(self, key: bytes, record_id: int, framed: bytes) -> None:
        self.backend.add(record_id, framed)
        self._events.append(Event(key, record_id, framed))
        self._sub += 1

    def end(self) -> list[Event]:
        """Finish the write; returns its events, none if it changed nothing."""
        if not self._sub:
            return []
        self.revision = self._main
        self._sub = 0
        events, self._events = self._events, []
        return events

    # Compaction

    def compact(self, revision: int) -> None:
        """Make revisions below `revision` unreadable. `sweep` removes their records."""
        if revision > self.revision:
            raise FutureRevisionError
        if revision <= self.compact_revision:
            raise CompactedError
        self.compact_revision = revision
        self.backend.set("meta", COMPACT_KEY, str(revision).encode())

    def sweep(self, batch: int) -> Iterator[None]:
        """Remove what the last compaction left behind; yields after every `batch` keys."""
        revision = self.compact_revision
        for position, key in enumerate(list(self.index.past), 1):
            removed = self.index.compact_key(key, revision)
            self.compacted_records += len(removed)
            self.backend.remove(removed)
            if position % batch == 0:
                yield
        self.index.forget_sorted_past()


def is_plain(request: RangeRequest) -> bool:
    """Whether a Range is by key and without filters."""
    return request.sort_target == RangeRequest.KEY and not has_filters(request)
