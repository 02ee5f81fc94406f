"""Ranges in steps against the plain model, while writes and compactions come between the steps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.mvcc.errors import CompactedError
from pykvd.mvcc.ranges import Steps
from pykvd.mvcc.store import RangeResult
from pykvd.pb.rpc_pb2 import RangeRequest
from tests.unit.mvcc.disk import Disk
from tests.unit.mvcc.model import Model
from tests.unit.mvcc.requests import check_range

KEYS = [b"%d" % number for number in range(10, 22)]
keys = st.sampled_from(KEYS)
ends = st.sampled_from((b"", b"\x00", b"\x00", b"15", b"20"))


@st.composite
def requests(draw: st.DrawFn) -> RangeRequest:
    """A Range of several keys."""
    request = RangeRequest(
        key=draw(st.sampled_from((b"\x00", b"\x00", b"12"))),
        range_end=draw(ends),
        limit=draw(st.sampled_from((0, 0, 1, 3, 7))),
        sort_order=draw(st.sampled_from(RangeRequest.SortOrder.values())),  # type: ignore[arg-type]  # open enum
        sort_target=draw(st.sampled_from(RangeRequest.SortTarget.values())),  # type: ignore[arg-type]  # open enum
        keys_only=draw(st.booleans()),
        count_only=draw(st.integers(0, 5)) == 0,
    )
    if draw(st.integers(0, 2)) == 0:
        request.min_mod_revision = draw(st.integers(0, 12))
        request.max_create_revision = draw(st.integers(0, 25))
    return request


#: One write: what becomes of some keys, None meaning that they are deleted.
values = st.one_of(st.none(), st.sampled_from((b"", b"a", b"bb", b"c" * 300)))
writes = st.dictionaries(keys, values, min_size=1, max_size=8)
#: A write, or a compaction so many revisions behind.
events = st.one_of(writes, writes, st.integers(0, 8))


class World:
    """A store and the model of it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.store = disk.store
        self.model = Model()

    def write(self, changes: dict[bytes, bytes | None]) -> None:
        """One revision."""
        self.store.begin()
        for key, value in changes.items():
            if value is not None:
                lease = len(value) % 2
                self.store.put(key, value, lease)
                self.model.put(key, value, lease)
            elif key in self.model.live:
                self.store.delete(key)
                self.model.delete(key)
        self.store.end()
        self.model.end()

    def happen(self, event: dict[bytes, bytes | None] | int) -> None:
        """Something that comes between two steps."""
        if isinstance(event, dict):
            self.write(event)
            return
        revision = self.model.revision - event
        if revision > max(0, self.model.compacted):
            self.store.compact(revision)
            self.model.compacted = revision
            for _ in self.store.sweep(100):
                pass
            self.disk.commit()


@contextmanager
def world() -> Iterator[World]:
    disk = Disk(recent_bytes=0)
    try:
        yield World(disk)
        assert not disk.failures
    finally:
        disk.remove()


def take_all(steps: Steps, between: Callable[[list[bytes]], object]) -> RangeResult:
    """The whole answer; `between` sees what each step has given."""
    kvs: list[bytes] = []
    while True:
        try:
            some = next(steps)
        except StopIteration as end:
            return RangeResult(kvs, *end.value)
        kvs += some
        between(some)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    history=st.lists(writes, min_size=2, max_size=8),
    request=requests(),
    step=st.sampled_from((1, 1, 2, 3)),
    back=st.sampled_from((0, 0, 1, 2, 5)),
    coming=st.lists(events, max_size=8),
)
def test_the_answer_is_of_one_revision_or_there_is_none(
    history: list[dict[bytes, bytes | None]],
    request: RangeRequest,
    step: int,
    back: int,
    coming: list[dict[bytes, bytes | None] | int],
) -> None:
    with world() as each:
        for changes in history:
            each.write(changes)
        each.disk.commit()
        revision = max(1, each.model.revision - back)
        check_range(request, each.store.range(request, -1), each.model.range(request, 0))
        expected = each.model.range(request, revision)
        later = iter(coming)

        def between(kvs: list[bytes]) -> None:
            assert len(kvs) <= step
            # Whatever is overtaken must not go on.
            assert revision >= each.model.compacted
            if (event := next(later, None)) is not None:
                each.happen(event)

        try:
            found = take_all(each.store.steps(request, revision, step), between)
        except CompactedError:
            assert revision < each.model.compacted
        else:
            assert revision >= each.model.compacted
            check_range(request, found, expected)


def test_steps_are_bounded() -> None:
    """However long the range and whatever is asked of it, a step does a step's work."""
    with world() as each:
        names = [b"%05d" % number for number in range(1200)]
        each.write(dict.fromkeys(names, b"x"))
        before = each.store.revision
        each.write(dict.fromkeys(names[::2], b"y"))
        each.write(dict.fromkeys(names[::3], None))
        for revision in (each.store.revision, before):
            for options in (
                {},
                {"keys_only": True},
                {"sort_order": RangeRequest.DESCEND},
                {"sort_order": RangeRequest.DESCEND, "sort_target": RangeRequest.VALUE},
                {"min_mod_revision": before, "limit": 300},
            ):
                request = RangeRequest(key=b"\x00", range_end=b"\x00", **options)
                sizes: list[int] = []
                found = take_all(each.store.steps(request, revision, 50), _measure(sizes))
                assert max(sizes) <= 50
                check_range(request, found, each.model.range(request, revision))


def _measure(sizes: list[int]) -> Callable[[list[bytes]], object]:
    return lambda kvs: sizes.append(len(kvs))


def test_large_records_are_read_fewer_at_a_time() -> None:
    with world() as each:
        each.write({b"%02d" % number: bytes(400_000) for number in range(40)})
        sizes: list[int] = []
        request = RangeRequest(key=b"\x00", range_end=b"\x00")
        steps = each.store.steps(request, each.store.revision, 8)
        found = take_all(steps, lambda kvs: sizes.append(sum(map(len, kvs))))
        assert len(found.kvs) == 40
        # After the first step their size is known.
        assert max(sizes[1:]) < 1 << 20
