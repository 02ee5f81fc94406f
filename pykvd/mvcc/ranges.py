"""Ranges read in bounded steps, at one revision, while others write and compact.

A long Range would hold up whoever shares the thread. `RangeReader.steps` does a little at a time:
each step looks at `STEP` keys at most, or reads about `STEP_BYTES` of records. What was current at
a revision stays readable until a compaction beyond it, so the answer is of that revision whatever
happens between two steps.

Sorting is bounded too: rows are sorted in runs, and the runs merged while the answer is read.
"""

from collections.abc import Generator, Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from pykvd.mvcc.errors import CompactedError
from pykvd.mvcc.index import LiveEntry, Page, ids_of
from pykvd.mvcc.record import (
    FRESH,
    LEASED,
    MAIN_SHIFT,
    encode_key_value,
    parse,
    without_value,
)
from pykvd.pb.rpc_pb2 import RangeRequest

if TYPE_CHECKING:
    from pykvd.mvcc.store import Store

#: Keys looked at in a step: about a millisecond.
STEP = 1000
#: Bytes of records read in a step, beyond the first record.
STEP_BYTES = 1 << 20
#: Steps whose rows are sorted together: about a millisecond.
RUN_STEPS = 2
UNLIMITED = 1 << 63


class Totals(NamedTuple):
    """What a RangeResponse tells beside its records."""

    more: bool
    total: int


#: Framed KeyValues, those of a step together and often none, and in the end the totals.
Steps = Generator[list[bytes], None, Totals]


class _Row(NamedTuple):
    """What sorting and filtering need of one version of a key."""

    key: bytes
    entry: LiveEntry
    record_id: int
    create: int
    version: int


#: What a row is sorted by, and behind it its place in the order of keys: one number where that is
#: possible, as numbers are compared fastest and the garbage collector need not know them.
_Rank = int | tuple[bytes, int]
_PLACE_BITS = 40
_PLACES = (1 << _PLACE_BITS) - 1


