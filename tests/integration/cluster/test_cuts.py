"""Cut networks: members that cannot hear each other, but can be asked. Long, and for root."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.harness import wait_until
from tests.harness.methods import STATUS
from tests.integration.cluster.load import Load
from tests.integration.cluster.namespaces import available, namespaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.cluster.namespaces import NamespacedCluster, NamespacedMember

#: Some 6 s each.
ROUNDS = int(os.environ.get("ROUNDS", "30"))

pytestmark = [pytest.mark.long, pytest.mark.timeout(0)]


@pytest.fixture
def cluster() -> Iterator[NamespacedCluster]:
    """Three members in namespaces, running."""
    if not available():
        pytest.skip("network namespaces need root and iproute2")
    with namespaced() as cluster:
        cluster.start()
        yield cluster


def members(cluster: NamespacedCluster) -> list[NamespacedMember]:
    """All members."""
    return [cluster.namespaced(member) for member in cluster]


def test_a_leader_without_peers_steps_down_and_serves_no_stale_read(
    cluster: NamespacedCluster,
) -> None:
    with Load(cluster, readers=2) as load:
        load.wait_progress(100)
        old = cluster.namespaced(cluster.leader())
        term = old.call(STATUS).raftTerm
        old.isolate()
        others = [member for member in cluster if member is not old]
        assert cluster.leader(others) is not old
        wait_until(lambda: old.call(STATUS).leader == 0, "the old leader to step down")
        # Pre-vote: it asks in vain, and does not raise its term while it is alone.
        assert old.call(STATUS).raftTerm == term
        load.wait_progress(100)
        new = cluster.leader(others)
        old.rejoin()
        assert cluster.leader() is new
        load.wait_progress(100)
    load.check()


def test_random_cuts_lose_nothing(cluster: NamespacedCluster) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        with Load(cluster) as load:
            load.wait_progress(50)
            one, other, _ = rng.sample(members(cluster), 3)
            one_way = rng.random() < 0.5
            one.mute_towards(other) if one_way else one.isolate()
            load.stopped.wait(rng.uniform(0.2, 3.0))
            one.unmute_towards(other) if one_way else one.rejoin()
            cluster.leader()
            load.wait_progress(50)
        load.check()
