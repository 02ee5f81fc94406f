"""Leases live on the leader: renewals reach it from anywhere, and its end shortens none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pykvd.pb import rpc_pb2
from tests.harness import Client, wait_until
from tests.integration.cluster.cluster import clustered
from tests.integration.cluster.requests import get, grant, move_leader, put, remaining
from tests.integration.crash.campaign import on_slow_disk

if TYPE_CHECKING:
    from tests.integration.cluster.cluster import Cluster, Member


def renew(member: Member, lease: int) -> int:
    """One keep-alive; the TTL it is answered with."""
    with Client(member.endpoint) as client:
        (reply,) = client.keep_alive([rpc_pb2.LeaseKeepAliveRequest(ID=lease)])
        return int(reply.TTL)


def test_a_follower_renews_a_lease(three: Cluster) -> None:
    follower, other = three.followers()
    ttl = 2
    lease = grant(follower, ttl)
    put(follower, b"kept", b"v", lease)
    end = time.monotonic() + 1.5 * ttl
    while time.monotonic() < end:
        assert renew(follower, lease) == ttl
        assert get(other, b"kept") == b"v"
    wait_until(lambda: get(other, b"kept") is None, "the lease to expire")
    assert renew(follower, lease) == 0


def test_a_lease_that_a_follower_granted_is_known_at_once() -> None:
    # The leader's disk is the slowest: the followers are a majority without it, and apply first.
    with clustered() as cluster:
        slow = cluster["n1"]
        slow.kind = on_slow_disk(slow.kind)
        cluster.start()
        leader = cluster.leader()
        assert leader is slow or move_leader(leader, slow.id) is None
        assert cluster.leader() is slow
        for member in cluster.followers() * 5:
            assert remaining(member, grant(member, 60)) > 57
            assert renew(member, grant(member, 60)) == 60
            assert remaining(slow, grant(member, 60)) > 57
            assert renew(slow, grant(member, 60)) == 60


def test_a_follower_tells_what_is_not_there(three: Cluster) -> None:
    follower = three.followers()[0]
    assert renew(follower, 12345) == 0
    assert remaining(follower, 12345) == -1


@pytest.mark.parametrize("end", ["kill", pytest.param("move", marks=pytest.mark.long)])
def test_a_new_leader_expires_no_lease_early(three: Cluster, end: str) -> None:
    leader = three.leader()
    follower = three.followers()[0]
    lease = grant(follower, 2)
    put(follower, b"early", b"v", lease)
    # The last moment at which the lease is known to live; a TTL from here it must still be there.
    renewed = time.monotonic()
    assert renew(follower, lease) == 2
    if end == "kill":
        leader.kill()
    else:
        assert move_leader(leader, follower.id) is None
    survivors = [member for member in three.running if member is not leader]
    three.leader(survivors)
    gone: list[float] = []

    def expired() -> bool:
        if get(follower, b"early") is None:
            gone.append(time.monotonic())
        return bool(gone)

    wait_until(expired, "the lease to expire in the end")
    assert gone[0] - renewed >= 2.0


def test_a_graceful_end_keeps_the_remaining_time(three: Cluster) -> None:
    leader = three.leader()
    follower = three.followers()[0]
    lease = grant(follower, 60)
    wait_until(lambda: remaining(follower, lease) <= 57, "three seconds to pass")
    assert leader.stop() == 0
    three.leader()
    assert 50 <= remaining(follower, lease) <= 58
