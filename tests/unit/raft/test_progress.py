"""The flow to one follower: window limits and invariants under any sequence of answers."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pykvd.raft import ProgressState
from pykvd.raft.inflights import Inflights
from pykvd.raft.progress import Progress


def test_the_window_is_full_by_messages_or_by_bytes() -> None:
    window = Inflights(2, 100)
    window.add(1, 10)
    assert not window.full
    window.add(2, 10)
    assert window.full
    window.free_to(1)
    assert not window.full
    window.add(3, 1000)
    assert window.full
    assert (len(window), window.bytes) == (2, 1010)
    window.free_to(3)
    assert (len(window), window.bytes, window.full) == (0, 0, False)


class ProgressMachine(RuleBasedStateMachine):
    """A leader's log of 50 entries, and a follower that may answer anything plausible."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = Progress(51, Inflights(3, 1000))
        self.highest = 0

    @precondition(lambda self: not self.progress.paused)
    @rule(count=st.integers(0, 5))
    def send(self, count: int) -> None:
        last = min(self.progress.next - 1 + count, 50)
        self.progress.sent(last, 40 * max(0, last - self.progress.next + 1))

    @rule(index=st.integers(0, 50))
    def accept(self, index: int) -> None:
        advanced = self.progress.maybe_update(index)
        assert advanced is (index > self.highest)
        self.highest = max(self.highest, index)
        if self.progress.state is ProgressState.REPLICATE:
            self.progress.inflights.free_to(index)
        elif advanced:
            self.progress.become_replicate()

    @rule(rejected=st.integers(0, 60), hint=st.integers(0, 60))
    def reject(self, rejected: int, hint: int) -> None:
        before = self.progress.next
        if self.progress.maybe_decrement(rejected, hint):
            assert self.progress.next <= before
            if self.progress.state is ProgressState.REPLICATE:
                self.progress.become_probe()

    @rule(index=st.integers(1, 50))
    def snapshot(self, index: int) -> None:
        if index > self.progress.match:
            self.progress.become_snapshot(index)
            assert self.progress.paused

    @rule()
    def probe(self) -> None:
        self.progress.become_probe()

    @invariant()
    def match_is_the_highest_acknowledgement_and_before_next(self) -> None:
        assert self.progress.match == self.highest
        assert self.progress.match < self.progress.next

    @invariant()
    def only_replication_fills_the_window(self) -> None:
        window = self.progress.inflights
        assert len(window) <= 3
        assert self.progress.state is ProgressState.REPLICATE or len(window) == 0

    @invariant()
    def only_a_snapshot_is_pending_in_the_snapshot_state(self) -> None:
        pending = self.progress.pending_snapshot != 0
        assert pending is (self.progress.state is ProgressState.SNAPSHOT)


TestProgress = ProgressMachine.TestCase
