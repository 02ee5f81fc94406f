"""`pykvd.serve_cluster`: several members in one process, and the faults that tests want of them."""

import time
from pathlib import Path

import pytest

import pykvd
from pykvd.client.transport import CallError
from pykvd.embedded.cluster import ClusterMember
from pykvd.pb import rpc_pb2 as rpc
from pykvd.status import Code
from tests.harness import wait_until
from tests.integration.embedding.held import held
from tests.integration.embedding.requests import PUT, RANGE, TIMEOUT_S, put, revision, soon


def write(member: ClusterMember, deadline: float | None = None, value: bytes = b"v") -> int:
    """Put through one member; returns the revision."""
    transport = member.transport()
    return revision(transport.unary(PUT, put(value=value), deadline or soon(), ()))


def read(member: ClusterMember, *, serializable: bool = False) -> bytes:
    """The value at one member."""
    request = rpc.RangeRequest(key=b"k", serializable=serializable)
    reply = member.transport().unary(RANGE, request.SerializeToString(), soon(), ())
    found = rpc.RangeResponse.FromString(reply).kvs
    return found[0].value if found else b""


def refused(member: ClusterMember, seconds: float = 0.1) -> Code:
    """How a member fails to write that has nobody to agree with."""
    with pytest.raises(CallError) as caught:
        write(member, time.monotonic() + seconds)
    return Code(caught.value.code)


def test_members_agree_and_nothing_is_left() -> None:
    with pykvd.serve_cluster(1):
        pass  # what a process opens once, for good
    before = held()
    with pykvd.serve_cluster(3) as cluster:
        assert [member.name for member in cluster] == ["n1", "n2", "n3"]
        assert [write(member) for member in cluster] == [2, 3, 4]
        assert [read(member) for member in cluster] == [b"v"] * 3
        assert len(set(cluster.endpoints)) == len(cluster)
        assert [member.endpoint for member in cluster] == cluster.endpoints
    assert held() == before


def test_two_clusters_beside_each_other() -> None:
    with pykvd.serve_cluster(2) as first, pykvd.serve_cluster(2) as second:
        assert [write(member) for member in (*first, *second)] == [2, 3, 2, 3]


def test_a_killed_leader_is_replaced_and_comes_back() -> None:
    with pykvd.serve_cluster(3) as cluster:
        old = cluster.leader()
        write(old, value=b"before")
        endpoint = old.endpoint
        old.kill()
        new = cluster.leader(other_than=old)
        write(new, value=b"after")
        assert read(new) == b"after"
        old.start()
        assert old.endpoint == endpoint
        assert read(old) == b"after"


def test_a_paused_leader_is_replaced_and_follows() -> None:
    with pykvd.serve_cluster(3) as cluster:
        old = cluster.leader()
        old.pause()
        assert old.paused
        assert refused(old) == Code.DEADLINE_EXCEEDED
        new = cluster.leader(other_than=old)
        write(new, value=b"after")
        old.resume()
        assert read(old) == b"after"


def test_a_minority_cannot_write_and_catches_up() -> None:
    with pykvd.serve_cluster(3) as cluster:
        old = cluster.leader()
        majority = [member for member in cluster if member is not old]
        cluster.partition([old], majority)
        new = cluster.leader(other_than=old)
        write(new, value=b"of the majority")
        assert refused(old) in {Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE}
        assert read(old, serializable=True) == b""
        cluster.heal()
        wait_until(lambda: old.leader_id == cluster.leader().id, "the old leader to follow")
        wait_until(lambda: read(old, serializable=True) != b"", "what it has missed")
        assert read(old) == b"of the majority"


def test_a_member_in_no_group_is_alone() -> None:
    with pykvd.serve_cluster(3) as cluster:
        cluster.partition()
        wait_until(lambda: not any(member.leader_id for member in cluster), "no leader", TIMEOUT_S)
        with pytest.raises(TimeoutError, match="no majority"):
            cluster.leader(timeout=0.01)
        cluster.heal()
        assert write(cluster.leader()) == 2


def test_restarting_one_after_the_other_loses_nothing() -> None:
    with pykvd.serve_cluster(3) as cluster:
        for number, member in enumerate(cluster):
            write(cluster.leader(), value=b"%d" % number)
            member.restart()
            cluster.leader()
            assert read(member) == b"%d" % number


def test_a_directory_of_choice_is_kept(tmp_path: Path) -> None:
    for expected in (2, 3):
        with pykvd.serve_cluster(2, data_dir=tmp_path) as cluster:
            assert write(cluster[1]) == expected
            assert not cluster[0].config.unsafe_no_fsync
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n1", "n2", "ports.json"]
    with pytest.raises(ValueError, match=r"size is 3: the cluster in .* has 2 members"):
        pykvd.serve_cluster(3, data_dir=tmp_path)


def test_a_member_that_waits_for_the_others_can_be_stopped() -> None:
    cluster = pykvd.serve_cluster(3)
    cluster[0].begin()
    assert not cluster[0].ready
    cluster.close()
    assert not cluster[0].running


def test_flags_for_all_members() -> None:
    with pykvd.serve_cluster(2, pykvd.Config(max_txn_ops=3, election_timeout=700)) as cluster:
        assert [member.config.max_txn_ops for member in cluster] == [3, 3]
        assert [member.config.election_timeout for member in cluster] == [700, 700]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"size": "3"}, TypeError, "size is '3'"),
        ({"size": 0}, ValueError, "size is 0"),
        ({"config": {}}, TypeError, "config is {}"),
        ({"data_dir": 7}, TypeError, "data_dir is 7"),
    ],
)
def test_arguments_that_cannot_be_used(
    arguments: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        pykvd.serve_cluster(**arguments)  # type: ignore[arg-type]
