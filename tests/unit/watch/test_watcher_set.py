"""Finding the watchers of a key: the structure against a loop over all of them."""

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pykvd.mvcc.record import TOMBSTONE
from pykvd.watch.watcher import Selector, Session, Watcher, WatcherSet, prefix_end
from tests.unit.mvcc.model import in_range

KEYS = (b"\x00", b"a", b"ab", b"abc", b"abcd", b"b", b"a\xff", b"a\xff\xff", b"\xff", b"\xff\xff")


class NoSession:
    """A session that nothing is sent to."""

    congested = False

    def send_shared(self, framed: bytes) -> None:
        raise AssertionError

    def compacted(self, watcher: Watcher, compact_revision: int) -> None:
        raise AssertionError


SESSION: Session = NoSession()


@st.composite
def selectors(draw: st.DrawFn) -> Selector:
    key = draw(st.sampled_from(KEYS))
    end = draw(st.sampled_from((b"", prefix_end(key), b"\x00", b"ac", b"b", b"c")))
    if end not in (b"", b"\x00") and end <= key:
        end = b""
    return key, end, draw(st.booleans()), False, draw(st.booleans())


def make(selectors: Iterable[Selector]) -> list[Watcher]:
    return [Watcher(SESSION, number, each, start=0) for number, each in enumerate(selectors)]


def matched(watchers: WatcherSet, key: bytes) -> list[int]:
    return sorted(watcher.id for group in watchers.match(key) for watcher in group.watchers)


def expected(watchers: Iterable[Watcher], key: bytes) -> list[int]:
    return sorted(each.id for each in watchers if in_range(key, *each.selector[:2]))


@given(chosen=st.lists(selectors(), max_size=12), removed=st.sets(st.integers(0, 11)))
@example(
    chosen=[(b"a", b"b", False, False, False), (b"ab", b"ac", False, False, False)], removed=set()
)
def test_each_watcher_of_a_key_is_found_once(chosen: list[Selector], removed: set[int]) -> None:
    watchers = make(chosen)
    found = WatcherSet()
    for watcher in watchers:
        found.add(watcher)
    for key in (*KEYS, b"ac", b"zz"):
        assert matched(found, key) == expected(watchers, key)
    kept = [watcher for watcher in watchers if watcher.id not in removed]
    for watcher in watchers:
        if watcher.id in removed:
            found.remove(watcher)
    for key in (*KEYS, b"ac", b"zz"):
        assert matched(found, key) == expected(kept, key)
    assert sorted(watcher.id for watcher in found) == [watcher.id for watcher in kept]
    assert len(found) == len(kept)
    assert bool(found) == bool(kept)


def test_watchers_of_the_same_thing_share_a_group() -> None:
    found = WatcherSet()
    for watcher in make([(b"a", b"", False, False, True)] * 3):
        found.add(watcher)
    (group,) = found.match(b"a")
    assert len(group.watchers) == 3


@pytest.mark.parametrize(
    ("no_put", "no_delete", "wanted"),
    [
        (False, False, [True, True]),
        (True, False, [False, True]),
        (False, True, [True, False]),
        (True, True, [False, False]),
    ],
)
def test_filters(no_put: bool, no_delete: bool, wanted: list[bool]) -> None:
    found = WatcherSet()
    found.add(Watcher(SESSION, 1, (b"a", b"", no_put, no_delete, False), start=0))
    (group,) = found.match(b"a")
    assert [group.wants(0), group.wants(TOMBSTONE)] == wanted


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        (b"a", b"b"),
        (b"a\xff", b"b"),
        (b"\xff\xff", b"\x00"),
        (b"\x00", b"\x01"),
        (b"", b"\x00"),
    ],
)
def test_prefix_end(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end
