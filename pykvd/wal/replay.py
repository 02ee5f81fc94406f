"""What the records of a log add up to.

Pure: values only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pykvd.wal.record import Entry, HardState, Metadata, Record, Snapshot

__all__ = ["NO_SNAPSHOT", "Replay", "ReplayError"]

NO_HARD_STATE = HardState(0, 0, 0)
NO_SNAPSHOT = Snapshot(0, 0)


class ReplayError(Exception):
    """The records are whole but do not make a log; the text says why."""


@dataclass(slots=True)
class Replay:
    """The state that a log stands for; `entries` follow `snapshot` without a gap.

    `torn` describes the tail that was cut at opening, with file and offset, or is None.
    """

    metadata: bytes = b""
    hard_state: HardState = NO_HARD_STATE
    snapshot: Snapshot = NO_SNAPSHOT
    entries: list[Entry] = field(default_factory=list)
    torn: str | None = None

    @property
    def last_index(self) -> int:
        """Index of the last entry, or of the snapshot mark when none follows it."""
        return self.entries[-1].index if self.entries else self.snapshot.index

    def feed(self, record: Record) -> None:
        """Take the next record; raises `ReplayError` when an entry leaves a gap."""
        match record:
            case Entry():
                self._feed_entry(record)
            case HardState():
                self.hard_state = record
            case Snapshot():
                self._feed_snapshot(record)
            case Metadata(data):
                self.metadata = data

    def finish(self) -> None:
        """Check the whole; raises `ReplayError` if entries after the snapshot mark are missing."""
        if self.entries and self.entries[0].index != self.snapshot.index + 1:
            raise ReplayError(
                f"entries begin at index {self.entries[0].index}, "
                f"but the store holds only those up to {self.snapshot.index}"
            )

    def _feed_entry(self, entry: Entry) -> None:
        """Append; an index written before replaces it and all that followed (Raft, section 5.3)."""
        entries = self.entries
        if entry.index <= self.snapshot.index:
            return
        if entries:
            position = entry.index - entries[0].index
            if position > len(entries):
                raise ReplayError(f"entry {entry.index} follows entry {entries[-1].index}")
            del entries[max(position, 0) :]
        # Behind released segments the first entry may stand beyond the mark of the oldest head: a
        # later mark covers the rest, or `finish` complains.
        entries.append(entry)

    def _feed_snapshot(self, mark: Snapshot) -> None:
        """Drop what the mark covers; keep the rest only if it continues the mark's own entry.

        A log that holds another entry, or none, at the mark's index was replaced by a snapshot from
        the leader (Raft, section 7). `Wal.release` keeps the entry at the mark's index for this
        check.
        """
        if mark.index <= self.snapshot.index:
            return
        self.snapshot = mark
        position = mark.index - self.entries[0].index if self.entries else -1
        if position < 0:
            return  # the entries up to the mark are released: a later mark covers the gap
        agrees = position < len(self.entries) and self.entries[position].term == mark.term
        self.entries = self.entries[position + 1 :] if agrees else []
