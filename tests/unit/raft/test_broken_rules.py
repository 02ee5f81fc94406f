"""The checks can fail: each test breaks one rule on purpose and sees it caught."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pykvd.raft import ConfChange, EntryKind, InvariantError, Message, RaftError, confchange
from pykvd.raft.core import Raft
from pykvd.raft.leader import Leader
from pykvd.raft.log import RaftLog
from pykvd.raft.replication import Replication
from tests.unit.raft.checker import SafetyViolation
from tests.unit.raft.test_random_network import World, run
from tests.unit.raft.test_scenarios import parse, play

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parent / "testdata"
SEEDS = 500


def worlds(**options: bool) -> Iterator[World]:
    return (World(seed, **options) for seed in range(SEEDS))


def assert_caught(found: Iterator[World], *, message: str) -> None:
    """Some run ends with a violation whose text begins with `message`."""
    for world in found:
        try:
            run(world)
        except (SafetyViolation, RaftError) as error:
            if str(error).startswith(message):
                return
    raise AssertionError(f"not noticed in {SEEDS} runs")


def play_file(name: str) -> None:
    play(parse((DATA / name).read_text()))


def test_promises_before_the_disk_lose_committed_entries() -> None:
    """Votes and acknowledgements that leave before `persisted`."""
    assert_caught(worlds(promises_wait=False), message="")


def test_two_votes_in_a_term_elect_two_leaders(monkeypatch: pytest.MonkeyPatch) -> None:
    """5.2: at most one vote a term."""
    handle = Raft._handle_vote_request

    def forget_vote(self: Raft, message: Message) -> None:
        self.vote = 0
        handle(self, message)

    monkeypatch.setattr(Raft, "_handle_vote_request", forget_vote)
    assert_caught(worlds(), message="two leaders")


def test_votes_for_any_log_elect_leaders_without_committed_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """5.4.1: the election restriction."""
    monkeypatch.setattr(RaftLog, "is_up_to_date", lambda *_: True)
    assert_caught(worlds(), message="leader of term")


def test_two_changes_in_flight_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thesis 4.1: one membership change at a time."""

    def check(self: Leader, data: bytes) -> None:
        confchange.apply_change(self.raft.conf, ConfChange.decode(data))

    monkeypatch.setattr(Leader, "_check_conf_change", check)
    assert_caught(worlds(), message="two membership changes")


def test_counting_replicas_of_old_terms_loses_a_committed_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """5.4.2, figure 8: the term check on commit."""
    monkeypatch.setattr(Leader, "_may_commit", lambda *_: True)
    with pytest.raises((SafetyViolation, InvariantError)):
        play_file("paper_5_4_2_figure_8_old_terms.txt")


def test_counting_what_only_memory_holds_loses_a_committed_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thesis 10.2.1: the leader counts itself when its own write is done."""

    def count_memory(self: Replication) -> bool:
        own = self.progress.get(self.raft.id)
        return own is not None and own.maybe_update(self.raft.log.last_index)

    monkeypatch.setattr(Replication, "count_own_log", count_memory)
    append = Leader._append

    def append_and_count(self: Leader, kind: EntryKind, data: bytes) -> None:
        append(self, kind, data)
        self.persisted()

    monkeypatch.setattr(Leader, "_append", append_and_count)
    with pytest.raises((SafetyViolation, InvariantError)):
        play_file("thesis_10_2_1_parallel_disk_write.txt")


def test_reads_without_a_quorum_are_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thesis 6.4: a leader that was replaced must not answer from its own commit index."""

    def answer_at_once(self: Leader) -> None:
        reads = self.raft.reads
        for confirmed in reads.confirm(reads.start_round(self.raft.log.commit)):
            for request in confirmed.requests:
                self._answer_read(request.sender, request.context, confirmed.index)

    monkeypatch.setattr(Leader, "_start_reads", answer_at_once)
    with pytest.raises(SafetyViolation, match="stale read"):
        play_file("thesis_6_4_read_only.txt")


def test_the_same_stories_break_nothing_with_the_rules_in_place() -> None:
    play_file("paper_5_4_2_figure_8_old_terms.txt")
    play_file("thesis_6_4_read_only.txt")
    play_file("thesis_10_2_1_parallel_disk_write.txt")
