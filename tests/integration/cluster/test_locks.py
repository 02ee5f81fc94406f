"""Locks and elections among three members, of which some fail."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pykvd.pb import rpc_pb2, v3election_pb2, v3lock_pb2
from tests.harness import Client, Failure, methods, wait_until

if TYPE_CHECKING:
    from tests.integration.cluster.cluster import Cluster, Member

WAIT_S = 60.0
LOCK = v3lock_pb2.LockRequest


class Contender:
    """A lock call at one member, under way in a thread; `answer` is there when it has ended."""

    def __init__(self, member: Member, name: bytes, lease: int) -> None:
        self.answer: v3lock_pb2.LockResponse | Failure | None = None
        self._arguments = (member, LOCK(name=name, lease=lease))
        self._thread = threading.Thread(target=self._lock, daemon=True)
        self._thread.start()

    def _lock(self) -> None:
        member, request = self._arguments
        self.answer = member.ask(methods.LOCK, request, timeout=WAIT_S)

    def wait(self) -> v3lock_pb2.LockResponse | Failure:
        """The answer, once there is one."""
        self._thread.join(WAIT_S)
        assert self.answer is not None
        return self.answer


def grant(member: Member, ttl: int = 600) -> int:
    """A new lease."""
    return member.call(methods.GRANT, rpc_pb2.LeaseGrantRequest(TTL=ttl)).ID


def keys_below(member: Member, name: bytes) -> list[bytes]:
    """Contenders' keys."""
    request = rpc_pb2.RangeRequest(key=name + b"/", range_end=name + b"0")
    return [pair.key for pair in member.call(methods.RANGE, request).kvs]


def unlock(member: Member, key: bytes) -> None:
    """Release a lock."""
    member.call(methods.UNLOCK, v3lock_pb2.UnlockRequest(key=key))


def test_contenders_at_all_members_take_turns(three: Cluster) -> None:
    members = list(three)
    held = members[0].call(methods.LOCK, LOCK(name=b"turns", lease=grant(members[0])))
    waiting = [Contender(member, b"turns", grant(member)) for member in members]
    wait_until(lambda: len(keys_below(members[0], b"turns")) == 4, "all to wait", WAIT_S)
    assert [contender.answer for contender in waiting] == [None, None, None]
    revisions = [held.header.revision]
    unlock(members[0], held.key)
    left = list(waiting)
    while left:
        wait_until(lambda: any(c.answer is not None for c in left), "the next holder", WAIT_S)
        [winner] = [contender for contender in left if contender.answer is not None]
        left.remove(winner)
        assert isinstance(winner.answer, v3lock_pb2.LockResponse)
        revisions.append(winner.answer.header.revision)
        unlock(members[1], winner.answer.key)
    assert revisions == sorted(set(revisions))
    assert keys_below(members[2], b"turns") == []


def test_a_waiting_call_outlives_the_leader(three: Cluster) -> None:
    leader, follower = three.leader(), three.followers()[0]
    held = follower.call(methods.LOCK, LOCK(name=b"outlive", lease=grant(follower)))
    waiting = Contender(follower, b"outlive", grant(follower))
    wait_until(lambda: len(keys_below(follower, b"outlive")) == 2, "it to wait", WAIT_S)
    leader.kill()
    three.leader()
    assert waiting.answer is None
    unlock(follower, held.key)
    answer = waiting.wait()
    assert isinstance(answer, v3lock_pb2.LockResponse)
    assert keys_below(follower, b"outlive") == [answer.key]


def test_the_next_follows_when_the_holder_is_gone_with_its_member(three: Cluster) -> None:
    """A client dies with the member it talked to; its lease ends, and so does its lock."""
    leader, follower = three.leader(), three.followers()[0]
    leader.call(methods.LOCK, LOCK(name=b"gone", lease=grant(leader, ttl=2)))
    waiting = Contender(follower, b"gone", grant(follower))
    wait_until(lambda: len(keys_below(follower, b"gone")) == 2, "it to wait", WAIT_S)
    leader.kill()
    answer = waiting.wait()
    assert isinstance(answer, v3lock_pb2.LockResponse)
    assert keys_below(follower, b"gone") == [answer.key]


def test_a_lease_that_dies_while_waiting_gets_nothing(three: Cluster) -> None:
    leader, follower = three.leader(), three.followers()[0]
    held = leader.call(methods.LOCK, LOCK(name=b"dies", lease=grant(leader)))
    waiting = Contender(follower, b"dies", grant(leader, ttl=1))
    wait_until(lambda: len(keys_below(leader, b"dies")) == 2, "it to wait", WAIT_S)
    wait_until(lambda: len(keys_below(leader, b"dies")) == 1, "its lease to expire", WAIT_S)
    unlock(leader, held.key)
    assert waiting.wait() == Failure("UNKNOWN", "mutex: session is expired")


def test_observers_at_another_member_follow_a_change(three: Cluster) -> None:
    leader, follower = three.leader(), three.followers()[0]
    request = v3election_pb2.CampaignRequest(name=b"vote", lease=grant(leader), value=b"one")
    first = leader.call(methods.CAMPAIGN, request).leader
    with Client(follower.endpoint) as client:
        answers = client.channel.unary_stream(
            "/v3electionpb.Election/Observe",
            request_serializer=v3election_pb2.LeaderRequest.SerializeToString,
            response_deserializer=v3election_pb2.LeaderResponse.FromString,
        )(v3election_pb2.LeaderRequest(name=b"vote"), timeout=WAIT_S)
        assert next(answers).kv.value == b"one"
        leader.call(methods.RESIGN, v3election_pb2.ResignRequest(leader=first))
        request = v3election_pb2.CampaignRequest(name=b"vote", lease=grant(leader), value=b"two")
        leader.call(methods.CAMPAIGN, request)
        assert next(answers).kv.value == b"two"
        answers.cancel()
