"""The store on LMDB against the plain model, through random histories.

Commits, copies, defragmentation, compaction slices and restarts come at random moments; reads at
every readable revision with every option must not notice.
"""

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pykvd.mvcc.errors import CompactedError, FutureRevisionError
from pykvd.mvcc.hash import hash_kv
from pykvd.mvcc.index import FROM_KEY, Resume
from pykvd.mvcc.record import MAIN_SHIFT, SUB_SHIFT, TOMBSTONE, parse
from pykvd.mvcc.store import Store
from pykvd.pb.kv_pb2 import KeyValue
from pykvd.pb.rpc_pb2 import RangeRequest
from tests.unit.mvcc.disk import Disk
from tests.unit.mvcc.model import Change, Model
from tests.unit.mvcc.requests import ENDS, check_range, keys, requests

if TYPE_CHECKING:
    from collections.abc import Iterator


LEASES = (0, 0, 7, 1 << 62, -1)
values = st.sampled_from((b"", b"1", b"2", b"\x00\xff", bytes(300)))


class Op(NamedTuple):
    """A put, or the deletion of a key that exists."""

    is_put: bool
    key: bytes
    value: bytes
    lease: int


ops = st.builds(Op, st.sampled_from((True, True, False)), keys, values, st.sampled_from(LEASES))
histories = st.lists(st.lists(ops, min_size=1, max_size=4), min_size=1, max_size=6)


class Paging:
    """A Range that is read in pages while the store goes on changing."""

    def __init__(self, request: RangeRequest, revision: int, model: Model) -> None:
        self.request = request
        self.revision = revision
        self.expected = list(model.range(request, revision).candidates)
        self.rest: Resume | None = (request.key, request.range_end)

    def read(self, store: Store, limit: int) -> None:
        """Read and check one page."""
        assert self.rest is not None
        kvs, self.rest = store.page(self.request, self.rest, self.revision, limit)
        assert len(kvs) <= limit
        for framed in kvs:
            expected = self.expected.pop(0)
            if self.request.keys_only:
                expected = KeyValue.FromString(expected.SerializeToString())
                expected.value = b""
            assert parse(framed) == expected
        assert self.rest is not None or not self.expected


