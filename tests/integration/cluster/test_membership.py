"""Members that join, learn, vote, lead and leave, while writes go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pykvd.pb import rpc_pb2
from tests.harness import Client, Failure, WatchStream, free_port, wait_until
from tests.harness.methods import (
    HASH_KV,
    HEALTH,
    MEMBER_LIST,
    MEMBER_UPDATE,
    PUT,
    RANGE,
    STATUS,
    TIME_TO_LIVE,
    TXN,
)
from tests.integration.cluster.cluster import NAMES, QUICK, Cluster, clustered
from tests.integration.cluster.load import Load
from tests.integration.cluster.requests import (
    add,
    get,
    move_leader,
    promote,
    put,
    remove,
    when_connected,
)

if TYPE_CHECKING:
    from tests.harness.methods import Method
    from tests.integration.cluster.cluster import Member

#: The log is compacted so soon that whoever was away needs a snapshot.
SHORT_LOG = (*QUICK, "--snapshot-count=100", "--snapshot-catchup-entries=10")
NOT_FOR_LEARNERS = Failure("FAILED_PRECONDITION", "etcdserver: rpc not supported for learner")
NOT_IN_SYNC = "etcdserver: can only promote a learner member which is in sync with leader"


def snapshots_installed(member: Member) -> int:
    """How often the member's log tells of a snapshot since it was started."""
    return member.messages().count("installed a snapshot")


def free_url() -> str:
    """A peer URL that nobody uses."""
    return f"http://127.0.0.1:{free_port()}"


def test_a_member_that_was_down_catches_up_by_snapshot() -> None:
    with clustered(flags=SHORT_LOG) as cluster:
        cluster.start()
        leader = cluster.leader()
        follower = cluster.followers()[0]
        with Load(cluster, watch=False) as load:
            load.wait_progress(100)
            follower.kill()
            load.wait_progress(600)
            follower.start()
            wait_until(lambda: snapshots_installed(follower) > 0, "a snapshot to be installed")
            load.wait_progress(100)
        load.check()
        assert cluster.leader() is leader


def test_a_learner_joins_by_snapshot_while_writes_go_on_and_becomes_a_voter() -> None:
    with clustered(flags=SHORT_LOG) as cluster:
        cluster.start()
        leader = cluster.leader()
        follower, other = cluster.followers()
        with Load(cluster, watch=False) as load:
            load.wait_progress(300)
            newcomer = cluster.newcomer("n4")
            added = add(follower, [newcomer.peer_url], learner=True)
            assert isinstance(added, rpc_pb2.Member)
            assert added.isLearner
            assert not added.name
            refusal = Failure("FAILED_PRECONDITION", NOT_IN_SYNC)
            assert promote(leader, added.ID) == promote(other, added.ID) == refusal
            too_many = "etcdserver: too many learner members in cluster"
            assert add(leader, [free_url()], learner=True) == Failure(
                "FAILED_PRECONDITION", too_many
            )
            newcomer.start()
            assert snapshots_installed(newcomer) == 1
            assert "failed to publish" not in newcomer.messages()
            load.wait_progress(100)
            check_learner(newcomer)
            promote_when_ready(follower, added.ID)
            load.wait_progress(100)
        load.check()
        put(newcomer, b"voter", b"v")
        assert get(newcomer, b"voter") == b"v"
        assert move_leader(leader, added.ID) is None
        assert cluster.leader() is newcomer


def promote_when_ready(through: Member, member_id: int) -> None:
    """Promote a learner; until it is in sync that is all the refusal may say."""

    def promoted() -> bool:
        refusal = promote(through, member_id)
        assert refusal is None or refusal.text == NOT_IN_SYNC
        return refusal is None

    wait_until(promoted, "the learner to be in sync")


def check_learner(learner: Member) -> None:
    """What a learner serves, and how it refuses the rest."""
    assert learner.call(STATUS).isLearner
    assert get(learner, b"p/left", serializable=True) is not None
    with Client(learner.endpoint) as client:
        assert sum(len(part.blob) for part in client.snapshot()) > 0
        requests: list[tuple[Method[Any, Any], Any]] = [
            (RANGE, rpc_pb2.RangeRequest(key=b"x")),
            (PUT, rpc_pb2.PutRequest(key=b"x")),
            (TXN, rpc_pb2.TxnRequest()),
            (MEMBER_LIST, rpc_pb2.MemberListRequest()),
            (HASH_KV, rpc_pb2.HashKVRequest()),
            (TIME_TO_LIVE, rpc_pb2.LeaseTimeToLiveRequest(ID=1)),
            (HEALTH, HEALTH.request()),
        ]
        for method, request in requests:
            assert client.attempt(method, request) == NOT_FOR_LEARNERS, method.path
        with WatchStream(client) as stream:
            stream.wait(lambda: stream.failure is not None, "the watch to be refused")
            assert stream.failure == NOT_FOR_LEARNERS


