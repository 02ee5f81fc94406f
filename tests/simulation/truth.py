"""What really happened: the changes of every revision, as the members applied them.

The first member to apply a revision tells; every other must apply the same. From it follow the
state of the store at each revision, and what a watch must have shown.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from pykvd.mvcc.record import MAIN_SHIFT, TOMBSTONE, parse
from tests.simulation.raft_checks import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.mvcc.store import Event, Store
    from pykvd.pb.kv_pb2 import KeyValue
    from tests.simulation.state import State


class Change(NamedTuple):
    """One change of one key; `kv` is None for a deletion."""

    key: bytes
    kv: KeyValue | None


class LeaseEnd(NamedTuple):
    """When a lease was gone first."""

    time: float
    revision: int


class Truth:
    """Changes by revision, versions by key. Revision 1 is the empty store."""

    def __init__(self) -> None:
        self.changes: dict[int, tuple[Change, ...]] = {}
        self.revision = 1
        #: The highest revision that any member has compacted at.
        self.compacted = -1
        self._records: dict[int, tuple[tuple[int, bytes], ...]] = {}
        self._versions: dict[bytes, tuple[list[int], list[KeyValue | None]]] = {}
        self._states: dict[int, State] = {}
        self.lease_ends: dict[int, LeaseEnd] = {}
        self._newest = (0, frozenset[int]())

    def applied(self, member: int, revision: int, events: list[Event]) -> None:
        """A member made a revision."""
        records = tuple((event.record_id, event.framed) for event in events)
        known = self._records.get(revision)
        if known is None:
            if revision != self.revision + 1:
                raise Violation(f"m{member} makes revision {revision} after {self.revision}")
            self.revision = revision
            self._records[revision] = records
            self._learn(revision, events)
        elif known != records:
            raise Violation(f"m{member} applies another revision {revision} than others did")

    def _learn(self, revision: int, events: list[Event]) -> None:
        changes = []
        for event in events:
            if event.record_id >> MAIN_SHIFT != revision:
                raise Violation(
                    f"a record of revision {event.record_id >> MAIN_SHIFT} in {revision}"
                )
            kv = None if event.record_id & TOMBSTONE else parse(event.framed)
            self._check_versions(event.key, kv, revision)
            changes.append(Change(event.key, kv))
            revisions, versions = self._versions.setdefault(event.key, ([], []))
            revisions.append(revision)
            versions.append(kv)
        self.changes[revision] = tuple(changes)

    def _check_versions(self, key: bytes, kv: KeyValue | None, revision: int) -> None:
        before = self.get(key, revision)
        if kv is None:
            if before is None:
                raise Violation(f"revision {revision} deletes {key!r}, which is not there")
            return
        expected = (
            (before.create_revision, before.version + 1) if before is not None else (revision, 1)
        )
        if (kv.create_revision, kv.version) != expected or kv.mod_revision != revision:
            raise Violation(f"revision {revision} miscounts {key!r}: {expected} expected")

    def entry_applied(self, member: int, index: int, state: State, now: float) -> None:
        """A member applied an entry; equal entries must leave equal states."""
        # Before its first snapshot a member knows only who told it to join, and when.
        known = self._states.setdefault(index, state) if index else state
        if known != state:
            raise Violation(
                f"m{member} is in another state after entry {index} than others: "
                f"{state.differences(known)}"
            )
        if index > self._newest[0]:
            for lease in sorted(self._newest[1] - state.lease_ids):
                self.lease_ends[lease] = LeaseEnd(now, state.revision)
            self._newest = (index, state.lease_ids)

    def loaded(self, member: int, index: int, store: Store, state: State, now: float) -> None:
        """A member begins from its file, which must be the exact state at its applied index."""
        self.entry_applied(member, index, state, now)
        expected = {kv.key: kv for kv in self.state(store.revision)}
        found = {key: framed for key in store.index.live if (framed := store.get(key))}
        if found.keys() != expected.keys() or any(
            parse(framed) != expected[key] for key, framed in found.items()
        ):
            raise Violation(f"m{member} loads another state at revision {store.revision}")
        if store.lease_of != {key: kv.lease for key, kv in expected.items() if kv.lease}:
            raise Violation(f"m{member} loads other attachments of leases")

    # What was the state

    @property
    def newest(self) -> State:
        """After the last entry that any member has applied."""
        return self._states[self._newest[0]]

    def get(self, key: bytes, revision: int) -> KeyValue | None:
        """The key as of a revision."""
        entry = self._versions.get(key)
        if entry is None:
            return None
        position = bisect_right(entry[0], revision)
        return entry[1][position - 1] if position else None

    def state(self, revision: int) -> Iterator[KeyValue]:
        """All keys as of a revision, in order."""
        for key in sorted(self._versions):
            kv = self.get(key, revision)
            if kv is not None:
                yield kv

    def range(self, key: bytes, end: bytes, revision: int) -> list[KeyValue]:
        """The keys of a range as of a revision, in order."""
        if not end:
            kv = self.get(key, revision)
            return [] if kv is None else [kv]
        return [kv for kv in self.state(revision) if key <= kv.key < end]
