"""The promises of Raft (figure 3 of the paper) and of the disk, checked after every step.

All of it is bookkeeping over the whole history of a run: what was ever written, committed and
applied by any member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from google_crc32c import extend

from pykvd import wal
from pykvd.raft import EntryKind, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pykvd.node.storage import Storage
    from pykvd.raft import Entry
    from pykvd.raft.core import Raft
    from pykvd.wal import Record
    from tests.simulation.member import Process


class Violation(AssertionError):
    """A promise was broken."""


class Election(NamedTuple):
    """A member came to lead a term."""

    time: float
    term: int
    member: int


class _View:
    """What a member showed after its last step, to see what changed."""

    __slots__ = ("applied", "commit", "last_index", "last_term", "leads", "term")

    def __init__(self) -> None:
        self.term = 0
        self.leads = False
        self.commit = 0
        self.applied = 0
        self.last_index = 0
        self.last_term = 0


class RaftChecks:
    """Election safety, leader append-only, log matching, leader completeness, state machine safety.

    Also: a member's disk keeps what it reported durable, commit and applied indexes never fall
    within a life, and at most one membership change is in flight.
    """

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.elections: list[Election] = []
        self.commit = 0
        #: Term of each committed entry, and the term of the member that first knew it committed.
        self.committed: dict[int, tuple[int, int]] = {1: (1, 1)}
        #: By (index, term): the term of the entry before, and the checksum of the data.
        self._entries: dict[tuple[int, int], list[int]] = {}
        self._applied: dict[int, tuple[int, int]] = {}
        self._views: dict[int, _View] = {}
        self._logs: dict[int, LogChecks] = {}

    # A process lives

    def opened(self, process: Process, storage: Storage) -> None:
        """A new life: the disk must hold what it was reported to hold."""
        self._views[process.id] = _View()
        self.log_of(process).opened(storage)

    def log_of(self, process: Process) -> LogChecks:
        """Who watches over the log of a process."""
        if process.id not in self._logs:
            self._logs[process.id] = LogChecks(process.id, self._entries)
        return self._logs[process.id]

    def forget_others(self) -> None:
        """All members but one are gone for good: it need not agree with what only they knew."""
        self.leaders.clear()
        self._entries.clear()

    # Steps

    def stepped(self, process: Process) -> None:
        """Check what changed in a member since its last step."""
        raft = process.node.raft._raft
        log = raft.log
        view = self._views[process.id]
        leads = raft.role.kind is Role.LEADER
        if raft.term < view.term or log.commit < view.commit or log.applied < view.applied:
            raise Violation(f"m{process.id} went back: term {raft.term}, commit {log.commit}")
        if leads:
            if not view.leads or view.term != raft.term:
                self._elected(process, raft)
            elif (log.term(view.last_index) or view.last_term) != view.last_term or (
                log.last_index < view.last_index
            ):
                raise Violation(f"leader m{process.id} changed its own log")
            self._one_change_in_flight(process, raft)
        if log.commit > view.commit:
            self._committed(process, raft, view.commit)
        view.term, view.leads, view.commit = raft.term, leads, log.commit
        view.applied = log.applied
        view.last_index, view.last_term = log.last_index, log.last_term

    def _elected(self, process: Process, raft: Raft) -> None:
        other = self.leaders.setdefault(raft.term, process.id)
        if other != process.id:
            raise Violation(f"two leaders in term {raft.term}: m{other} and m{process.id}")
        self.elections.append(Election(process.world.scheduler.now, raft.term, process.id))
        for index in range(raft.log.offset + 1, self.commit + 1):
            term, known_in = self.committed[index]
            if known_in < raft.term and raft.log.term(index) != term:
                raise Violation(
                    f"leader m{process.id} of term {raft.term} lacks committed entry {index}"
                )

    def _one_change_in_flight(self, process: Process, raft: Raft) -> None:
        log = raft.log
        if log.applied == log.last_index:
            return
        waiting = log.slice(log.applied + 1, log.last_index + 1)
        changes = [entry for entry in waiting if entry.kind is EntryKind.CONF_CHANGE]
        if len(changes) > 1 and changes[-1].term == raft.term:
            raise Violation(f"leader m{process.id} has two membership changes in flight")

    def _committed(self, process: Process, raft: Raft, before: int) -> None:
        log = raft.log
        for index in range(max(before, log.offset) + 1, log.commit + 1):
            term = log.term(index)
            if term is None:
                raise Violation(f"m{process.id} commits entry {index}, which it does not have")
            known = self.committed.setdefault(index, (term, raft.term))
            if known[0] != term:
                raise Violation(
                    f"m{process.id} commits entry {index} of term {term}, "
                    f"but that of term {known[0]} was committed"
                )
        self.commit = max(self.commit, log.commit)

    def applied(self, process: Process, entries: Sequence[Entry]) -> None:
        """State machine safety: all members apply the same entries."""
        for entry in entries:
            value = (entry.term, _sum(entry.kind, entry.data))
            if self._applied.setdefault(entry.index, value) != value:
                raise Violation(
                    f"m{process.id} applies another entry {entry.index} than others did"
                )


class LogChecks:
    """One member's log through all its lives: log matching, and what was synced survives.

    `known` are the entries of all members by (index, term): the term of the entry before, if it was
    written together with it, and the checksum of the data.
    """

    def __init__(self, member_id: int, known: dict[tuple[int, int], list[int]]) -> None:
        self._id = member_id
        self._known = known
        self._submitted: dict[int, int] = {}
        self._durable: dict[int, int] = {}
        self._vote = (0, 0)

    def durable_term(self, index: int) -> int:
        """The term of an entry that the disk keeps whatever happens, or 0."""
        return self._durable.get(index, 0)

    def submitted(self, records: Sequence[Record]) -> None:
        """A member writes: what is overwritten need not survive any more."""
        before: wal.Entry | None = None
        for record in records:
            if isinstance(record, wal.Entry):
                self._check(record, before)
                if record.index in self._submitted:
                    self._submitted = _below(self._submitted, record.index)
                    self._durable = _below(self._durable, record.index)
                self._submitted[record.index] = record.term
                before = record

    def _check(self, entry: wal.Entry, before: wal.Entry | None) -> None:
        checksum = _sum(entry.kind, entry.data)
        previous = before.term if before is not None else 0
        known = self._known.setdefault((entry.index, entry.term), [previous, checksum])
        known[0] = known[0] or previous
        if known[1] != checksum or (previous and known[0] != previous):
            raise Violation(f"logs differ before or at {entry.index} of term {entry.term}")

    def reported(self, records: Sequence[Record]) -> None:
        """The disk promises to keep these."""
        for record in records:
            if isinstance(record, wal.Entry):
                # Unless a later batch, which is on its way, overwrites it.
                if self._submitted.get(record.index) == record.term:
                    self._durable[record.index] = record.term
            elif isinstance(record, wal.HardState):
                self._vote = (record.term, record.vote)
            elif isinstance(record, wal.Snapshot):
                self._submitted = _above(self._submitted, record.index)
                self._durable = _above(self._durable, record.index)

    def opened(self, storage: Storage) -> None:
        """The disk is read again after a crash.

        Older entries than the store has applied may go: a snapshot took their place.
        """
        applied, applied_term = storage.applied
        self._submitted = {entry.index: entry.term for entry in storage.replay.entries}
        for index, entry_term in self._durable.items():
            needed = index > applied and entry_term >= applied_term
            if needed and self._submitted.get(index) != entry_term:
                raise Violation(
                    f"m{self._id} lost entry {index} of term {entry_term}, which was synced"
                )
        self._durable = {
            index: entry_term
            for index, entry_term in self._durable.items()
            if self._submitted.get(index) == entry_term
        }
        term, vote = self._vote
        state = storage.hard_state
        if state.term < term or (state.term == term and vote and state.vote != vote):
            raise Violation(f"m{self._id} lost its vote for m{vote} in term {term}")


def _below(entries: dict[int, int], index: int) -> dict[int, int]:
    return {each: term for each, term in entries.items() if each < index}


def _above(entries: dict[int, int], index: int) -> dict[int, int]:
    return {each: term for each, term in entries.items() if each > index}


def _sum(kind: int, data: bytes) -> int:
    checksum: int = extend(int(kind), data)
    return checksum
