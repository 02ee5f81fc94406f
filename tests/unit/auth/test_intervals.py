"""Interval sets against a model that asks every key."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pykvd.auth.intervals import EVERYTHING, FROM_KEY, IntervalSet, is_valid

LETTERS = (b"\x00", b"a", b"b", b"\xff")
#: Every key of up to two letters: enough for ends that touch, overlap and nest.
KEYS = tuple(b"".join(each) for size in (1, 2) for each in itertools.product(LETTERS, repeat=size))
#: Beyond KEYS, so that an open end is told from an end behind the last key.
LAST = b"\xff\xff\xff"

keys = st.sampled_from(KEYS)
ends = st.one_of(st.just(b""), st.just(FROM_KEY), keys, st.just(LAST))
grants = st.tuples(keys, ends).filter(lambda each: is_valid(*each))


def selects(key: bytes, range_end: bytes, candidate: bytes) -> bool:
    """Whether a range holds a key, by the words of the API."""
    if not range_end:
        return candidate == key
    return candidate >= key and (range_end == FROM_KEY or candidate < range_end)


@given(granted=st.lists(grants, max_size=6), key=keys)
def test_a_key_is_covered_when_a_grant_selects_it(
    granted: list[tuple[bytes, bytes]], key: bytes
) -> None:
    expected = any(selects(*each, key) for each in granted)
    assert IntervalSet(granted).covers(key) == expected


def probes(granted: list[tuple[bytes, bytes]], key: bytes, range_end: bytes) -> list[bytes]:
    """Keys of a range that tell whether it is covered.

    What is covered can only begin or stop at a granted key or end, or just behind a single key.
    """
    edges = {key, LAST + b"\x00"}
    for begin, end in granted:
        edges |= {begin, begin + b"\x00", end or begin, (end or begin) + b"\x00"}
    return [edge for edge in edges if edge and selects(key, range_end, edge)]


@given(granted=st.lists(grants, max_size=6), asked=grants)
@example(granted=[(b"a", b"b"), (b"b", b"c")], asked=(b"a", b"c"))
@example(granted=[(b"a", b""), (b"a\x00", b"b")], asked=(b"a", b"b"))
@example(granted=[(b"a", b"")], asked=(b"a", FROM_KEY))
@example(granted=[(b"a", LAST)], asked=(b"a", FROM_KEY))
def test_a_range_is_covered_when_every_key_of_it_is(
    granted: list[tuple[bytes, bytes]], asked: tuple[bytes, bytes]
) -> None:
    expected = all(any(selects(*each, key) for each in granted) for key in probes(granted, *asked))
    if asked[1] == FROM_KEY:
        expected = expected and any(end == FROM_KEY for _, end in granted)
    assert IntervalSet(granted).covers(*asked) == expected


@given(granted=st.lists(grants, max_size=6), asked=st.sets(keys, min_size=1))
def test_keys_are_covered_when_each_is(
    granted: list[tuple[bytes, bytes]], asked: set[bytes]
) -> None:
    intervals = IntervalSet(granted)
    assert intervals.covers_all(asked) == all(intervals.covers(key) for key in asked)


@given(granted=st.lists(grants, max_size=6), order=st.randoms(use_true_random=False))
def test_the_order_of_grants_does_not_matter(
    granted: list[tuple[bytes, bytes]], order: object
) -> None:
    shuffled = list(granted)
    order.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    one, other = IntervalSet(granted), IntervalSet(shuffled)
    for key, end in itertools.product(KEYS, (b"", FROM_KEY, b"a\xff", b"b")):
        assert one.covers(key, end) == other.covers(key, end)


@pytest.mark.parametrize(
    ("key", "range_end", "covered"),
    [(b"b", b"", True), (b"b", b"b", True), (b"b", b"a", True), (b"c", b"a", False)],
)
def test_an_inverted_range_stands_for_its_key(key: bytes, range_end: bytes, covered: bool) -> None:
    assert IntervalSet([(b"b", b"")]).covers(key, range_end) == covered


def test_everything_is_everything() -> None:
    assert EVERYTHING.covers(b"\x00", FROM_KEY)
    assert EVERYTHING.covers(b"\xff" * 9)
    assert not IntervalSet([]).covers(b"a")


@pytest.mark.parametrize(
    ("key", "range_end", "valid"),
    [
        (b"", b"", False),
        (b"", b"a", False),
        (b"a", b"", True),
        (b"a", b"b", True),
        (b"a", b"a", False),
        (b"b", b"a", False),
        (b"b", FROM_KEY, True),
        (FROM_KEY, FROM_KEY, True),
    ],
)
def test_what_may_be_granted(key: bytes, range_end: bytes, valid: bool) -> None:
    assert is_valid(key, range_end) == valid
