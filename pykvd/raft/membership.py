"""Who votes and who only listens (`ConfState`), and requests to change it (`ConfChange`).

Both are values with a binary encoding, because they travel in log entries, snapshots and the
member's own disk. The arithmetic of applying a change is in `confchange`.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple, Self

from pykvd.raft.errors import MessageDecodeError

_COUNTS = struct.Struct(">?IIII")
_CHANGE_HEAD = struct.Struct(">BI")
_CHANGE = struct.Struct(">BQ")


class ConfState(NamedTuple):
    """A cluster configuration; all tuples are sorted.

    Invariants, kept by `confchange`:

    - `voters` is empty only in a member that has not been told its configuration yet.
    - In a joint configuration (section 6, C_old,new) `voters` is C_new and `voters_outgoing` is
      C_old; otherwise `voters_outgoing` and `learners_next` are empty and `auto_leave` is False.
    - `learners` are in neither half. `learners_next` are voters of C_old that become learners when
      the joint configuration is left.
    - With `auto_leave` the leader proposes to leave as soon as the joint configuration is applied.
    """

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False

    def __str__(self) -> str:
        """As in logs: `voters=(1 2 4) outgoing=(1 2 3) auto-leave`."""
        groups = {
            "voters": self.voters,
            "outgoing": self.voters_outgoing,
            "learners": self.learners,
            "learners-next": self.learners_next,
        }
        parts = [
            f"{name}=({' '.join(f'{node:x}' for node in group)})"
            for name, group in groups.items()
            if group or name == "voters"
        ]
        return " ".join(parts + ["auto-leave"] * self.auto_leave)

    @property
    def is_joint(self) -> bool:
        """Whether two majorities are needed (section 6)."""
        return bool(self.voters_outgoing)

    def members(self) -> tuple[int, ...]:
        """All node ids that receive the log, sorted."""
        everyone = {*self.voters, *self.learners, *self.voters_outgoing, *self.learners_next}
        return tuple(sorted(everyone))

    def is_voter(self, node: int) -> bool:
        """Whether `node` counts in either majority, and so may campaign."""
        return node in self.voters or node in self.voters_outgoing

    def encode(self) -> bytes:
        """The binary form, for snapshots and disks."""
        groups = (self.voters, self.learners, self.voters_outgoing, self.learners_next)
        ids = [node for group in groups for node in group]
        head = _COUNTS.pack(self.auto_leave, *(len(group) for group in groups))
        return head + struct.pack(f">{len(ids)}Q", *ids)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of `encode`; raises `MessageDecodeError`."""
        try:
            auto_leave, *counts = _COUNTS.unpack_from(data)
            if len(data) != _COUNTS.size + 8 * sum(counts):
                raise MessageDecodeError("configuration: wrong length")
            ids = struct.unpack_from(f">{sum(counts)}Q", data, _COUNTS.size)
        except struct.error as error:
            raise MessageDecodeError(f"configuration: {error}") from error
        groups: list[tuple[int, ...]] = []
        start = 0
        for count in counts:
            groups.append(ids[start : start + count])
            start += count
        return cls(groups[0], groups[1], groups[2], groups[3], auto_leave)


class ConfChangeKind(IntEnum):
    """What happens to one node."""

    ADD_VOTER = 0
    """Add as a voter, or promote a learner."""
    REMOVE = 1
    """Remove a voter or a learner; unknown nodes are already removed."""
    ADD_LEARNER = 2
    """Add as a learner, or demote a voter."""
    UPDATE = 3
    """Nothing to Raft: carries new facts about a member in the change's context."""


class ConfChangeTransition(IntEnum):
    """How a change passes from the old to the new configuration."""

    AUTO = 0
    """One simple step if at most one voter changes, else joint and left automatically."""
    JOINT_IMPLICIT = 1
    """Joint consensus in any case, left automatically."""
    JOINT_EXPLICIT = 2
    """Joint consensus in any case, left when an empty change is proposed."""


class ConfChangeSingle(NamedTuple):
    """One node's part of a `ConfChange`."""

    kind: ConfChangeKind
    node: int


class ConfChange(NamedTuple):
    """The data of a CONF_CHANGE entry.

    Without `changes` it leaves a joint configuration, and does nothing in a simple one. `context`
    is the driver's own (names and addresses of members, the id of the waiting request).
    """

    changes: tuple[ConfChangeSingle, ...] = ()
    transition: ConfChangeTransition = ConfChangeTransition.AUTO
    context: bytes = b""

    @property
    def leaves_joint(self) -> bool:
        """Whether this is the request to leave a joint configuration."""
        return not self.changes

    def encode(self) -> bytes:
        """The binary form, for log entries."""
        parts = [_CHANGE_HEAD.pack(self.transition, len(self.changes))]
        parts += [_CHANGE.pack(change.kind, change.node) for change in self.changes]
        parts.append(self.context)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of `encode`; raises `MessageDecodeError`."""
        try:
            transition, count = _CHANGE_HEAD.unpack_from(data)
            end = _CHANGE_HEAD.size + count * _CHANGE.size
            changes = tuple(
                ConfChangeSingle(ConfChangeKind(kind), node)
                for kind, node in _CHANGE.iter_unpack(data[_CHANGE_HEAD.size : end])
            )
            change = cls(changes, ConfChangeTransition(transition), data[end:])
        except (struct.error, ValueError) as error:
            raise MessageDecodeError(f"configuration change: {error}") from error
        if len(changes) != count:
            raise MessageDecodeError("configuration change: truncated")
        return change
