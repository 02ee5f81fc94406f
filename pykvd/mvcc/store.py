"""The key-value store at all its revisions: ranges, writes, compaction.

One thread drives it. A write is `begin()`, then puts and deletes, which take effect at once (later
operations of the same request see them), then `end()`. Nothing here fails half way: callers check
leases, missing keys and revisions before the first change.

Invariant: `revision` is the main revision of the newest record, or 1 in an empty store;
`compact_revision` is -1 until the first compaction, and every revision from it on is readable.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from pykvd.mvcc.backend import Backend
from pykvd.mvcc.errors import CompactedError, FutureRevisionError
from pykvd.mvcc.index import Index
from pykvd.mvcc.record import (
    FRESH,
    LEASED,
    MAIN_SHIFT,
    TOMBSTONE,
    encode_key_value,
    encode_tombstone,
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


class _Row(NamedTuple):
    """What sorting and filtering need of one version of a key."""

    key: bytes
    record_id: int
    create: int
    version: int


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

    def get_at(self, key: bytes, revision: int) -> bytes | None:
        """The framed KeyValue of a key as of a revision; None also where it was compacted."""
        if revision < self.compact_revision:
            return None
        record_id = self.index.id_at(key, revision)
        return self.backend.get(record_id) if record_id else None

    def range(self, request: RangeRequest, revision: int = 0) -> RangeResult:
        """Answer a Range at `revision`, 0 meaning the newest state, this write's included.

        The revision must have been checked.
        """
        self.ranges += 1
        if revision > 0 and (revision < self.revision or self._sub):
            ids = self.index.ids_at(request.key, request.range_end, revision)
            if request.count_only:
                return RangeResult([], False, len(ids))
            if is_plain(request):
                return self._plain_at(request, ids)
            return self._selected(request, self._rows_at(ids), len(ids))
        count = self.index.count(request.key, request.range_end)
        if request.count_only:
            return RangeResult([], False, count)
        if is_plain(request):
            return self._plain(request, count)
        return self._selected(request, self._live_rows(request), count)

    def page(
        self, request: RangeRequest, key: bytes, revision: int, limit: int
    ) -> tuple[list[bytes], bytes | None]:
        """Up to `limit` records of a plain Range from `key` on, and the key to go on from.

        Costs what the page holds, however long the range and however old the revision.
        """
        if revision == self.revision:
            keys = list(islice(self.index.keys(key, request.range_end), limit + 1))
            following = keys.pop() if len(keys) > limit else None
            ids = self._live_ids(keys)
        else:
            ids, following = self.index.page_at(key, request.range_end, revision, limit)
        kvs = self.backend.get_many(ids)
        return [without_value(kv) for kv in kvs] if request.keys_only else kvs, following

    def _plain(self, request: RangeRequest, count: int) -> RangeResult:
        """The newest state by key, without filters: only what is returned is touched."""
        limit = request.limit if 0 < request.limit < count else count
        descending = request.sort_order == RangeRequest.DESCEND
        keys = self.index.keys(request.key, request.range_end, reverse=descending)
        keys = islice(keys, limit)
        more = limit < count
        if request.keys_only:
            return RangeResult([self._key_only(key) for key in keys], more, count)
        return RangeResult(self.backend.get_many(self._live_ids(keys)), more, count)

    def _live_ids(self, keys: Iterable[bytes]) -> list[int]:
        live = self.index.live
        return [entry if isinstance(entry := live[key], int) else entry[0] for key in keys]

    def _key_only(self, key: bytes) -> bytes:
        found = self.index.find(key)
        assert found
        record_id, create, version = found
        mod = record_id >> MAIN_SHIFT
        return encode_key_value(key, create, mod, version, b"", self.lease_of.get(key, 0))

    def _plain_at(self, request: RangeRequest, ids: list[int]) -> RangeResult:
        count = len(ids)
        if request.sort_order == RangeRequest.DESCEND:
            ids.reverse()
        more = 0 < request.limit < count
        kvs = self.backend.get_many(ids[: request.limit] if more else ids)
        if request.keys_only:
            kvs = [without_value(framed) for framed in kvs]
        return RangeResult(kvs, more, count)

    def _live_rows(self, request: RangeRequest) -> list[_Row]:
        rows = []
        for key in self.index.keys(request.key, request.range_end):
            found = self.index.find(key)
            assert found
            rows.append(_Row(key, *found))
        return rows

    def _rows_at(self, ids: list[int]) -> list[_Row]:
        kvs = map(parse, self.backend.get_many(ids))
        return [
            _Row(kv.key, record_id, kv.create_revision, kv.version)
            for record_id, kv in zip(ids, kvs, strict=True)
        ]

    def _selected(self, request: RangeRequest, rows: list[_Row], count: int) -> RangeResult:
        """Filter and sort; without an order the limit comes before the sort, as in etcd."""
        limit = max(0, request.limit)
        if _has_filters(request):
            rows = [row for row in rows if _passes(request, row)]
        elif request.sort_order == RangeRequest.NONE and limit:
            rows = rows[: limit + 1]
        if request.sort_order != RangeRequest.NONE or request.sort_target != RangeRequest.KEY:
            rows.sort(
                key=self._sort_key(request), reverse=request.sort_order == RangeRequest.DESCEND
            )
        more = 0 < limit < len(rows)
        kvs = self.backend.get_many([row.record_id for row in (rows[:limit] if more else rows)])
        if request.keys_only:
            kvs = [without_value(framed) for framed in kvs]
        return RangeResult(kvs, more, count)

    def _sort_key(self, request: RangeRequest) -> Callable[[_Row], bytes | int]:
        match request.sort_target:
            case RangeRequest.VERSION:
                return lambda row: row.version
            case RangeRequest.CREATE:
                return lambda row: row.create
            case RangeRequest.MOD:
                return lambda row: row.record_id >> MAIN_SHIFT
            case RangeRequest.VALUE:
                return lambda row: parse(self.backend.get(row.record_id)).value
        return lambda row: row.key

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

    def delete(self, key: bytes) -> int:
        """Delete a live key; returns the record id of the version before."""
        self.deletes += 1
        record_id, previous = self.index.delete(key, self._main, self._sub)
        if previous & LEASED:
            del self.lease_of[key]
        self._record(key, record_id, encode_tombstone(key))
        return previous

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
    return request.sort_target == RangeRequest.KEY and not _has_filters(request)


def _has_filters(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _passes(request: RangeRequest, row: _Row) -> bool:
    mod = row.record_id >> MAIN_SHIFT
    return _within(mod, request.min_mod_revision, request.max_mod_revision) and _within(
        row.create, request.min_create_revision, request.max_create_revision
    )


def _within(value: int, low: int, high: int) -> bool:
    return (not low or value >= low) and (not high or value <= high)
