"""Short ways to say what these tests ask of a member."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pykvd.pb import rpc_pb2
from tests.harness import Failure, wait_until
from tests.harness.methods import (
    GRANT,
    MEMBER_ADD,
    MEMBER_PROMOTE,
    MEMBER_REMOVE,
    MOVE_LEADER,
    PUT,
    RANGE,
    TIME_TO_LIVE,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.cluster.cluster import Member

Answer = TypeVar("Answer")

UNHEALTHY = Failure("UNAVAILABLE", "etcdserver: unhealthy cluster")
REQUIRE_LEADER = (("hasleader", "true"),)


def put(member: Member, key: bytes, value: bytes, lease: int = 0) -> int:
    """Put through a member; the revision."""
    request = rpc_pb2.PutRequest(key=key, value=value, lease=lease)
    return int(member.call(PUT, request).header.revision)


def get(member: Member, key: bytes, *, serializable: bool = False) -> bytes | None:
    """The value of a key as a member tells it, or None."""
    request = rpc_pb2.RangeRequest(key=key, serializable=serializable)
    kvs = member.call(RANGE, request).kvs
    return bytes(kvs[0].value) if kvs else None


def grant(member: Member, ttl: int) -> int:
    """Grant a lease through a member; its id."""
    return int(member.call(GRANT, rpc_pb2.LeaseGrantRequest(TTL=ttl)).ID)


def remaining(member: Member, lease: int) -> int:
    """The seconds that a lease has left, -1 if it is gone, as a member tells."""
    return int(member.call(TIME_TO_LIVE, rpc_pb2.LeaseTimeToLiveRequest(ID=lease)).TTL)


def add(through: Member, urls: list[str], *, learner: bool = False) -> rpc_pb2.Member | Failure:
    """Add a member with these peer URLs."""
    request = rpc_pb2.MemberAddRequest(peerURLs=urls, isLearner=learner)
    reply = through.ask(MEMBER_ADD, request, timeout=60.0)
    return reply if isinstance(reply, Failure) else reply.member


def remove(through: Member, member_id: int) -> Failure | None:
    """Remove a member; the refusal, if it was refused."""
    reply = through.ask(MEMBER_REMOVE, rpc_pb2.MemberRemoveRequest(ID=member_id), timeout=60.0)
    return reply if isinstance(reply, Failure) else None


def promote(through: Member, member_id: int) -> Failure | None:
    """Make a learner a voter; the refusal, if it was refused."""
    reply = through.ask(MEMBER_PROMOTE, rpc_pb2.MemberPromoteRequest(ID=member_id), timeout=60.0)
    return reply if isinstance(reply, Failure) else None


def move_leader(through: Member, target: int) -> Failure | None:
    """Hand leadership over; the refusal, if it was refused."""
    reply = through.ask(MOVE_LEADER, rpc_pb2.MoveLeaderRequest(targetID=target), timeout=60.0)
    return reply if isinstance(reply, Failure) else None


def when_connected(change: Callable[[], Answer | Failure]) -> Answer | Failure:
    """Repeat a change while it is refused because members were connected less than 5 s ago."""
    answer = change()

    def settled() -> bool:
        nonlocal answer
        if isinstance(answer, Failure) and answer == UNHEALTHY:
            answer = change()
        return answer != UNHEALTHY

    wait_until(settled, "members to be connected for long enough", pause=0.1)
    return answer
