"""What people do with a cluster by hand, step by step."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from pykvd.pb import rpc_pb2
from tests.harness import Client, Failure, WatchStream, free_port, wait_until
from tests.harness.methods import (
    ALARM,
    HASH_KV,
    LEASES,
    MEMBER_ADD,
    MEMBER_LIST,
    MOVE_LEADER,
    PUT,
    RANGE,
    STATUS,
    TIME_TO_LIVE,
)
from tests.integration.cluster.cluster import Cluster, clustered
from tests.integration.cluster.requests import (
    REQUIRE_LEADER,
    UNHEALTHY,
    add,
    get,
    put,
    remove,
    when_connected,
)
from tests.integration.pykvctl.runner import run_cli

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.cluster.cluster import Member

NO_LEADER = Failure("UNAVAILABLE", "etcdserver: no leader")
#: 5 s and two election timeouts of these clusters.
REQUEST_TIMEOUT = 6.0


def ctl(through: list[Member], *words: str) -> str:
    """What `pykvctl` prints."""
    endpoints = ",".join(member.endpoint for member in through)
    out, err, status = run_cli(["--endpoints", endpoints, *words], {})
    assert status == 0, err.decode()
    return out.decode()


def test_a_cluster_is_started_by_hand_one_member_at_a_time() -> None:
    with clustered() as cluster:
        n1, n2, n3 = cluster
        n1.spawn()
        wait_until(lambda: "serving peer traffic" in n1.messages(), "n1 to listen to its peers")
        # Alone it is nobody's leader, and serves no client.
        assert isinstance(n1.ask(STATUS, timeout=0.3), Failure)
        n2.spawn()
        n1.wait_ready()
        n2.wait_ready()
        put(n2, b"greeting", b"hello")
        n3.start()
        assert get(n3, b"greeting") == b"hello"
        everyone = [n1, n2, n3]
        listed = ctl(everyone, "member", "list").splitlines()
        assert sorted(line.split(", ")[1:3] for line in listed) == [
            ["started", "n1"],
            ["started", "n2"],
            ["started", "n3"],
        ]
        # Health checks go to stderr or stdout as etcdctl's; what matters is that all three answer.
        assert ctl(everyone, "endpoint", "health").count("is healthy") == 3


def test_one_member_may_stop_but_not_two(three: Cluster) -> None:
    put(three.leader(), b"story", b"all")
    survivor = three.followers()[0]
    first, second = (member for member in three if member is not survivor)
    first.stop()
    three.leader()
    put(survivor, b"story", b"two of three")
    assert get(second, b"story") == b"two of three"
    second.kill()
    wait_until(lambda: survivor.call(STATUS).leader == 0, "the leader to be missed")
    check_refusals(survivor)
    assert get(survivor, b"story", serializable=True) == b"two of three"
    first.start()
    three.leader()
    put(survivor, b"story", b"well again")
    assert get(first, b"story") == b"well again"
    second.start()
    three.leader()
    assert get(second, b"story") == b"well again"
    three.wait_equal()


def check_refusals(lonely: Member) -> None:
    """The answers of a member without leader (etcd's, one by one), asked all at once."""
    late = Failure("DEADLINE_EXCEEDED", "context deadline exceeded")
    timeout = Failure("UNAVAILABLE", "etcdserver: request timed out")
    waiting: list[tuple[Callable[[], Any], Failure]] = [
        (lambda: lonely.ask(PUT, rpc_pb2.PutRequest(key=b"x"), 20), late),
        (lambda: lonely.ask(RANGE, rpc_pb2.RangeRequest(key=b"x"), 20), timeout),
        (
            lambda: lonely.ask(MEMBER_LIST, rpc_pb2.MemberListRequest(linearizable=True), 20),
            timeout,
        ),
        (lambda: lonely.ask(TIME_TO_LIVE, rpc_pb2.LeaseTimeToLiveRequest(ID=1), 20), NO_LEADER),
        (lambda: lonely.ask(ALARM, rpc_pb2.AlarmRequest(), 20), late),
        (lambda: keep_alive(lonely), NO_LEADER),
    ]
    at_once: list[tuple[Callable[[], Any], Failure | None]] = [
        (lambda: ask_demanding(lonely, PUT, rpc_pb2.PutRequest(key=b"x")), NO_LEADER),
        (
            lambda: ask_demanding(lonely, RANGE, rpc_pb2.RangeRequest(key=b"x", serializable=True)),
            NO_LEADER,
        ),
        (
            lambda: lonely.ask(
                MEMBER_ADD, rpc_pb2.MemberAddRequest(peerURLs=[f"http://127.0.0.1:{free_port()}"])
            ),
            UNHEALTHY,
        ),
        (
            lambda: lonely.ask(MOVE_LEADER, rpc_pb2.MoveLeaderRequest(targetID=1)),
            Failure("FAILED_PRECONDITION", "etcdserver: not leader"),
        ),
        (lambda: lonely.ask(MEMBER_LIST), None),
        (lambda: lonely.ask(LEASES), None),
        (lambda: lonely.ask(HASH_KV), None),
        (lambda: lonely.ask(STATUS), None),
    ]
    with ThreadPoolExecutor(len(waiting)) as pool:
        begin = time.monotonic()
        futures = [pool.submit(ask) for ask, _ in waiting]
        for ask, refusal in at_once:
            answer = ask()
            assert answer == refusal if refusal else not isinstance(answer, Failure)
        assert time.monotonic() - begin < REQUEST_TIMEOUT - 1
        assert lonely.call(STATUS).errors == ["etcdserver: no leader"]
        assert [future.result() for future in futures] == [refusal for _, refusal in waiting]
        assert REQUEST_TIMEOUT - 0.5 < time.monotonic() - begin < 2 * REQUEST_TIMEOUT


def ask_demanding(member: Member, method: Any, request: Any) -> Any:
    """A call that demands a leader."""
    with Client(member.endpoint) as client:
        return client.attempt(method, request, metadata=REQUIRE_LEADER)


def keep_alive(member: Member) -> Failure:
    """The end of a keep-alive stream of an unknown lease."""
    import grpc

    with Client(member.endpoint) as client, pytest.raises(grpc.RpcError) as caught:
        list(client.keep_alive([rpc_pb2.LeaseKeepAliveRequest(ID=1)]))
    return Failure.of(caught.value)


def test_streams_that_demand_a_leader_end_without_one(three: Cluster) -> None:
    leader = three.leader()
    put(leader, b"seen", b"v")
    survivor, second = three.followers()
    watch = rpc_pb2.WatchCreateRequest(key=b"seen", start_revision=1)
    with (
        Client(survivor.endpoint) as client,
        WatchStream(client, metadata=REQUIRE_LEADER) as demanding,
        WatchStream(client) as patient,
    ):
        demanding.create(watch)
        watch_id = patient.create(watch).watch_id
        second.kill()
        three.leader()
        assert demanding.failure is None
        leader.kill()
        demanding.wait(lambda: demanding.failure is not None, "the demanding watch to end")
        assert demanding.failure == NO_LEADER
        with WatchStream(client, metadata=REQUIRE_LEADER) as refused:
            refused.wait(lambda: refused.failure is not None, "the stream to be refused")
            assert refused.failure == NO_LEADER
        # The other one stays, as does a new one: they tell what is known here, and go on later.
        with WatchStream(client) as late:
            late.wait(lambda: late.failure is None, "nothing")
            assert late.create(watch).created
        three.start()
        three.leader()
        put(leader, b"seen", b"again")
        patient.wait(
            lambda: any(event.kv.value == b"again" for event in patient.events(watch_id)),
            "the event after the outage",
        )
        assert patient.failure is None


def test_a_member_is_removed_wiped_and_added_again(three: Cluster) -> None:
    put(three.leader(), b"kept", b"through it all")
    victim, helper = three.followers()
    old = victim.id
    assert when_connected(lambda: remove(helper, old)) is None
    assert victim.wait_exit() == 0
    assert "removed from the cluster" in victim.messages()
    assert old not in three.member_list(helper)

    # With its old directory it is refused, clearly, and says what to do.
    victim.spawn()
    assert victim.wait_exit() != -9
    assert "data-dir used by this member must be removed" in victim.messages()

    victim.wipe()
    added = when_connected(lambda: add(helper, [victim.peer_url]))
    assert isinstance(added, rpc_pb2.Member), added
    (unstarted,) = (
        line for line in ctl([helper], "member", "list").splitlines() if "unstarted" in line
    )
    assert victim.peer_url in unstarted
    victim.initial_cluster = three.initial_cluster()
    victim.state = "existing"
    victim.start()
    assert victim.id == added.ID != old
    assert get(victim, b"kept") == b"through it all"
    listed = ctl([helper], "member", "list")
    assert listed.count(", started, ") == 3
    assert f"{victim.id:x}, started, {victim.name}, {victim.peer_url}, {victim.url}" in listed
    three.wait_equal()


@pytest.mark.parametrize(
    ("state", "complaint"),
    [("new", "has already been bootstrapped"), ("existing", "past the last entry 0")],
)
def test_a_member_that_lost_its_data_is_refused(three: Cluster, state: str, complaint: str) -> None:
    # One that was there from the start: its id follows from the addresses.
    victim = next(member for member in three.followers() if member.state == "new")
    put(three.leader(), b"known", b"v")
    victim.kill()
    data = victim.data.rename(victim.home / "lost")
    before, victim.state = victim.state, state
    try:
        victim.spawn()
        assert victim.wait_exit() == 1
        assert complaint in victim.messages()
    finally:
        victim.kill()
        victim.wipe() if victim.data.exists() else None
        data.rename(victim.data)
        victim.state = before
    victim.start()
    assert get(victim, b"known") == b"v"


def test_a_member_with_another_clusters_data_is_refused(three: Cluster) -> None:
    put(three.leader(), b"ours", b"v")
    victim, other = three.followers()
    victim.stop()
    ours = victim.data.rename(victim.home / "aside")
    flags, state = victim.flags, victim.state
    try:
        # The same addresses under another token are another cluster.
        victim.flags = (*flags, "--initial-cluster-token=another")
        victim.state = "new"
        for _ in range(2):
            victim.spawn()
            wait_until(lambda: "cluster ID mismatch" in victim.messages(), "the refusal")
            assert isinstance(victim.ask(STATUS, timeout=0.3), Failure)
            put(three.leader([member for member in three if member is not victim]), b"ours", b"w")
            assert "cluster ID mismatch" in other.messages()
            victim.kill()
    finally:
        victim.kill()
        victim.flags, victim.state = flags, state
        victim.wipe()
        ours.rename(victim.data)
    victim.start()
    assert get(victim, b"ours") == b"w"
    three.wait_equal()


def test_joining_needs_the_right_description(three: Cluster) -> None:
    newcomer = three.newcomer("n4")
    del three.by_name["n4"]
    newcomer.spawn()
    assert newcomer.wait_exit() == 1
    assert "member count is unequal" in newcomer.messages()
