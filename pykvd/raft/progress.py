"""What a leader knows of one follower's log (5.3; flow control after thesis 10.2.1)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pykvd.raft.inflights import Inflights


class ProgressState(IntEnum):
    """How appends are sent to the follower."""

    PROBE = 0
    """Where the logs part is not known: one append a heartbeat, until one is accepted."""
    REPLICATE = 1
    """The logs match at `match`: appends are pipelined, up to the in-flight limits."""
    SNAPSHOT = 2
    """The entries that the follower needs are compacted: nothing but a snapshot helps."""


class ProgressStatus(NamedTuple):
    """A copy of a `Progress` for reports."""

    state: ProgressState
    match: int
    next: int
    is_learner: bool
    recent_active: bool
    pending_snapshot: int
    inflight: int


class Progress:
    """nextIndex and matchIndex of figure 2, with the state of the flow to the follower.

    Invariants: `match < next`. The follower's log equals the leader's up to `match`, durably. In
    PROBE `probe_sent` says that an append is unanswered; in SNAPSHOT `pending_snapshot` is the
    index that was sent and `next` is past it; in REPLICATE `next` is past the last entry sent.
    """

    __slots__ = (
        "inflights",
        "is_learner",
        "match",
        "next",
        "pending_snapshot",
        "probe_sent",
        "recent_active",
        "state",
    )

    def __init__(self, next_index: int, inflights: Inflights) -> None:
        self.state = ProgressState.PROBE
        self.match = 0
        self.next = next_index
        self.inflights = inflights
        self.is_learner = False
        self.recent_active = False
        self.pending_snapshot = 0
        self.probe_sent = False

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.probe_sent = False
        self.pending_snapshot = 0
        self.inflights.clear()

    def become_probe(self) -> None:
        """Look for the place where the logs part, from `match` or a snapshot just sent."""
        snapshot = self.pending_snapshot
        self._enter(ProgressState.PROBE)
        self.next = max(self.match, snapshot) + 1

    def become_replicate(self) -> None:
        """The follower acknowledged `match`: stream from there."""
        self._enter(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        """A snapshot at `index` is on its way."""
        self._enter(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1

    @property
    def paused(self) -> bool:
        """Whether appends with entries must wait for an answer."""
        if self.state is ProgressState.REPLICATE:
            return self.inflights.full
        return self.state is ProgressState.SNAPSHOT or self.probe_sent

    def sent(self, last_index: int, size: int) -> None:
        """Account for an append whose last entry is `last_index`, or an empty one (`size` 0)."""
        if self.state is ProgressState.REPLICATE:
            if size:
                self.next = last_index + 1
                self.inflights.add(last_index, size)
        elif self.state is ProgressState.PROBE:
            self.probe_sent = True

    def maybe_update(self, index: int) -> bool:
        """An acknowledgement of `index`; False if it says nothing new."""
        self.next = max(self.next, index + 1)
        if index <= self.match:
            return False
        self.match = index
        self.probe_sent = False
        return True

    def maybe_decrement(self, rejected: int, hint: int) -> bool:
        """A rejection of an append after `rejected`: go back to `hint`; False if it is stale.

        In REPLICATE a rejection means that an append was lost: all after `match` is sent again.
        In PROBE only the last append sent counts. A refusal of what was once acknowledged is old,
        or comes from a member that lost its disk and must not be believed.
        """
        if rejected <= self.match:
            return False
        if self.state is ProgressState.REPLICATE:
            self.next = self.match + 1
            return True
        if self.state is not ProgressState.PROBE or self.next - 1 != rejected:
            return False
        self.next = max(min(rejected, hint + 1), self.match + 1)
        self.probe_sent = False
        return True

    def status(self) -> ProgressStatus:
        """A copy for reports."""
        return ProgressStatus(
            state=self.state,
            match=self.match,
            next=self.next,
            is_learner=self.is_learner,
            recent_active=self.recent_active,
            pending_snapshot=self.pending_snapshot,
            inflight=len(self.inflights),
        )
