"""Members of the cluster, their ids, and which changes are possible. Pure."""

import json
from collections.abc import Iterable
from enum import IntEnum
from hashlib import sha1
from struct import Struct
from typing import NamedTuple

from pykvd.errors import Failure

_CHANGE = Struct(">QQB")


class Member(NamedTuple):
    """One member. An empty name means that it has not started yet."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    @property
    def started(self) -> bool:
        """Whether it has ever published itself."""
        return bool(self.name)

    def encode(self) -> bytes:
        """As kept in the store and sent to joining members."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Member":
        """Read back what `encode` wrote."""
        fields = json.loads(data)
        return cls(
            id=fields["id"],
            name=fields["name"],
            peer_urls=tuple(fields["peer_urls"]),
            client_urls=tuple(fields["client_urls"]),
            is_learner=fields["is_learner"],
        )

    def published(self, name: str, client_urls: Iterable[str]) -> "Member":
        """The member after it has told its name and client URLs."""
        return self._replace(name=name, client_urls=tuple(client_urls))


class Action(IntEnum):
    """What a membership change does; the numbers are the log's format."""

    ADD = 1
    REMOVE = 2
    UPDATE = 3
    PROMOTE = 4


class MemberChange(NamedTuple):
    """A change of one member, and which request of which member asked for it.

    ADD uses all of `member`, UPDATE its id and peer URLs, the others its id.
    """

    action: Action
    member: Member
    origin: int
    sequence: int

    def encode(self) -> bytes:
        """As the context of a raft ConfChange."""
        return _CHANGE.pack(self.origin, self.sequence, self.action) + self.member.encode()

    @classmethod
    def decode(cls, data: bytes) -> "MemberChange":
        """Read back what `encode` wrote."""
        origin, sequence, action = _CHANGE.unpack_from(data)
        return cls(Action(action), Member.decode(data[_CHANGE.size :]), origin, sequence)


class Membership:
    """The members as of the applied entry, and the ids that may never return."""

    def __init__(self, max_learners: int) -> None:
        self.members: dict[int, Member] = {}
        self.removed: set[int] = set()
        self._max_learners = max_learners

    @property
    def voters(self) -> list[Member]:
        """Members that count for a majority."""
        return [member for member in self.members.values() if not member.is_learner]

    def in_order(self) -> list[Member]:
        """All members by ascending id."""
        return sorted(self.members.values(), key=lambda member: member.id)

    def refusal(self, change: MemberChange) -> Failure | None:
        """Why a change cannot be made to the present members, or None."""
        member = change.member
        present = self.members.get(member.id)
        if change.action is not Action.ADD:
            if present is None:
                return Failure.MEMBER_NOT_FOUND
            if change.action is Action.PROMOTE and not present.is_learner:
                return Failure.MEMBER_NOT_LEARNER
        elif member.id in self.removed:
            return Failure.MEMBER_NOT_FOUND
        elif present is not None:
            return Failure.MEMBER_EXISTS
        if change.action in (Action.ADD, Action.UPDATE):
            if self._taken(member):
                return Failure.PEER_URL_EXISTS
            learners = len(self.members) - len(self.voters)
            if change.action is Action.ADD and member.is_learner and learners >= self._max_learners:
                return Failure.TOO_MANY_LEARNERS
        return None

    def _taken(self, member: Member) -> bool:
        others = (other for other in self.members.values() if other.id != member.id)
        return any(url in other.peer_urls for other in others for url in member.peer_urls)

    def apply(self, change: MemberChange) -> Member | None:
        """Make a change that is not refused; returns the member as it is now, None if removed."""
        member = change.member
        match change.action:
            case Action.ADD:
                self.members[member.id] = member
            case Action.REMOVE:
                del self.members[member.id]
                self.removed.add(member.id)
                return None
            case Action.UPDATE:
                present = self.members[member.id]
                self.members[member.id] = present._replace(peer_urls=member.peer_urls)
            case Action.PROMOTE:
                self.members[member.id] = self.members[member.id]._replace(is_learner=False)
        return self.members[member.id]

    def can_add_voter(self) -> bool:
        """Whether enough members have started for a new voter not to endanger the majority.

        A cluster of one started voter may always grow (etcd's strict reconfiguration check).
        """
        started = sum(member.started for member in self.voters)
        if started == len(self.voters) == 1:
            return True
        return started >= (len(self.voters) + 1) // 2 + 1

    def can_remove(self, member_id: int) -> bool:
        """Whether the started voters that would be left are a majority of those left."""
        member = self.members.get(member_id)
        if member is None or member.is_learner:
            return True
        left = [voter for voter in self.voters if voter.id != member_id]
        return sum(voter.started for voter in left) >= len(left) // 2 + 1

    def can_promote(self) -> bool:
        """Whether one more voter, which has started, leaves a started majority."""
        started = sum(member.started for member in self.voters) + 1
        return started >= (len(self.voters) + 1) // 2 + 1


def member_id(peer_urls: Iterable[str], token: str) -> int:
    """The id of a member: SHA-1 over its sorted peer URLs and a text.

    For a founding member the text is the cluster token, for one that is added the time in seconds.
    """
    text = "".join(sorted(peer_urls)) + token
    return int.from_bytes(sha1(text.encode(), usedforsecurity=False).digest()[:8], "big")


def cluster_id(member_ids: Iterable[int]) -> int:
    """The id of a new cluster: SHA-1 over its initial members' ids in ascending order."""
    data = b"".join(number.to_bytes(8, "big") for number in sorted(member_ids))
    return int.from_bytes(sha1(data, usedforsecurity=False).digest()[:8], "big")
