"""Watchers and the structure that finds those interested in a key.

Watchers that ask for the same thing form one `Group`, so that an event is matched and encoded once
however many clients wait for it. Prefix ranges, by far the most common kind, are found through a
dict of prefixes per length; other ranges are tried one by one.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from pykvd.mvcc.index import FROM_KEY
from pykvd.mvcc.record import TOMBSTONE

Selector = tuple[bytes, bytes, bool, bool, bool]


class Session(Protocol):
    """The stream that a watcher belongs to."""

    @property
    def congested(self) -> bool:
        """Whether the client reads too slowly to be sent more now."""

    def send_shared(self, framed: bytes) -> None:
        """Send a WatchResponse that carries its gRPC prefix."""

    def compacted(self, watcher: "Watcher", compact_revision: int) -> None:
        """The watcher needs revisions that are gone; it gets nothing more."""


class Watcher:
    """One watch of one stream.

    Invariant: every matching event before revision `next` has been sent, none from it on.
    """

    __slots__ = (
        "active",
        "fragment",
        "id",
        "next",
        "noted",
        "progress_notify",
        "selector",
        "session",
        "synced",
    )

    def __init__(
        self,
        session: Session,
        watch_id: int,
        selector: Selector,
        *,
        start: int,
        fragment: bool = False,
        progress_notify: bool = False,
    ) -> None:
        self.session = session
        self.id = watch_id
        #: (key, range_end, no puts, no deletes, with prev_kv)
        self.selector = selector
        self.next = start
        self.fragment = fragment
        self.progress_notify = progress_notify
        self.synced = False
        self.active = True
        #: Whether events were sent since the last periodic progress notice was due.
        self.noted = False


class Group:
    """The watchers that share a selector, and their events of the tick in progress."""

    __slots__ = ("end", "key", "no_delete", "no_put", "pending", "prev_kv", "watchers")

    def __init__(self, selector: Selector) -> None:
        self.key, self.end, self.no_put, self.no_delete, self.prev_kv = selector
        self.watchers: dict[Watcher, None] = {}
        #: Encoded events with their revisions, in order.
        self.pending: list[tuple[int, bytes]] = []

    def wants(self, record_id: int) -> bool:
        """Whether the filters let an event of this kind pass."""
        return not (self.no_delete if record_id & TOMBSTONE else self.no_put)

    def covers(self, key: bytes) -> bool:
        """Whether the group's range holds the key."""
        return key >= self.key and (self.end == FROM_KEY or key < self.end)


class WatcherSet:
    """Watchers by what they watch."""

    def __init__(self) -> None:
        self._groups: dict[Selector, Group] = {}
        self._exact: dict[bytes, list[Group]] = {}
        self._prefix: dict[bytes, list[Group]] = {}
        self._lengths: Counter[int] = Counter()
        self._others: list[Group] = []

    def __len__(self) -> int:
        return sum(len(group.watchers) for group in self._groups.values())

    def __iter__(self) -> Iterator[Watcher]:
        for group in self._groups.values():
            yield from group.watchers

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, watcher: Watcher) -> None:
        """Add a watcher."""
        group = self._groups.get(watcher.selector)
        if group is None:
            group = self._groups[watcher.selector] = Group(watcher.selector)
            self._place(group)
        group.watchers[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Remove a watcher of this set."""
        group = self._groups[watcher.selector]
        del group.watchers[watcher]
        if group.watchers:
            return
        del self._groups[watcher.selector]
        prefix = _prefix_of(group)
        if not group.end:
            _remove(self._exact, group.key, group)
        elif prefix is None:
            self._others.remove(group)
        else:
            _remove(self._prefix, prefix, group)
            self._lengths[len(prefix)] -= 1
            if not self._lengths[len(prefix)]:
                del self._lengths[len(prefix)]

    def _place(self, group: Group) -> None:
        prefix = _prefix_of(group)
        if not group.end:
            self._exact.setdefault(group.key, []).append(group)
        elif prefix is None:
            self._others.append(group)
        else:
            self._prefix.setdefault(prefix, []).append(group)
            self._lengths[len(prefix)] += 1

    def match(self, key: bytes) -> list[Group]:
        """The groups whose range holds `key`."""
        found = self._exact.get(key)
        groups = list(found) if found else []
        for length in self._lengths:
            if length <= len(key) and (found := self._prefix.get(key[:length])):
                groups += found
        if self._others:
            groups += [group for group in self._others if group.covers(key)]
        return groups


def prefix_end(prefix: bytes) -> bytes:
    """The range_end that selects every key with the prefix (etcd's clientv3 convention)."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else FROM_KEY


def _prefix_of(group: Group) -> bytes | None:
    """The prefix a range stands for, or None where it is another kind of range."""
    if group.end == FROM_KEY:
        return b"" if group.key == FROM_KEY else None
    return group.key if prefix_end(group.key) == group.end else None


def _remove(places: dict[bytes, list[Group]], key: bytes, group: Group) -> None:
    places[key].remove(group)
    if not places[key]:
        del places[key]
