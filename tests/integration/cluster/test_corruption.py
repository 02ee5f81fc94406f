"""Members whose data differ are found and named, whoever it is and however it happened."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

import pytest

from pykvd.pb import rpc_pb2
from tests.harness import Failure, wait_until
from tests.harness.methods import ALARM, MOVE_LEADER, PUT, STATUS
from tests.integration.cluster.cluster import QUICK, clustered
from tests.integration.cluster.requests import add, get, put, remove, when_connected

if TYPE_CHECKING:
    from tests.integration.cluster.cluster import Cluster, Member

CORRUPT = Failure("DATA_LOSS", "etcdserver: corrupt cluster")
SECRET = b"the value that the disk will change"


def flip_a_bit(member: Member) -> None:
    """Change one stored value of a member that does not run."""
    (path,) = (member.data / "member" / "db").glob("*/data.mdb")
    content = path.read_bytes()
    assert SECRET in content
    # Also in pages that are not used any more.
    path.write_bytes(content.replace(SECRET, bytes([SECRET[0] ^ 1]) + SECRET[1:]))


def alarms(member: Member) -> list[tuple[int, int]]:
    """All alarms as (member, type)."""
    return [(alarm.memberID, alarm.alarm) for alarm in member.call(ALARM).alarms]


def lift(through: Member, member_id: int) -> None:
    """Disarm the alarm."""
    request = rpc_pb2.AlarmRequest(
        action=rpc_pb2.AlarmRequest.DEACTIVATE, memberID=member_id, alarm=rpc_pb2.CORRUPT
    )
    through.call(ALARM, request)


def write(cluster: Cluster, count: int = 30) -> None:
    """Keys, one of which is the one to be changed, in every member's file."""
    for number in range(count):
        put(cluster["n1"], b"k%d" % number, b"v")
    put(cluster["n2"], b"secret", SECRET)
    cluster.wait_equal()


def stopped(member: Member) -> Member:
    """End a member so that all it knows is in its file."""
    member.stop()
    return member


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_value_changed_on_one_disk_is_found_and_named(role: str) -> None:
    with clustered() as cluster:
        cluster.start()
        cluster.leader()
        write(cluster)
        victim = stopped(cluster["n3"])
        flip_a_bit(victim)
        cluster.start()
        leader = cluster.leader()
        if role == "leader" and leader is not victim:
            move = rpc_pb2.MoveLeaderRequest(targetID=victim.id)
            leader.call(MOVE_LEADER, move)
        accused = [(victim.id, rpc_pb2.CORRUPT)]
        for member in cluster:
            wait_until(lambda: alarms(member) == accused, f"{member.name} to be alarmed")  # noqa: B023
        assert cluster["n1"].ask(PUT, rpc_pb2.PutRequest(key=b"k")) == CORRUPT
        assert get(cluster["n1"], b"secret") == SECRET
        errors = list(cluster["n1"].call(STATUS).errors)
        assert errors == [f"memberID:{victim.id} alarm:CORRUPT "]


def test_the_way_out_is_to_let_the_member_join_anew() -> None:
    with clustered() as cluster:
        cluster.start()
        cluster.leader()
        write(cluster)
        victim = stopped(cluster["n3"])
        flip_a_bit(victim)
        cluster.start()
        accused = [(victim.id, rpc_pb2.CORRUPT)]
        wait_until(lambda: alarms(cluster["n1"]) == accused, "an alarm")
        victim_id = victim.id
        victim.kill()
        assert when_connected(lambda: remove(cluster["n1"], victim_id)) is None
        victim.wipe()
        added = when_connected(lambda: add(cluster["n1"], [victim.peer_url]))
        assert not isinstance(added, Failure)
        victim.state = "existing"
        victim.start()
        lift(cluster["n2"], victim_id)
        put(cluster["n1"], b"after", b"v")
        wait_until(lambda: get(victim, b"secret", serializable=True) == SECRET, "the right value")
        cluster.wait_equal()
        # Several rounds of comparisons accuse nobody any more.
        with urllib.request.urlopen(f"{cluster.leader().url}/metrics") as reply:
            rounds = equal_slices(reply.read().decode())

        def compared() -> bool:
            with urllib.request.urlopen(f"{cluster.leader().url}/metrics") as reply:
                return equal_slices(reply.read().decode()) > rounds + 1

        wait_until(compared, "more comparisons")
        assert alarms(cluster["n1"]) == []


def equal_slices(metrics: str) -> float:
    """How many comparisons of slices went well."""
    name = 'pykvd_consistency_checks_total{check="slice",outcome="equal"} '
    return float(metrics.partition(name)[2].partition("\n")[0])


def test_a_member_with_other_data_may_not_start() -> None:
    """InitialCorruptCheck: the member itself refuses, before it serves or votes."""
    gate = "--feature-gates=InitialCorruptCheck=true"
    with clustered(flags=(*QUICK, gate)) as cluster:
        cluster.start()
        cluster.leader()
        write(cluster)
        victim = stopped(cluster["n3"])
        cluster["n3"].start()
        assert "initial corruption checking passed; no corruption" in victim.messages()
        stopped(victim)
        flip_a_bit(victim)
        victim.spawn()
        assert victim.wait_exit() == 1
        assert "found data inconsistency with peers" in victim.messages()
        assert alarms(cluster["n1"]) == []
