"""What the log decides beside the keys, in a form that members can be compared by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pykvd.node.apply import Applier


class State(NamedTuple):
    """The replicated state of a member after an entry."""

    revision: int
    compacted: int
    leases: tuple[tuple[int, int, int, tuple[bytes, ...]], ...]
    """Id, TTL, recorded remaining time, and attached keys."""
    alarms: tuple[tuple[int, int], ...]
    downgrade: str
    timeline: tuple[bytes, bytes]
    members: tuple[bytes, ...]
    removed: tuple[int, ...]
    auth: tuple[bool, int]
    """Whether it is on, and its revision."""
    users: tuple[bytes, ...]
    roles: tuple[bytes, ...]

    @classmethod
    def of(cls, applier: Applier) -> State:
        """What a member has in memory now."""
        auth, timeline, membership = applier.auth, applier.timeline, applier.membership
        return cls(
            applier.store.revision,
            applier.store.compact_revision,
            tuple(
                (lease.id, lease.ttl, lease.remaining, tuple(sorted(lease.keys)))
                for _, lease in sorted(applier.lessor.leases.items())
            ),
            tuple(sorted(applier.alarms)),
            applier.downgrade_target,
            (timeline._times.tobytes(), timeline._revisions.tobytes()),
            tuple(member.encode() for member in membership.in_order()),
            tuple(sorted(membership.removed)),
            (auth.enabled, auth.revision),
            tuple(auth.users[name].SerializeToString() for name in sorted(auth.users)),
            tuple(auth.roles[name].SerializeToString() for name in sorted(auth.roles)),
        )

    @property
    def lease_ids(self) -> frozenset[int]:
        """The leases that there are."""
        return frozenset(lease[0] for lease in self.leases)

    def differences(self, other: State) -> str:
        """The fields that are not equal, as text."""
        pairs = zip(self._fields, self, other, strict=True)
        unequal = [(name, mine, its) for name, mine, its in pairs if mine != its]
        return "; ".join(f"{name} {mine!r}, not {its!r}" for name, mine, its in unequal)
