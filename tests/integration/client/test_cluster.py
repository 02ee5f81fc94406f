"""Three members: balancing, fail-over, learning the endpoints."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from pykvd.client import Unavailable
from pykvd.client.errors import NotLeader
from pykvd.pb.rpc_pb2 import PutRequest
from tests.harness import Failure, wait_until
from tests.harness.methods import PUT
from tests.integration.cluster.cluster import Cluster, clustered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Kind
    from tests.integration.client.blocked import Making


@pytest.fixture(scope="module")
def shared(kind: Kind) -> Iterator[Cluster]:
    with clustered() as cluster:
        for member in cluster:
            member.kind = kind
            member.flags = (*kind.flags, *member.flags)
        cluster.start()
        yield cluster


@pytest.fixture
def three(shared: Cluster) -> Cluster:
    """Three members that follow one leader and take writes, each of them."""
    shared.heal()
    for member in shared:
        wait_until(
            lambda: not isinstance(member.ask(PUT, PutRequest(key=b"healed")), Failure),  # noqa: B023
            f"{member.name} to take a write",
        )
    return shared


def endpoints(cluster: Cluster) -> list[str]:
    return [member.endpoint for member in cluster]


def test_calls_go_round(make: Making, three: Cluster) -> None:
    client = make(endpoints(three))
    asked = [client.maintenance.status().member_id for _ in range(6)]
    assert len(set(asked)) == 3
    assert asked[:3] == asked[3:]
    one = endpoints(three)[0]
    assert len({client.maintenance.status(one).member_id for _ in range(4)}) == 1


def test_the_members_tell_their_endpoints(make: Making, three: Cluster, name: str) -> None:
    members = list(three)
    client = make(members[0].endpoint)
    assert sorted(client.sync_endpoints()) == sorted(member.url for member in members)
    assert sorted(client.endpoints) == sorted(member.url for member in members)
    by_itself = make(members[0].endpoint, sync_interval=60)
    by_itself.get(name)
    members[0].kill()
    three.leader()
    for one in (client, by_itself):
        assert one.get(name, timeout=20) is None


def test_reads_do_not_fail_with_one_member(make: Making, three: Cluster, name: str) -> None:
    client = make(endpoints(three), timeout=20)
    client.put(name, "value")
    for member in three:
        member.kill()
        for _ in range(10):
            found = client.get(name)
            assert found is not None
            assert found.value == b"value"
        member.start()
        three.leader()


def test_a_member_that_hangs(make: Making, three: Cluster, name: str) -> None:
    client = make(endpoints(three), timeout=20)
    client.put(name, "value")
    three.followers()[0].pause()
    for _ in range(3):
        assert client.get(name)


def test_nothing_acknowledged_is_lost_and_nothing_is_written_twice(
    make: Making, three: Cluster, name: str
) -> None:
    client = make(endpoints(three), timeout=20)
    stop = threading.Event()
    acknowledged: set[bytes] = set()

    def write() -> None:
        number = 0
        while not stop.is_set():
            key = f"{name}{number}"
            with contextlib.suppress(Unavailable):
                client.put(key, "")
                acknowledged.add(key.encode())
            number += 1

    with client.watch(name, prefix=True) as watch:
        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(2):
            leader = three.leader()
            leader.kill()
            three.leader()
            leader.start()
        stop.set()
        writer.join()
        three.leader()
        client.put(name + "end", "", timeout=20)
        seen: list[bytes] = []
        while not seen or not seen[-1].endswith(b"end"):
            event = watch.get(timeout=20)
            assert event.created, event
            seen.append(event.key)
    kept = {kv.key: kv.version for kv in client.range(name, prefix=True)}
    assert set(kept.values()) == {1}
    assert acknowledged - kept.keys() == set()
    assert len(seen) == len(set(seen)) == len(kept)


def test_the_leadership_moves(make: Making, three: Cluster) -> None:
    client = make(endpoints(three))
    leader, follower = three.leader(), three.followers()[0]
    target = follower.id
    with pytest.raises(NotLeader):
        client.maintenance.move_leader(target, follower.endpoint)
    client.maintenance.move_leader(target, leader.endpoint)
    assert client.maintenance.status(leader.endpoint).leader == target


def test_members_agree(make: Making, three: Cluster, name: str) -> None:
    client = make(endpoints(three))
    revision = client.put(name, "value").revision
    three.wait_equal()
    hashes = {client.maintenance.hash_kv(revision, one).hash for one in endpoints(three)}
    assert len(hashes) == 1
    assert {member.name for member in client.cluster.members()} == {"n1", "n2", "n3"}
