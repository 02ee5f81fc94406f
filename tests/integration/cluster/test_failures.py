"""Members that are killed, paused and restarted under load; every answer is accounted for."""

from __future__ import annotations

import os
import time

import pytest

from tests.harness import wait_until
from tests.harness.methods import STATUS
from tests.integration.cluster.cluster import Cluster, Member, clustered
from tests.integration.cluster.load import Load

#: etcd's defaults, which the promise about elections is about.
ELECTION_TIMEOUT = 1.0
PAUSE = 3.0
#: Some 8 s each.
ROUNDS = int(os.environ.get("ROUNDS", "75"))


def time_without_leader(cluster: Cluster, dead: Member) -> float:
    """Seconds until the others follow a new leader, counted from now."""
    since = time.monotonic()
    cluster.leader(member for member in cluster.running if member is not dead)
    return time.monotonic() - since


def kill_in_turn(rounds: int, longest: float) -> None:
    """Kill the leader, then each of the others, that many times; elections in `longest` seconds."""
    with clustered(flags=()) as cluster:
        cluster.start()
        for _ in range(rounds):
            with Load(cluster) as load:
                load.wait_progress(100)
                leader = cluster.leader()
                leader.kill()
                assert time_without_leader(cluster, leader) < longest
                load.wait_progress(100)
                leader.start()
                for other in [member for member in cluster if member is not leader]:
                    cluster.leader()
                    other.kill()
                    load.wait_progress(50)
                    other.start()
            load.check()
            assert load.reads > 100


def test_killing_each_member_in_turn_loses_nothing() -> None:
    kill_in_turn(1, 30 * ELECTION_TIMEOUT)  # the machine may be busy with other tests


@pytest.mark.long
@pytest.mark.timeout(0)
def test_killing_each_member_in_turn_many_times_loses_nothing() -> None:
    kill_in_turn(ROUNDS, 3 * ELECTION_TIMEOUT)


def test_a_paused_leader_answers_nothing_stale(three: Cluster) -> None:
    # etcd issue 20418: a leader that wakes up after its successor has written.
    old = three.leader()
    with Load(three, writers=3, readers=2) as load:
        load.wait_progress(50)
        old.pause()
        end = time.monotonic() + PAUSE
        new = three.leader()
        assert new is not old
        load.wait_progress(50)
        wait_until(lambda: time.monotonic() >= end, "the end of the pause", PAUSE + 1)
        old.resume()
        three.leader()
        load.wait_progress(100)
    load.check()


def test_a_leader_without_followers_acknowledges_nothing(three: Cluster) -> None:
    leader, followers = three.leader(), three.followers()
    writers = 4
    with Load(three, writers=writers) as load:
        load.wait_progress(50)
        for follower in followers:
            follower.pause()
        paused = time.monotonic()
        wait_until(lambda: leader.call(STATUS).leader == 0, "the leader to step down")
        # What the followers had confirmed before may still be on its way, one write to each client.
        assert len([moment for moment in load.times if moment > paused]) <= writers
        leader.kill()
        for follower in followers:
            follower.resume()
        leader.start()
        load.wait_progress(50)
    load.check()


def test_a_paused_follower_catches_up(three: Cluster) -> None:
    follower = three.followers()[0]
    with Load(three, writers=3) as load:
        load.wait_progress(50)
        follower.pause()
        load.wait_progress(100)
        follower.resume()
        load.wait_progress(50)
    load.check()


def test_all_members_killed_at_once_come_back_with_everything(three: Cluster) -> None:
    with Load(three) as load:
        load.wait_progress(200)
        for member in three:
            member.kill()
        three.start()
        three.leader()
        load.wait_progress(50)
    load.check()


def test_all_members_stopped_in_turn_come_back_with_everything(three: Cluster) -> None:
    with Load(three, watch=False) as load:
        load.wait_progress(50)
        for member in three:
            assert member.stop() == 0
            load.wait_progress(30)
            member.start()
            three.leader()
    load.check()


def test_a_leader_that_is_stopped_leaves_no_gap(three: Cluster) -> None:
    leader, others = three.leader(), three.followers()
    term, elections = _term(leader), _elections(others)
    with Load(three, watch=False) as load:
        load.wait_progress(50)
        since = time.monotonic()
        leader.terminate()
        three.leader(others)
        load.wait_progress(100)
        assert leader.wait_exit() == 0
    load.check()
    # Handed over, not elected after a timeout: one term further, and writes went on.
    assert "to campaign" in leader.messages()
    assert _elections(others) == elections
    assert max(_term(member) for member in others) == term + 1
    assert load.longest_gap(since) < 10 * ELECTION_TIMEOUT


def _term(member: Member) -> int:
    return int(member.call(STATUS).raftTerm)


def _elections(members: list[Member]) -> int:
    """How often these have missed a leader."""
    return sum(member.messages().count("became pre-candidate") for member in members)
