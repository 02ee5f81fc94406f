"""Samples of time against a list of every change."""

from hypothesis import given
from hypothesis import strategies as st

from pykvd.mvcc.timeline import EMPTY, RESOLUTION_NS, Timeline

#: Tenths of a second between one change and the next; clocks of proposers may step back.
steps = st.lists(st.integers(-5, 40), max_size=60)


def written(deltas: list[int]) -> tuple[Timeline, list[int]]:
    """A timeline of changes, and the time of each; change i makes revision EMPTY + 1 + i."""
    timeline = Timeline()
    times: list[int] = []
    now = 100 * RESOLUTION_NS
    for position, delta in enumerate(deltas):
        now += delta * RESOLUTION_NS // 10
        times.append(now)
        if timeline.is_due(now):
            timeline.note(now, EMPTY + position)
    return timeline, times


@given(steps)
def test_times_are_right_within_the_resolution_when_the_clock_goes_forward(
    deltas: list[int],
) -> None:
    timeline, times = written([abs(delta) for delta in deltas])
    for position, time_ns in enumerate(times):
        told = timeline.time_of(EMPTY + 1 + position)
        assert told is not None
        assert 0 <= time_ns - told < RESOLUTION_NS
    assert timeline.time_of(EMPTY) is None


@given(steps, st.integers(0, 3000))
def test_the_revision_at_a_time_is_right_within_the_resolution(
    deltas: list[int], tenths: int
) -> None:
    timeline, times = written([abs(delta) for delta in deltas])
    newest = EMPTY + len(times)
    asked = 99 * RESOLUTION_NS + tenths * RESOLUTION_NS // 10

    def exact(at: int) -> int:
        return EMPTY + sum(time_ns <= at for time_ns in times)

    told = timeline.revision_at(asked, newest)
    assert told is not None
    assert exact(asked - RESOLUTION_NS) <= told <= exact(asked)


@given(steps, st.integers(1, 80))
def test_forgetting_keeps_all_that_can_still_be_read(deltas: list[int], revision: int) -> None:
    timeline, times = written(deltas)
    newest = EMPTY + len(times)
    before = {each: timeline.time_of(each) for each in range(revision + 1, newest + 1)}
    timeline.forget(revision)
    assert {each: timeline.time_of(each) for each in before} == before
    if revision > newest + 1 and times:
        assert timeline.revision_at(0, newest) in (None, EMPTY)


@given(steps)
def test_a_table_loads_what_was_noted(deltas: list[int]) -> None:
    timeline, times = written(deltas)
    kept = Timeline()
    again, now = Timeline(), 100 * RESOLUTION_NS
    entries = []
    for position, delta in enumerate(deltas):
        now += delta * RESOLUTION_NS // 10
        if kept.is_due(now):
            entries.append(kept.note(now, EMPTY + position))
    again.load(entries)
    for revision in range(EMPTY, EMPTY + len(times) + 1):
        assert again.time_of(revision) == timeline.time_of(revision)


def test_times_never_go_back() -> None:
    timeline = Timeline()
    assert timeline.is_due(10 * RESOLUTION_NS)
    timeline.note(10 * RESOLUTION_NS, EMPTY)
    assert not timeline.is_due(5 * RESOLUTION_NS)
    assert not timeline.is_due(11 * RESOLUTION_NS - 1)
    assert timeline.is_due(11 * RESOLUTION_NS)


def test_an_empty_store_was_always_empty() -> None:
    assert Timeline().revision_at(1, EMPTY) == EMPTY
    assert Timeline().revision_at(1, EMPTY + 1) is None