class StoreMachine(RuleBasedStateMachine):
    """Every rule does the same to the store and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.committed = self.model.copy()
        self.sweeping: Iterator[None] | None = None
        self.defragmenting: asyncio.Task[None] | None = None
        self.paging: Paging | None = None

    @initialize(recent_bytes=st.sampled_from((0, 500, 1 << 20)), history=histories)
    def open(self, recent_bytes: int, history: list[list[Op]]) -> None:
        self.disk = Disk(recent_bytes)
        for changes in history:
            self._write(changes, RangeRequest(key=b"a"))

    def teardown(self) -> None:
        if hasattr(self, "disk"):
            self._finish_defragmentation()
            assert not self.disk.failures
            self.disk.remove()

    def _readable(self, data: st.DataObject) -> int:
        """A revision that can be read, a recent one more often."""
        span = self.model.revision - max(1, self.model.compacted)
        return self.model.revision - data.draw(st.integers(0, span))

    # Writes and reads

    @rule(history=histories, request=requests())
    def write(self, history: list[list[Op]], request: RangeRequest) -> None:
        for changes in history:
            self._write(changes, request)

    @rule(history=histories, request=requests())
    def write_more(self, history: list[list[Op]], request: RangeRequest) -> None:
        """A second chance for writes among the many other rules."""
        self.write(history, request)

    def _write(self, changes: list[Op], request: RangeRequest) -> None:
        store, model = self.disk.store, self.model
        main = store.begin()
        assert main == model.revision + 1
        for op in changes:
            if op.is_put:
                store.put(op.key, op.value, op.lease)
                model.put(op.key, op.value, op.lease)
            elif op.key in model.live:
                store.delete(op.key)
                model.delete(op.key)
            assert store.changed == (model.sub > 0)
        # Inside a write the newest state includes it, and the revision before it does not.
        check_range(request, store.range(request), model.range(request, 0))
        before = max(1, model.revision)
        check_range(request, store.range(request, before), model.range(request, before))
        events = store.end()
        assert [
            (event.record_id >> MAIN_SHIFT, event.key, bool(event.record_id & TOMBSTONE))
            for event in events
        ] == [(change.main, change.key, change.kv is None) for change in model.end()]

    @rule(request=requests())
    def read_now(self, request: RangeRequest) -> None:
        check_range(request, self.disk.store.range(request), self.model.range(request, 0))

    @rule(request=requests(), data=st.data())
    def read_at(self, request: RangeRequest, data: st.DataObject) -> None:
        revision = self._readable(data)
        self.disk.store.check_revision(revision)
        found = self.disk.store.range(request, revision)
        check_range(request, found, self.model.range(request, revision))

    @rule(key=keys, data=st.data())
    def read_one(self, key: bytes, data: st.DataObject) -> None:
        store, model = self.disk.store, self.model
        framed = store.get(key)
        assert (parse(framed) if framed else None) == model.live.get(key)
        revision = model.revision - data.draw(st.integers(0, model.revision + 1))
        framed = store.get_at(key, revision)
        readable = revision >= model.compacted
        expected = model.at(revision).get(key) if readable else None
        assert (parse(framed) if framed else None) == expected

    @rule()
    def refuse_revisions(self) -> None:
        store = self.disk.store
        with pytest.raises(FutureRevisionError):
            store.check_revision(self.model.revision + 1)
        with pytest.raises(CompactedError):
            store.check_revision(self.model.compacted - 1)

    @rule(data=st.data(), limit=st.integers(1, 12))
    def history(self, data: st.DataObject, limit: int) -> None:
        """Watchers read every change after the compacted revision, wherever it is stored."""
        first = data.draw(st.integers(max(0, self.model.compacted) + 1, self.model.revision + 1))
        found = self.disk.backend.since(first << MAIN_SHIFT, limit)
        expected = [change for change in self.model.changes if change.main >= first][:limit]
        assert [_as_change(*record) for record in found] == expected

    @rule(key=keys, end=st.sampled_from(ENDS), keys_only=st.booleans(), data=st.data())
    def begin_paging(self, key: bytes, end: bytes, keys_only: bool, data: st.DataObject) -> None:
        revision = self._readable(data)
        request = RangeRequest(key=key, range_end=end, keys_only=keys_only)
        self.paging = Paging(request, revision, self.model)
        self.paging.read(self.disk.store, data.draw(st.integers(1, 3)))

    @precondition(lambda self: self.paging)
    @rule(limit=st.integers(1, 3))
    def read_page(self, limit: int) -> None:
        """Until the pinned revision is compacted, which the caller checks."""
        assert self.paging
        if self.paging.rest is None or self.paging.revision < self.model.compacted:
            self.paging = None
        else:
            self.paging.read(self.disk.store, limit)

    # Compaction

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        store, model = self.disk.store, self.model
        revision = data.draw(st.integers(-1, model.revision + 1))
        if revision > model.revision:
            with pytest.raises(FutureRevisionError):
                store.compact(revision)
        elif revision <= model.compacted:
            with pytest.raises(CompactedError):
                store.compact(revision)
        else:
            store.compact(revision)
            model.compacted = revision
            self.sweeping = store.sweep(1)

    @precondition(lambda self: self.sweeping)
    @rule(keys=st.integers(1, 4))
    def sweep_some(self, keys: int) -> None:
        assert self.sweeping
        for _ in range(keys):
            if next(self.sweeping, self) is self:
                self.sweeping = None
                return

    def _finish_sweep(self) -> None:
        if self.model.compacted >= 0:
            for _ in self.disk.store.sweep(100):
                pass
        self.sweeping = None

    # The disk

    @rule()
    def begin_commit(self) -> None:
        """A commit that is under way until a later step lets it complete."""
        self.disk.settle()
        state = self.model.copy()

        def done() -> None:
            self.committed = state

        self.disk.backend.commit(done)

    @rule()
    def settle(self) -> None:
        self.disk.settle()

    @precondition(lambda self: not self.defragmenting)
    @rule()
    def begin_defragmentation(self) -> None:
        self.defragmenting = self.disk.loop.create_task(self.disk.backend.defragment())
        self.disk.run(asyncio.sleep(0))

    @rule()
    def _finish_defragmentation(self) -> None:
        task, self.defragmenting = self.defragmenting, None
        if task:

            async def finished() -> None:
                await task

            self.disk.run(finished())
            assert len(list(self.disk.directory.iterdir())) == 1

    @rule()
    def restart(self) -> None:
        """Close and open again with everything written."""
        self._finish_defragmentation()
        self.disk.commit()
        self.committed = self.model.copy()
        before = self.disk.store.index
        self.disk.close()
        self.disk.open()
        self.sweeping = None
        after = self.disk.store.index
        assert (after.live, after.past) == (before.live, before.past)

    @rule(really=st.sampled_from((True, False, False)))
    def crash(self, really: bool) -> None:
        """Only what was committed is found again."""
        if not really:
            return
        self._finish_defragmentation()
        self.disk.settle()
        self.disk.close()
        self.disk.open()
        self.model = self.committed.copy()
        self.sweeping = self.paging = None

    @rule(data=st.data())
    def hash(self, data: st.DataObject) -> None:
        self._finish_defragmentation()
        self._finish_sweep()
        self.disk.commit()
        self.committed = self.model.copy()
        model = self.model
        revision = data.draw(st.integers(max(0, model.compacted), model.revision))
        number = self.disk.run(
            self.disk.backend.read(lambda env: hash_kv(env, revision, model.compacted))
        )
        assert number == model.hash_kv(revision)
        stored = [_as_change(*record) for record in self.disk.backend.scan(0, (1 << 96) - 1)]
        assert stored == model.stored()

    # Always

    @invariant()
    def agrees(self) -> None:
        store, model = self.disk.store, self.model
        assert (store.revision, store.compact_revision) == (model.revision, model.compacted)
        leases = {key: kv.lease for key, kv in model.live.items() if kv.lease}
        assert store.lease_of == leases

    @invariant()
    def index_is_sound(self) -> None:
        index = self.disk.store.index
        assert list(index.keys(b"\x00", FROM_KEY)) == sorted(index.live)
        for key, ids in index.past.items():
            assert ids
            assert ids == sorted(set(ids))
            entry = index.find(key)
            assert not entry or ids[-1] < entry[0]
            assert entry or ids[-1] & TOMBSTONE
            # Two tombstones never follow each other.
            assert not any(a & b & TOMBSTONE for a, b in pairwise(ids))


def _as_change(record_id: int, framed: bytes) -> Change:
    kv = parse(framed)
    main, sub = record_id >> MAIN_SHIFT, (record_id & (1 << MAIN_SHIFT) - 1) >> SUB_SHIFT
    return Change(main, sub, kv.key, None if record_id & TOMBSTONE else kv)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True
)
