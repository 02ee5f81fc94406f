"""The replicated log of one member, and how far each entry has come (5.3, 7, thesis 10.2.1).

An entry is appended in memory, handed to storage, persisted, committed, handed to the state
machine (`applying`) and applied. Storage is asynchronous: several writes may be on their way, and
a write counts only for entries that have not been replaced since.

Invariants:

- `offset < i <= last_index` are the entries in memory; `offset` is the point compacted away.
- `persisted <= handed_out <= last_index`.
- `applied <= applying <= commit <= last_index`, and `applying <= persisted`: the state machine
  never holds an entry that this member's own disk could lose.
- `offset <= applied`, but for a restored snapshot that is not yet persisted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pykvd.raft.errors import InvariantError
from pykvd.raft.types import Entry, EntryId, EntryKind, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ENTRY_OVERHEAD = 32
"""Bytes counted for an entry besides its data, in every limit: so that none is free."""


def entry_size(entry: Entry) -> int:
    """The bytes that `entry` counts for in limits."""
    return len(entry.data) + ENTRY_OVERHEAD


class Write:
    """One Ready on its way to storage.

    `last_index` is the last entry that it makes durable; replacing entries lowers it, so that a
    late completion does not vouch for entries that came after it.
    """

    __slots__ = ("last_index", "number", "snapshot", "term", "vote")

    def __init__(
        self, number: int, term: int, vote: int, last_index: int, snapshot: Snapshot | None
    ) -> None:
        self.number = number
        self.term = term
        self.vote = vote
        self.last_index = last_index
        self.snapshot = snapshot


class RaftLog:
    """Entries after `start`, all of them persisted, of which `commit` are known committed.

    Raises `InvariantError` when the parts contradict each other.
    """

    def __init__(
        self, start: EntryId, entries: Iterable[Entry], *, commit: int, applied: int
    ) -> None:
        self.offset, self.offset_term = start.index, start.term
        self.entries: list[Entry] = []
        self.snapshot: Snapshot | None = None
        self._snapshot_handed_out = False
        self.writes: deque[Write] = deque()
        self._extend_recovered(entries)
        self.commit = max(commit, applied, self._commit_implied_by_conf_changes())
        if not self.offset <= applied <= self.commit <= self.last_index:
            raise InvariantError(
                f"recovered log out of order: offset {self.offset}, applied {applied}, "
                f"commit {self.commit}, last {self.last_index}"
            )
        self.applied = self.applying = applied
        self.persisted = self.handed_out = self.last_index

    def _extend_recovered(self, entries: Iterable[Entry]) -> None:
        term = self.offset_term
        for entry in entries:
            if entry.index != self.last_index + 1 or entry.term < term:
                raise InvariantError(
                    f"recovered entry {entry.index} of term {entry.term} after "
                    f"entry {self.last_index} of term {term}"
                )
            term = entry.term
            self.entries.append(entry)

    def _commit_implied_by_conf_changes(self) -> int:
        """The last conf change but one in the log, which must be committed.

        A leader appends a change only when it has applied the one before. Knowing this matters
        after a crash that lost the commit index: members must never be two changes apart.
        """
        changes = [e.index for e in self.entries if e.kind is EntryKind.CONF_CHANGE]
        return changes[-2] if len(changes) > 1 else 0

    # Positions and terms

    @property
    def last_index(self) -> int:
        """Index of the last entry, or of the point that the log starts after."""
        return self.offset + len(self.entries)

    @property
    def last_term(self) -> int:
        """Term of the last entry."""
        return self.entries[-1].term if self.entries else self.offset_term

    def term(self, index: int) -> int | None:
        """Term of the entry at `index`; None if it is compacted or not there."""
        position = index - self.offset
        if position == 0:
            return self.offset_term
        if 0 < position <= len(self.entries):
            return self.entries[position - 1].term
        return None

    def matches(self, index: int, term: int) -> bool:
        """Whether the log has an entry of `term` at `index` (consistency check of 5.3)."""
        return self.term(index) == term

    def is_up_to_date(self, index: int, term: int) -> bool:
        """Whether a log that ends at (`index`, `term`) has all that this one has (5.4.1)."""
        last_term = self.last_term
        return term > last_term or (term == last_term and index >= self.last_index)

    def last_index_not_after(self, index: int, term: int) -> EntryId:
        """The last entry at or before `index` whose term is at most `term`.

        A log that has `term` at `index` can agree with this one only up to there; skips a whole
        term at a time in log repair (5.3). Compacted entries count as agreeing, with term 0.
        """
        index = min(index, self.last_index)
        while index > self.offset:
            own = self.entries[index - self.offset - 1].term
            if own <= term:
                return EntryId(index, own)
            index -= 1
        return EntryId(index, self.offset_term if index == self.offset else 0)

    def slice(self, low: int, high: int, max_bytes: int | None = None) -> list[Entry]:
        """Entries `low <= i < high`, cut at `max_bytes` but never empty for it."""
        first, end = low - self.offset - 1, high - self.offset - 1
        if max_bytes is not None:
            size = 0
            for position in range(first, end):
                size += entry_size(self.entries[position])
                if size > max_bytes and position > first:
                    end = position
                    break
        return self.entries[first:end]

    # Growth

    def append(self, entry: Entry) -> None:
        """Add the next entry, on the leader."""
        self.entries.append(entry)

    def maybe_append(self, previous: EntryId, entries: Sequence[Entry], commit: int) -> int | None:
        """AppendEntries steps 2-5 of figure 2; the index known to match the leader, or None.

        Entries that are already there are left alone, so that a delayed append shortens nothing.
        """
        if not self.matches(previous.index, previous.term):
            return None
        for position, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                self._replace_from(entry.index, entries[position:])
                break
        last_new = previous.index + len(entries)
        self.commit_to(min(commit, last_new))
        return last_new

    def _replace_from(self, index: int, entries: Sequence[Entry]) -> None:
        if index <= self.commit:
            raise InvariantError(f"entry {index} conflicts with committed entry {self.commit}")
        del self.entries[index - self.offset - 1 :]
        self._forget_writes_from(index)
        self.entries.extend(entries)

    def _forget_writes_from(self, index: int) -> None:
        self.persisted = min(self.persisted, index - 1)
        self.handed_out = min(self.handed_out, index - 1)
        for write in self.writes:
            write.last_index = min(write.last_index, index - 1)

    def commit_to(self, index: int) -> bool:
        """Advance the commit index; False if it is there already."""
        if index <= self.commit:
            return False
        if index > self.last_index:
            raise InvariantError(f"commit {index} is past the last entry {self.last_index}")
        self.commit = index
        return True

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the whole log by `snapshot`, which storage is yet to install."""
        self.entries.clear()
        self._forget_writes_from(1)
        self.snapshot = snapshot
        self._snapshot_handed_out = False
        self.offset, self.offset_term = snapshot.index, snapshot.term
        self.handed_out = self.commit = self.applying = snapshot.index

    # Storage

    def unwritten(self) -> list[Entry]:
        """Entries that storage has not been given."""
        return self.entries[self.handed_out - self.offset :]

    def unwritten_snapshot(self) -> Snapshot | None:
        """The restored snapshot, if storage has not been given it."""
        return None if self._snapshot_handed_out else self.snapshot

    def begin_write(self, number: int, term: int, vote: int) -> None:
        """All that is unwritten is handed to storage as part of Ready `number`."""
        snapshot = self.unwritten_snapshot()
        self._snapshot_handed_out = self.snapshot is not None
        self.handed_out = self.last_index
        self.writes.append(Write(number, term, vote, self.last_index, snapshot))

    def finish_writes(self, number: int) -> list[Write]:
        """Writes of Readys up to `number` are durable; returns them, oldest first.

        A snapshot among them is installed: it counts as applied.
        """
        finished = []
        while self.writes and self.writes[0].number <= number:
            write = self.writes.popleft()
            finished.append(write)
            if write.snapshot is not None and write.snapshot is self.snapshot:
                self.applied = self.persisted = write.snapshot.index
                self.snapshot = None
            if self.snapshot is None and write.last_index > self.persisted:
                self.persisted = write.last_index
        return finished

    # Application

    def unapplied(self, max_bytes: int) -> Sequence[Entry]:
        """Committed and persisted entries that the state machine was not given, cut as `slice`."""
        low, high = self.applying, min(self.commit, self.persisted)
        if high <= low:
            return ()
        return self.slice(low + 1, high + 1, max_bytes)

    def applied_to(self, index: int) -> None:
        """The state machine holds everything up to `index`."""
        if index > self.applying:
            raise InvariantError(f"applied {index} but only {self.applying} was handed out")
        self.applied = max(self.applied, index)

    def compact(self, index: int) -> None:
        """Forget entries up to `index`; earlier calls may have gone further."""
        if index <= self.offset:
            return
        if index > self.applied:
            raise InvariantError(f"compaction at {index} is past applied {self.applied}")
        term = self.entries[index - self.offset - 1].term
        del self.entries[: index - self.offset]
        self.offset, self.offset_term = index, term