@pytest.mark.long
def test_a_member_is_added_and_removed_as_a_voter(three: Cluster) -> None:
    follower = three.followers()[0]
    newcomer = three.newcomer("n4")
    try:
        added = when_connected(lambda: add(follower, [newcomer.peer_url]))
        assert isinstance(added, rpc_pb2.Member), added
        newcomer.start()
        assert three.member_list(newcomer)[added.ID].name == "n4"
        put(newcomer, b"four", b"v")
        three.wait_equal()
        assert when_connected(lambda: remove(follower, added.ID)) is None
        assert newcomer.wait_exit() == 0
    finally:
        del three.by_name["n4"]
        newcomer.kill()
    assert get(follower, b"four") == b"v"


def test_additions_that_are_refused(three: Cluster) -> None:
    leader, follower = three.leader(), three.followers()[0]
    invalid = Failure("INVALID_ARGUMENT", "etcdserver: given member URLs are invalid")
    for urls in ([], ["127.0.0.1:1"], ["ftp://127.0.0.1:1"], ["http://127.0.0.1"]):
        assert add(follower, urls, learner=True) == invalid
    taken = Failure("FAILED_PRECONDITION", "etcdserver: Peer URLs already exists")
    assert add(follower, [leader.peer_url], learner=True) == taken


def test_unknown_members_are_not_found(three: Cluster) -> None:
    for member in three:
        missing = Failure("NOT_FOUND", "etcdserver: member not found")
        assert remove(member, 1234) == missing
        assert promote(member, 1234) == missing
        update = rpc_pb2.MemberUpdateRequest(ID=1234, peerURLs=[free_url()])
        assert member.ask(MEMBER_UPDATE, update) == missing


def test_updates_change_the_peer_urls_of_one_member(three: Cluster) -> None:
    leader, follower = three.leader(), three.followers()[0]
    taken = rpc_pb2.MemberUpdateRequest(ID=follower.id, peerURLs=[leader.peer_url])
    assert leader.ask(MEMBER_UPDATE, taken) == Failure(
        "FAILED_PRECONDITION", "etcdserver: Peer URLs already exists"
    )
    both = sorted([follower.peer_url, free_url()])
    leader.call(MEMBER_UPDATE, rpc_pb2.MemberUpdateRequest(ID=follower.id, peerURLs=both))
    assert list(three.member_list(follower)[follower.id].peerURLs) == both
    one = rpc_pb2.MemberUpdateRequest(ID=follower.id, peerURLs=[follower.peer_url])
    follower.call(MEMBER_UPDATE, one)
    assert list(three.member_list(leader)[follower.id].peerURLs) == [follower.peer_url]


def test_a_voter_cannot_be_promoted(three: Cluster) -> None:
    refusal = Failure("FAILED_PRECONDITION", "etcdserver: can only promote a learner member")
    for member in three:
        assert promote(member, three.leader().id) == refusal


@pytest.mark.parametrize("name", NAMES)
def test_leadership_moves_to_any_member(three: Cluster, name: str) -> None:
    leader, target = three.leader(), three[name]
    with Load(three, writers=2, watch=False) as load:
        load.wait_progress(20)
        assert move_leader(leader, target.id) is None
        assert three.leader() is target
        load.wait_progress(20)
    load.check()


def test_leadership_does_not_move_where_it_cannot(three: Cluster) -> None:
    leader, follower = three.leader(), three.followers()[0]
    assert move_leader(follower, follower.id) == Failure(
        "FAILED_PRECONDITION", "etcdserver: not leader"
    )
    bad = Failure("FAILED_PRECONDITION", "etcdserver: bad leader transferee")
    assert move_leader(leader, 1234) == bad
    learner = add(leader, [free_url()], learner=True)
    assert isinstance(learner, rpc_pb2.Member)
    assert move_leader(leader, learner.ID) == bad
    assert remove(follower, learner.ID) is None
    assert three.leader() is leader
