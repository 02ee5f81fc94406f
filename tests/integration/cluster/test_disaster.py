"""One member is left of a cluster, and goes on alone (--force-new-cluster)."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from pykvd.pb import rpc_pb2
from tests.harness import wait_until
from tests.harness.methods import STATUS
from tests.integration.cluster.cluster import Cluster, clustered
from tests.integration.cluster.requests import add, get, put, when_connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.cluster.cluster import Member

FORCE = "--force-new-cluster"


@pytest.fixture
def three() -> Iterator[Cluster]:
    """A cluster that a test may ruin."""
    with clustered() as cluster:
        cluster.start()
        cluster.leader()
        yield cluster


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_the_member_that_is_left_keeps_everything_and_rules_alone(
    three: Cluster, role: str
) -> None:
    left = three.leader() if role == "leader" else three.followers()[0]
    for number in range(50):
        put(left, b"k%d" % number, b"v%d" % number)
    identity, cluster_id = left.id, left.call(STATUS).header.cluster_id
    others = [member for member in three if member is not left]
    for member in three:
        member.kill()

    left.flags = (*left.flags, FORCE)
    left.start()
    assert "forcing restart member" in left.messages()
    assert left.messages().count("removed member") == len(others)
    assert list(three.member_list(left)) == [identity]
    assert left.call(STATUS).header.cluster_id == cluster_id
    assert all(get(left, b"k%d" % number) == b"v%d" % number for number in range(50))
    put(left, b"alone", b"yes")

    # The flag left in place does no harm, and is not needed again.
    left.stop()
    left.start()
    assert "removed member" not in left.messages()
    left.stop()
    left.flags = left.flags[:-1]
    left.start()
    assert get(left, b"alone") == b"yes"

    # A lost member that turns up again is refused; with an empty directory it may join anew.
    back = others[0]
    back.spawn()
    assert back.wait_exit() != -9
    assert "data-dir used by this member must be removed" in back.messages()
    back.wipe()
    added = when_connected(lambda: add(left, [back.peer_url]))
    assert isinstance(added, rpc_pb2.Member), added
    back.initial_cluster = f"{left.name}={left.peer_url},{back.name}={back.peer_url}"
    back.state = "existing"
    back.start()
    assert get(back, b"k7") == b"v7"
    three.wait_equal([left, back])


def test_a_learner_that_is_left_votes() -> None:
    with clustered(["n1"]) as cluster:
        first = cluster["n1"]
        cluster.start()
        put(first, b"k", b"v")
        learner = cluster.newcomer("n2")
        added = when_connected(lambda: add(first, [learner.peer_url], learner=True))
        assert isinstance(added, rpc_pb2.Member), added
        learner.start()
        wait_until(lambda: learner.call(STATUS).header.revision == 2, "the learner to catch up")
        cluster["n1"].kill()
        learner.kill()
        learner.flags = (*learner.flags, FORCE)
        learner.start()
        assert get(learner, b"k") == b"v"
        put(learner, b"k", b"w")
        (only,) = cluster.member_list(learner).values()
        assert not only.isLearner


def test_an_empty_directory_is_founded_as_ever() -> None:
    with clustered(["n1"], (FORCE,)) as cluster:
        cluster.start()
        put(cluster["n1"], b"k", b"v")
        assert len(cluster.member_list(cluster["n1"])) == 1


def kill_in_start(member: Member, seconds: float) -> None:
    """Start a member, and kill it so soon that it may be anywhere in its start."""
    member.spawn()
    deadline = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > deadline, "the time of the kill")
    member.kill()


def test_killed_while_it_is_forced_the_member_that_is_left_keeps_everything(three: Cluster) -> None:
    """Whenever the kill comes, the next start goes on, with the flag or without."""
    rng = random.Random(20)
    left = three.followers()[0]
    for number in range(20):
        put(left, b"k%d" % number, b"v%d" % number)
    for member in three:
        member.kill()
    plain, forced = left.flags, (*left.flags, FORCE)
    for _ in range(6):
        left.flags = forced if rng.random() < 0.7 else plain
        kill_in_start(left, rng.uniform(0.2, 1.2))
    left.flags = forced
    left.start()
    left.stop()
    left.flags = plain
    left.start()
    assert all(get(left, b"k%d" % number) == b"v%d" % number for number in range(20))
    assert len(three.member_list(left)) == 1
    put(left, b"alone", b"yes")
