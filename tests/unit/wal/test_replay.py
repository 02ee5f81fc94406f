"""What the records of a log add up to."""

from __future__ import annotations

import pytest

from pykvd.wal import Entry, HardState, Metadata, Record, Replay, Snapshot
from pykvd.wal.replay import ReplayError


def replay(*records: Record) -> Replay:
    """The state that the records stand for."""
    state = Replay()
    for record in records:
        state.feed(record)
    state.finish()
    return state


def entry(index: int, term: int = 1) -> Entry:
    """An entry that tells its index and term."""
    return Entry(term, index, 0, b"%d/%d" % (index, term))


def test_an_empty_log_is_at_index_zero() -> None:
    assert replay() == Replay()
    assert replay().last_index == 0


def test_the_last_metadata_and_hard_state_count() -> None:
    state = replay(Metadata(b"a"), HardState(1, 1, 0), Metadata(b"b"), HardState(2, 0, 1))
    assert (state.metadata, state.hard_state) == (b"b", HardState(2, 0, 1))


def test_an_index_written_again_replaces_all_that_followed() -> None:
    state = replay(entry(1), entry(2), entry(3), entry(2, term=2))
    assert state.entries == [entry(1), entry(2, term=2)]
    assert state.last_index == 2


def test_the_first_index_may_be_written_again() -> None:
    assert replay(entry(1), entry(2), entry(1, term=2)).entries == [entry(1, term=2)]


def test_a_mark_drops_what_the_store_holds() -> None:
    state = replay(entry(1), entry(2), entry(3), Snapshot(2, 1))
    assert (state.snapshot, state.entries) == (Snapshot(2, 1), [entry(3)])


def test_an_older_mark_changes_nothing() -> None:
    state = replay(entry(1), entry(2), entry(3), Snapshot(2, 1), Snapshot(1, 1))
    assert (state.snapshot, state.entries) == (Snapshot(2, 1), [entry(3)])


def test_a_mark_that_contradicts_the_log_drops_all_of_it() -> None:
    state = replay(entry(1), entry(2), entry(3), Snapshot(2, 5))
    assert (state.entries, state.last_index) == ([], 2)


def test_a_mark_beyond_the_log_drops_all_of_it_and_entries_go_on_behind_it() -> None:
    state = replay(entry(1), Snapshot(10, 3), entry(11, term=3))
    assert state.entries == [entry(11, term=3)]


def test_entries_behind_released_ones_need_a_later_mark() -> None:
    assert replay(entry(5), entry(6), Snapshot(5, 1)).entries == [entry(6)]
    with pytest.raises(ReplayError, match=r"begin at index 5.*up to 0"):
        replay(entry(5), entry(6))


def test_a_mark_below_the_entries_that_are_left_waits_for_a_later_one() -> None:
    """A release that a crash interrupted leaves marks older than the first entry."""
    state = replay(entry(5), Snapshot(3, 1), entry(6), entry(7), Snapshot(6, 1))
    assert (state.snapshot, state.entries) == (Snapshot(6, 1), [entry(7)])


def test_a_gap_is_refused() -> None:
    with pytest.raises(ReplayError, match="entry 3 follows entry 1"):
        replay(entry(1), entry(3))


def test_entries_that_the_store_holds_are_ignored() -> None:
    assert replay(Snapshot(3, 1), entry(3), entry(4)).entries == [entry(4)]
