"""A member for tests: a `RawNode` with a disk that may lag behind and a state machine.

The state machine is a chained checksum of all applied entries, so that two members agree at an
index exactly if they applied the same entries in the same order.
"""

from __future__ import annotations

import random
import zlib
from collections import deque
from dataclasses import dataclass, field, replace

from pykvd.raft import (
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Logger,
    Message,
    MessageKind,
    RaftConfig,
    RawNode,
    ReadState,
    Ready,
    Role,
    Snapshot,
)


def chain(digest: int, entry: Entry) -> int:
    """The checksum after one more entry."""
    head = f"{entry.term}/{entry.index}/{entry.kind}/".encode()
    return zlib.crc32(head + entry.data, digest)


@dataclass
class Disk:
    """What survives a crash: hard state, log, and the state machine's last snapshot."""

    hard_state: HardState = field(default_factory=HardState)
    start: tuple[int, int] = (0, 0)
    entries: list[Entry] = field(default_factory=list)
    store: Snapshot = field(default_factory=lambda: Snapshot(0, 0, ConfState(), b"0"))

    def append(self, entries: list[Entry]) -> None:
        """Write entries; one that was there replaces all from there on."""
        for entry in entries:
            del self.entries[entry.index - self.start[0] - 1 :]
            self.entries.append(entry)

    def write(self, ready: Ready) -> None:
        """Write all of a Ready."""
        if ready.snapshot is not None:
            self.store = ready.snapshot
            self.start = (ready.snapshot.index, ready.snapshot.term)
            self.entries = []
        self.append(list(ready.entries))
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state

    def compact(self, index: int) -> None:
        """Drop entries up to `index`."""
        position = index - self.start[0]
        self.start = (index, self.entries[position - 1].term)
        del self.entries[:position]


class Member:
    """A driver in miniature: what `Ready` asks for, one step at a time."""

    def __init__(
        self, config: RaftConfig, disk: Disk, rng: random.Random, logger: Logger | None = None
    ) -> None:
        self.config = config
        self.disk = disk
        self.rng = rng
        self.logger = logger
        self.restart()

    def restart(self) -> None:
        """Begin again from the disk; all else is forgotten."""
        disk = self.disk
        self.node = RawNode(
            self.config,
            hard_state=disk.hard_state,
            conf_state=disk.store.conf_state,
            snapshot_id=disk.start,
            entries=disk.entries,
            applied=disk.store.index,
            rng=random.Random(self.rng.getrandbits(64)),
            logger=self.logger,
        )
        self.unpersisted: deque[Ready] = deque()
        self.conf_state = disk.store.conf_state
        self.applied = disk.store.index
        self.digest = int(disk.store.data)
        self.log = Disk(start=disk.start, entries=list(disk.entries))
        self.outbox: list[Message] = []
        self.read_states: list[ReadState] = []

    def take_ready(self) -> Ready:
        """Handle a Ready as far as memory goes: send, apply; the disk follows in `persist`."""
        ready = self.node.ready()
        self.outbox += [self._attach_state(message) for message in ready.messages]
        self.log.write(ready)
        for entry in ready.committed_entries:
            self._apply(entry)
        self.read_states += ready.read_states
        self.unpersisted.append(ready)
        return ready

    def _attach_state(self, message: Message) -> Message:
        if message.kind is not MessageKind.SNAPSHOT or message.snapshot is None:
            return message
        assert message.snapshot.index == self.applied
        assert message.snapshot.conf_state == self.conf_state
        return replace(message, snapshot=message.snapshot._replace(data=b"%d" % self.digest))

    def _apply(self, entry: Entry) -> None:
        assert entry.index == self.applied + 1
        self.digest = chain(self.digest, entry)
        self.applied = entry.index
        if entry.kind is EntryKind.CONF_CHANGE:
            self.conf_state = self.node.apply_conf_change(ConfChange.decode(entry.data))
        self.node.applied_to(entry.index)

    def persist(self) -> Ready:
        """The oldest unpersisted Ready reaches the disk; its promises may leave."""
        ready = self.unpersisted.popleft()
        self.disk.write(ready)
        if ready.snapshot is not None:
            self.conf_state = ready.snapshot.conf_state
            self.applied = ready.snapshot.index
            self.digest = int(ready.snapshot.data)
        self.node.persisted(ready.number)
        self.outbox += ready.persisted_messages
        return ready

    def save_store(self) -> None:
        """Make the state machine durable as it is, unless a snapshot is about to replace it."""
        if self.applied > self.disk.start[0]:
            position = self.applied - self.disk.start[0] - 1
            if position >= len(self.disk.entries):
                return
            term = self.disk.entries[position].term
            self.disk.store = Snapshot(self.applied, term, self.conf_state, b"%d" % self.digest)

    def compact(self, index: int) -> None:
        """Save the state machine and forget the log up to `index`."""
        self.save_store()
        if self.log.start == self.disk.start and self.disk.start[0] < index <= self.applied:
            self.disk.compact(index)
            self.log.compact(index)
            self.node.compact(index)

    @property
    def is_leader(self) -> bool:
        """Whether the member believes to lead."""
        return self.node.status().role is Role.LEADER