class RangeReader:
    """One Range at a revision that can be read, or that the write in progress makes."""

    def __init__(
        self, store: "Store", request: RangeRequest, revision: int, step: int = STEP
    ) -> None:
        self._store = store
        self._step = self._batch = step
        self._request = request
        self._revision = revision
        self._limit = max(0, request.limit)
        self._filtered = has_filters(request)
        self._descending = request.sort_order == RangeRequest.DESCEND
        #: Sorting: how many rows have a rank, and those that may be wanted by their place.
        self._ranked = 0
        self._placed: dict[int, tuple[bytes, LiveEntry]] = {}
        self._mod_bounds = (request.min_mod_revision, request.max_mod_revision or UNLIMITED)
        self._create_bounds = (
            request.min_create_revision,
            request.max_create_revision or UNLIMITED,
        )
        #: Keys in the range: known in advance where nothing was written since, else to be counted.
        self._total: int | None = None
        self._counted = 0
        if store.newest <= revision:
            self._total = store.index.count(request.key, request.range_end)

    def steps(self) -> Steps:
        """Read it. Raises CompactedError once the revision is compacted."""
        if self._request.count_only:
            work = self._count()
        elif self._request.sort_target == RangeRequest.KEY:
            work = self._by_key()
        else:
            work = self._sorted()
        while True:
            try:
                kvs = next(work)
            except StopIteration as end:
                totals: Totals = end.value
                return totals
            yield kvs
            if self._revision < self._store.compact_revision:
                raise CompactedError

    def _pages(self, size: int) -> Iterator[Page]:
        """The keys of the range, `size` at a time; pages may be empty."""
        store, revision, reverse = self._store, self._revision, self._by_key_descending
        rest: tuple[bytes, bytes] | None = (self._request.key, self._request.range_end)
        while rest is not None:
            page: Page = [], []
            if store.newest <= revision:
                page, rest = store.index.page(*rest, size, reverse=reverse)
            elif not rest[1] or not store.index.sort_past(self._step):
                page, rest = store.index.page_at(*rest, revision, size, reverse=reverse)
            self._counted += len(page[0])
            yield page

    def _totals(self, *, more: bool) -> Totals:
        return Totals(more, self._counted if self._total is None else self._total)

    @property
    def _by_key_descending(self) -> bool:
        return self._descending and self._request.sort_target == RangeRequest.KEY

    def _count(self) -> Steps:
        if self._total is None:
            for _ in self._pages(self._step):
                yield []
        return self._totals(more=False)

    def _by_key(self) -> Steps:
        """In the order of keys: nothing is looked at beyond what tells whether there is more."""
        left = self._limit or UNLIMITED
        bounded = not self._filtered and self._total is not None
        for page in self._pages(min(self._step, left + 1) if bounded else self._step):
            keys, entries = self._passing(page) if self._filtered else page
            wanted = max(0, left)
            yield from self._read((keys[:wanted], entries[:wanted]))
            left -= len(keys)
            if left < 0 and self._total is not None:
                break
        return self._totals(more=left < 0)

    def _sorted(self) -> Steps:
        """By something else than keys; without an order the limit comes before, as in etcd."""
        limit, passed = self._limit, 0
        early = limit and self._request.sort_order == RangeRequest.NONE and not self._filtered
        window = limit + 1 if early else UNLIMITED
        runs: list[list[_Rank]] = [[]]
        for page in self._pages(self._step):
            ranks = self._ranks(page)[: max(0, window - passed)]
            passed += len(ranks)
            runs[-1] += ranks
            if len(runs[-1]) >= RUN_STEPS * self._step:
                self._finish(runs[-1])
                runs.append([])
            yield []
            if passed >= window and self._total is not None:
                break
        self._finish(runs[-1])
        order = islice(merge(*runs, reverse=self._descending), limit or None)
        while wanted := [self._placed[_place(rank)] for rank in islice(order, self._step)]:
            yield from self._read(([key for key, _ in wanted], [entry for _, entry in wanted]))
        return self._totals(more=0 < limit < passed)

    def _finish(self, run: list[_Rank]) -> None:
        """Sort a run; what cannot be among the first `limit` is forgotten."""
        run.sort(reverse=self._descending)
        if self._limit:
            for rank in run[self._limit :]:
                del self._placed[_place(rank)]
            del run[self._limit :]

    def _ranks(self, page: Page) -> list[_Rank]:
        """What sorts those of a page that pass the filters; equals stay in the order of keys."""
        rows = [row for row in self._rows(page) if not self._filtered or self._passes(row)]
        first, self._ranked = self._ranked, self._ranked + len(rows)
        places = range(first, first + len(rows))
        if self._descending:
            places = range(_PLACES - first, _PLACES - first - len(rows), -1)
        self._placed.update(zip(places, [(row.key, row.entry) for row in rows], strict=True))
        ranks: Iterable[int]
        match self._request.sort_target:
            case RangeRequest.VERSION:
                ranks = (row.version for row in rows)
            case RangeRequest.CREATE:
                ranks = (row.create for row in rows)
            case RangeRequest.MOD:
                ranks = (row.record_id >> MAIN_SHIFT for row in rows)
            case _:
                records = self._store.backend.get_many([row.record_id for row in rows])
                values = (parse(framed).value for framed in records)
                return list(zip(values, places, strict=True))
        return [rank << _PLACE_BITS | place for rank, place in zip(ranks, places, strict=True)]

    def _passing(self, page: Page) -> Page:
        rows = [row for row in self._rows(page) if self._passes(row)]
        return [row.key for row in rows], [row.entry for row in rows]

    def _passes(self, row: _Row) -> bool:
        (low, high), (first, last) = self._mod_bounds, self._create_bounds
        return low <= row.record_id >> MAIN_SHIFT <= high and first <= row.create <= last

    def _rows(self, page: Page) -> list[_Row]:
        """The rows of a page; a version that is no more the newest may have to be read for it."""
        keys, entries = page
        overwritten = [each for each in entries if isinstance(each, int) and not each & FRESH]
        records = self._store.backend.get_many(overwritten)
        read = iter([(kv.create_revision, kv.version) for kv in map(parse, records)])
        rows = []
        for key, entry in zip(keys, entries, strict=True):
            if not isinstance(entry, int):
                rows.append(_Row(key, entry, *entry))
            elif entry & FRESH:
                rows.append(_Row(key, entry, entry, entry >> MAIN_SHIFT, 1))
            else:
                rows.append(_Row(key, entry, entry, *next(read)))
        return rows

    def _read(self, wanted: Page) -> Generator[list[bytes], None, None]:
        """The records; fewer at a time where they are large."""
        if self._request.keys_only:
            yield self._without_values(wanted)
            return
        ids, start = ids_of(wanted[1]), 0
        while True:
            batch = self._batch
            kvs = self._store.backend.get_many(ids[start : start + batch])
            if some := kvs[::16]:
                size = sum(map(len, some)) // len(some) + 1
                self._batch = max(1, min(self._step, STEP_BYTES // size))
            yield kvs
            start += batch
            if start >= len(ids):
                return

    def _without_values(self, wanted: Page) -> list[bytes]:
        """Most are told by the index alone, without a look at records that may be large."""
        store = self._store
        kvs = []
        for key, entry, record_id, create, version in self._rows(wanted):
            if record_id & LEASED and store.index.live.get(key) != entry:
                kvs.append(without_value(store.backend.get(record_id)))
                continue
            lease = store.lease_of[key] if record_id & LEASED else 0
            mod = record_id >> MAIN_SHIFT
            kvs.append(encode_key_value(key, create, mod, version, b"", lease))
        return kvs


def _place(rank: _Rank) -> int:
    return rank & _PLACES if isinstance(rank, int) else rank[1]


def has_filters(request: RangeRequest) -> bool:
    """Whether a Range leaves out keys by their revisions."""
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )
