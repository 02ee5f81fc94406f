"""What the writers meant to do, what the server says happened, and whether the two fit.

Every put carries a value that is used once, and every key that is deleted is deleted by one
operation, so that each revision of the server's history names the operation it comes from. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pykvd.pb import kv_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Compaction", "Grant", "History", "HistoryError", "Write", "by_revision"]


class HistoryError(AssertionError):
    """The server's history does not fit what clients were told."""


@dataclass(slots=True, repr=False)
class Write:
    """An operation on keys: all of it at one revision, or nothing.

    `revision` is set once it is acknowledged; a revoke's answer names none, and sets only
    `acknowledged`. A transaction whose comparison failed is `refused`.
    """

    puts: dict[bytes, bytes] = field(default_factory=dict)
    deletes: frozenset[bytes] = frozenset()
    lease: int = 0
    revision: int | None = None
    acknowledged: bool = False
    refused: bool = False

    def __repr__(self) -> str:
        puts = {key: value[:24] for key, value in self.puts.items()}
        state = f"acknowledged at {self.revision}" if self.acknowledged else "not answered"
        return f"Write({puts=}, deletes={set(self.deletes)}, lease={self.lease}, {state})"

    def acknowledge(self, revision: int | None) -> None:
        """A client was told that it happened, at this revision if that was said."""
        self.revision = revision
        self.acknowledged = True


@dataclass(slots=True)
class Grant:
    """A lease; `revoke` is the write that ends it, once that was tried."""

    lease: int
    keys: list[bytes] = field(default_factory=list)
    acknowledged: bool = False
    revoke: Write | None = None


@dataclass(slots=True)
class Compaction:
    """A request to forget all before `revision`."""

    revision: int
    acknowledged: bool = False


def by_revision(events: Iterable[kv_pb2.Event]) -> dict[int, list[kv_pb2.Event]]:
    """The events of a watch, grouped; raises `HistoryError` when revisions go back."""
    groups: dict[int, list[kv_pb2.Event]] = defaultdict(list)
    last = 0
    for event in events:
        revision = event.kv.mod_revision
        if revision < last:
            raise HistoryError(f"revision {revision} came after {last}")
        last = revision
        groups[revision].append(event)
    return dict(groups)


class History:
    """The keys as they must be after all revisions so far; `revision` is the last one taken."""

    def __init__(self, revision: int = 1) -> None:
        self.revision = revision
        self.keys: dict[bytes, kv_pb2.KeyValue] = {}

    def extend(
        self, groups: dict[int, list[kv_pb2.Event]], writes: Iterable[Write], last: int
    ) -> None:
        """Take the revisions up to `last`, which the writes must explain; raises `HistoryError`."""
        explain = _Explanation([write for write in writes if not write.refused])
        for revision in range(self.revision + 1, last + 1):
            events = groups.pop(revision, None)
            if not events:
                raise HistoryError(f"revision {revision} of {last} holds no events")
            explain.revision(revision, events, self.keys)
            for event in events:
                self._apply(event)
            self.revision = revision
        if groups:
            raise HistoryError(f"events at {sorted(groups)}, but the current revision is {last}")
        explain.finish()

    def _apply(self, event: kv_pb2.Event) -> None:
        key = event.kv.key
        before = self.keys.get(key)
        if event.type == kv_pb2.Event.DELETE:
            if before is None:
                raise HistoryError(f"{key!r} was deleted at {event.kv.mod_revision} but not there")
            del self.keys[key]
            return
        expected = (
            before.create_revision if before is not None else event.kv.mod_revision,
            before.version + 1 if before is not None else 1,
        )
        if (event.kv.create_revision, event.kv.version) != expected:
            found = (event.kv.create_revision, event.kv.version)
            raise HistoryError(
                f"creation and version of {key!r} at {event.kv.mod_revision} are {found}, "
                f"not {expected}"
            )
        self.keys[key] = event.kv


class _Explanation:
    """Which write each revision comes from; none twice, none of the acknowledged left out."""

    def __init__(self, writes: list[Write]) -> None:
        self._writes = writes
        self._of_value = {value: write for write in writes for value in write.puts.values()}
        self._of_deleted = {key: write for write in writes for key in write.deletes}
        self._seen: dict[int, int] = {}

    def revision(
        self, revision: int, events: list[kv_pb2.Event], keys: dict[bytes, kv_pb2.KeyValue]
    ) -> None:
        """Find the write behind one revision and compare all that it does."""
        write = self._find(events)
        if write is None:
            raise HistoryError(f"nobody wrote revision {revision}: {_brief(events)}")
        if id(write) in self._seen:
            raise HistoryError(f"{write} was applied at {self._seen[id(write)]} and at {revision}")
        self._seen[id(write)] = revision
        if write.revision not in (None, revision):
            raise HistoryError(f"{write} is in the history at {revision}")
        puts = {event.kv.key: event.kv for event in events if event.type == kv_pb2.Event.PUT}
        deletes = {event.kv.key for event in events if event.type == kv_pb2.Event.DELETE}
        values = {key: kv.value for key, kv in puts.items()}
        if values != write.puts or deletes != {key for key in write.deletes if key in keys}:
            raise HistoryError(f"only a part of {write} is at {revision}: {_brief(events)}")
        if any(kv.lease != write.lease for kv in puts.values()):
            raise HistoryError(f"{write} lost its lease: {_brief(events)}")

    def finish(self) -> None:
        """Every write that was acknowledged with a revision was seen."""
        for write in self._writes:
            if write.revision is not None and id(write) not in self._seen:
                raise HistoryError(f"{write} is lost")

    def _find(self, events: list[kv_pb2.Event]) -> Write | None:
        for event in events:
            if event.type == kv_pb2.Event.PUT:
                return self._of_value.get(event.kv.value)
        return self._of_deleted.get(events[0].kv.key)


def _brief(events: list[kv_pb2.Event]) -> str:
    """The events with the beginnings of their values."""
    return ", ".join(
        f"{'PUT' if event.type == kv_pb2.Event.PUT else 'DELETE'} {event.kv.key!r} "
        f"{event.kv.value[:24]!r} lease {event.kv.lease}"
        for event in events
    )
