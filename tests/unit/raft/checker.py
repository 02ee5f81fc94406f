"""The promises of Raft (figure 3 of the paper), checked over the whole history of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft import Entry, EntryKind, ReadState, Role

if TYPE_CHECKING:
    from tests.unit.raft.member import Member


class SafetyViolation(AssertionError):
    """One of Raft's promises was broken."""


class Checker:
    """What was ever seen, by all members, over the whole history."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.previous_terms: dict[tuple[int, int], tuple[int, Entry]] = {}
        self.committed: dict[int, int] = {}
        self.committed_in: dict[int, int] = {}
        self.digests: dict[int, int] = {0: 0}
        self.commit = 0
        self.reads: dict[bytes, int] = {}
        self.answered = 0

    def ready(self, member: Member) -> None:
        """Check what a member just did in memory."""
        self._log_matching(member)
        status = member.node.status()
        if status.role is Role.LEADER:
            other = self.leaders.setdefault(status.term, status.id)
            if other != status.id:
                raise SafetyViolation(f"two leaders in term {status.term}: {other}, {status.id}")
            self._leader_completeness(member, status.term)
            self._one_change_in_flight(member, status.applied)
        self._commit(member, status.commit, status.term)
        self._state_machine(member)
        for state in member.read_states:
            self._read_answered(state)
        member.read_states = []

    def read_requested(self, context: bytes) -> None:
        """A read begins: it must see all that is committed by now."""
        self.reads[context] = self.commit

    def _read_answered(self, state: ReadState) -> None:
        self.answered += 1
        needed = self.reads.pop(state.context, 0)
        if state.index < needed:
            raise SafetyViolation(f"stale read: {state.index} < {needed}")

    def _log_matching(self, member: Member) -> None:
        log = member.log
        for entry in log.entries[-16:]:
            position = entry.index - log.start[0] - 1
            previous = log.entries[position - 1].term if position else log.start[1]
            known = self.previous_terms.setdefault((entry.index, entry.term), (previous, entry))
            if known != (previous, entry):
                raise SafetyViolation(f"logs differ before {entry.index} of term {entry.term}")

    def _term_at(self, member: Member, index: int) -> int | None:
        start, entries = member.log.start, member.log.entries
        if index < start[0]:
            return self.committed[index]
        if index == start[0]:
            return start[1]
        return entries[index - start[0] - 1].term if index <= start[0] + len(entries) else None

    def _leader_completeness(self, member: Member, term: int) -> None:
        for index in range(max(1, self.commit - 30), self.commit + 1):
            # A leader that was replaced without knowing need not have what came after it.
            if self.committed_in[index] > term:
                continue
            if self._term_at(member, index) != self.committed[index]:
                raise SafetyViolation(f"leader of term {term} lacks committed entry {index}")

    def _one_change_in_flight(self, member: Member, applied: int) -> None:
        waiting = [e for e in member.log.entries if e.index > applied]
        changes = [e for e in waiting if e.kind is EntryKind.CONF_CHANGE and e.term >= 1]
        own = [e for e in changes if e.term == member.node.status().term]
        if len(own) > 1 or (own and changes[0] is not own[0]):
            raise SafetyViolation("two membership changes in flight")

    def _commit(self, member: Member, commit: int, current_term: int) -> None:
        for index in range(max(1, min(self.commit, commit - 5)), commit + 1):
            term = self._term_at(member, index)
            if term is None:
                raise SafetyViolation(f"commit {commit} of a missing entry")
            if self.committed.setdefault(index, term) != term:
                raise SafetyViolation(f"committed entry {index} was replaced")
            self.committed_in.setdefault(index, current_term)
        self.commit = max(self.commit, commit)

    def _state_machine(self, member: Member) -> None:
        known = self.digests.setdefault(member.applied, member.digest)
        if known != member.digest:
            raise SafetyViolation(f"state machines differ at {member.applied}")
