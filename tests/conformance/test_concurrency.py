"""Locks and elections: order, hand-over, release, as the answers of etcd have them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from pykvd.pb import auth_pb2, kv_pb2, rpc_pb2, v3election_pb2, v3lock_pb2
from tests.harness import ETCD, Client, Failure, Kind, Server, methods, wait_until
from tests.harness.methods import Method, Reply, Request

LOCK = v3lock_pb2.LockRequest
CAMPAIGN = v3election_pb2.CampaignRequest
LEADER = v3election_pb2.LeaderRequest
WAIT_S = 60.0
TTL = 600


def begin(client: Client, method: Method[Request, Reply], request: Request) -> Any:
    """A call that goes on in the background: a grpcio future."""
    call = client.channel.unary_unary(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.reply.FromString,
    )
    return call.future(request, timeout=WAIT_S)


def grant(client: Client, ttl: int = TTL) -> int:
    """A new lease."""
    return client.call(methods.GRANT, rpc_pb2.LeaseGrantRequest(TTL=ttl)).ID


def revoke(client: Client, lease: int) -> None:
    """End a lease with its keys."""
    client.call(methods.REVOKE, rpc_pb2.LeaseRevokeRequest(ID=lease))


def lock(client: Client, name: bytes, lease: int) -> v3lock_pb2.LockResponse:
    """Take a lock, waiting for it."""
    return client.call(methods.LOCK, LOCK(name=name, lease=lease))


def unlock(client: Client, key: bytes) -> None:
    """Release a lock."""
    client.call(methods.UNLOCK, v3lock_pb2.UnlockRequest(key=key))


def keys_below(client: Client, name: bytes) -> list[bytes]:
    """All contenders' keys, the oldest first."""
    request = rpc_pb2.RangeRequest(
        key=name + b"/",
        range_end=name + b"0",
        sort_target=rpc_pb2.RangeRequest.CREATE,
        sort_order=rpc_pb2.RangeRequest.ASCEND,
    )
    return [pair.key for pair in client.call(methods.RANGE, request).kvs]


def wait_for_keys(client: Client, name: bytes, count: int) -> None:
    """Wait until that many contend."""
    wait_until(lambda: len(keys_below(client, name)) == count, f"{count} keys", WAIT_S)


# Locks


def test_a_lock_is_a_key_with_a_lease(client: Client) -> None:
    lease = grant(client)
    taken = lock(client, b"plain", lease)
    assert taken.key == f"plain/{lease:x}".encode()
    [pair] = client.call(methods.RANGE, rpc_pb2.RangeRequest(key=taken.key)).kvs
    assert (pair.value, pair.lease, pair.create_revision) == (b"", lease, taken.header.revision)
    again = lock(client, b"plain", lease)
    assert again.key == taken.key
    unlock(client, taken.key)
    unlock(client, taken.key)
    assert keys_below(client, b"plain") == []


def test_a_lock_without_a_lease_gets_one(client: Client) -> None:
    taken = client.call(methods.LOCK, LOCK(name=b"own"))
    [pair] = client.call(methods.RANGE, rpc_pb2.RangeRequest(key=taken.key)).kvs
    left = client.call(methods.TIME_TO_LIVE, rpc_pb2.LeaseTimeToLiveRequest(ID=pair.lease))
    assert left.grantedTTL == 60
    assert taken.key == f"own/{pair.lease:x}".encode()


def test_locks_are_granted_in_order_and_with_rising_revisions(client: Client) -> None:
    leases = [grant(client) for _ in range(4)]
    waiting = []
    for position, lease in enumerate(leases):
        waiting.append(begin(client, methods.LOCK, LOCK(name=b"order", lease=lease)))
        wait_for_keys(client, b"order", position + 1)
    revisions = []
    for position, call in enumerate(waiting):
        taken = call.result()
        revisions.append(taken.header.revision)
        assert not any(later.done() for later in waiting[position + 1 :])
        unlock(client, taken.key)
    assert revisions == sorted(set(revisions))


def test_a_waiting_call_that_is_cancelled_leaves_no_key(client: Client) -> None:
    held = lock(client, b"cancel", grant(client))
    waiting = begin(client, methods.LOCK, LOCK(name=b"cancel", lease=grant(client)))
    wait_for_keys(client, b"cancel", 2)
    waiting.cancel()
    wait_for_keys(client, b"cancel", 1)
    assert keys_below(client, b"cancel") == [held.key]


def test_a_waiting_call_out_of_time_leaves_no_key(client: Client) -> None:
    held = lock(client, b"late", grant(client))
    request = LOCK(name=b"late", lease=grant(client))
    assert isinstance(client.attempt(methods.LOCK, request, timeout=0.2), Failure)
    wait_for_keys(client, b"late", 1)
    assert keys_below(client, b"late") == [held.key]


def test_a_lock_is_not_granted_to_a_dead_lease(client: Client, subject_kind: Kind) -> None:
    """etcd-io/etcd#11408, found by Jepsen."""
    if subject_kind == ETCD:
        pytest.skip("the installed etcd may be of the releases that grant it")
    held = lock(client, b"dead", grant(client))
    lease = grant(client)
    waiting = begin(client, methods.LOCK, LOCK(name=b"dead", lease=lease))
    wait_for_keys(client, b"dead", 2)
    revoke(client, lease)
    unlock(client, held.key)
    with pytest.raises(grpc.RpcError) as refused:
        waiting.result()
    assert Failure.of(refused.value) == Failure("UNKNOWN", "mutex: session is expired")
    assert keys_below(client, b"dead") == []


def test_a_lock_is_handed_over_when_the_holder_expires(client: Client) -> None:
    lock(client, b"expire", grant(client, ttl=2))
    taken = lock(client, b"expire", grant(client))
    assert keys_below(client, b"expire") == [taken.key]


def test_one_holder_at_a_time(server: Server) -> None:
    """What is not atomic is, under the lock: eight threads, each counting up five times."""

    def count_up() -> None:
        with Client(server.endpoint) as client:
            lease = grant(client)
            for _ in range(5):
                taken = lock(client, b"mutex", lease)
                pairs = client.call(methods.RANGE, rpc_pb2.RangeRequest(key=b"counter")).kvs
                number = int(pairs[0].value) + 1 if pairs else 1
                put = rpc_pb2.PutRequest(key=b"counter", value=str(number).encode())
                client.call(methods.PUT, put)
                unlock(client, taken.key)

    threads = [threading.Thread(target=count_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    with Client(server.endpoint) as client:
        [pair] = client.call(methods.RANGE, rpc_pb2.RangeRequest(key=b"counter")).kvs
    assert pair.value == b"40"


def login(client: Client, name: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a user whose password is `p`."""
    request = rpc_pb2.AuthenticateRequest(name=name, password="p")
    return (("token", client.call(methods.AUTHENTICATE, request).token),)


def test_locks_are_taken_in_the_name_of_the_caller(fresh: Client, subject_kind: Kind) -> None:
    """Whoever may write the keys of a lock may take it, and give it up while waiting."""
    for user in ("root", "alice"):
        add = rpc_pb2.AuthUserAddRequest(name=user, password="p")
        fresh.call(methods.USER_ADD, add)
    allowed = auth_pb2.Permission(
        permType=auth_pb2.Permission.READWRITE, key=b"mine/", range_end=b"mine0"
    )
    fresh.call(methods.ROLE_ADD, rpc_pb2.AuthRoleAddRequest(name="r"))
    grant_it = rpc_pb2.AuthRoleGrantPermissionRequest(name="r", perm=allowed)
    fresh.call(methods.ROLE_GRANT, grant_it)
    for user, role in (("root", "root"), ("alice", "r")):
        fresh.call(methods.USER_GRANT_ROLE, rpc_pb2.AuthUserGrantRoleRequest(user=user, role=role))
    fresh.call(methods.AUTH_ENABLE)
    alice = login(fresh, "alice")
    denied = Failure("UNKNOWN", "etcdserver: permission denied")
    assert fresh.attempt(methods.LOCK, LOCK(name=b"other"), alice) == denied
    assert fresh.attempt(methods.LEADER, LEADER(name=b"other"), alice) == denied
    held = fresh.call(methods.LOCK, LOCK(name=b"mine"), alice)
    if subject_kind == ETCD:
        return  # It releases without a token, in vain.
    waiting = fresh.attempt(methods.LOCK, LOCK(name=b"mine"), alice, timeout=0.5)
    assert isinstance(waiting, Failure)
    prefix = rpc_pb2.RangeRequest(key=b"mine/", range_end=b"mine0")
    wait_until(
        lambda: [kv.key for kv in fresh.call(methods.RANGE, prefix, alice).kvs] == [held.key],
        "the waiting key to go",
        WAIT_S,
    )


# Elections


def campaign(client: Client, name: bytes, value: bytes) -> v3election_pb2.CampaignResponse:
    """Stand with a lease of its own until elected."""
    request = CAMPAIGN(name=name, lease=grant(client), value=value)
    return client.call(methods.CAMPAIGN, request)


def resign(client: Client, leader: v3election_pb2.LeaderKey) -> None:
    """Give the leadership up."""
    client.call(methods.RESIGN, v3election_pb2.ResignRequest(leader=leader))


def test_the_life_of_a_leader(client: Client) -> None:
    won = campaign(client, b"life", b"one")
    assert won.leader.key == f"life/{won.leader.lease:x}".encode()
    assert won.leader.rev == won.header.revision
    assert client.call(methods.LEADER, LEADER(name=b"life")).kv.value == b"one"

    proclaim = v3election_pb2.ProclaimRequest(leader=won.leader, value=b"two")
    assert client.call(methods.PROCLAIM, proclaim).header.revision == won.leader.rev + 1
    found = client.call(methods.LEADER, LEADER(name=b"life")).kv
    assert (found.value, found.lease, found.version) == (b"two", won.leader.lease, 2)

    again = CAMPAIGN(name=b"life", lease=won.leader.lease, value=b"three")
    assert client.call(methods.CAMPAIGN, again).leader == won.leader
    assert client.call(methods.LEADER, LEADER(name=b"life")).kv.value == b"three"

    resign(client, won.leader)
    resign(client, won.leader)
    assert client.attempt(methods.PROCLAIM, proclaim) == Failure("UNKNOWN", "election: not leader")
    none = client.attempt(methods.LEADER, LEADER(name=b"life"))
    assert none == Failure("UNKNOWN", "election: no leader")


def test_the_next_candidate_follows(client: Client) -> None:
    first = campaign(client, b"next", b"one")
    waiting = begin(client, methods.CAMPAIGN, CAMPAIGN(name=b"next", value=b"two"))
    wait_for_keys(client, b"next", 2)
    assert not waiting.done()
    resign(client, first.leader)
    second = waiting.result()
    assert second.leader.rev > first.leader.rev
    assert client.call(methods.LEADER, LEADER(name=b"next")).kv.key == second.leader.key


def test_a_candidate_that_is_cancelled_is_gone(client: Client) -> None:
    first = campaign(client, b"withdraw", b"one")
    waiting = begin(client, methods.CAMPAIGN, CAMPAIGN(name=b"withdraw", value=b"two"))
    wait_for_keys(client, b"withdraw", 2)
    waiting.cancel()
    wait_for_keys(client, b"withdraw", 1)
    assert keys_below(client, b"withdraw") == [first.leader.key]


@contextmanager
def observing(client: Client, name: bytes) -> Iterator[Iterator[v3election_pb2.LeaderResponse]]:
    """The answers of an Observe stream."""
    call = client.channel.unary_stream(
        "/v3electionpb.Election/Observe",
        request_serializer=LEADER.SerializeToString,
        response_deserializer=v3election_pb2.LeaderResponse.FromString,
    )
    answers: Any = call(LEADER(name=name), timeout=WAIT_S)
    try:
        yield answers
    finally:
        answers.cancel()


def seen(answers: Iterator[v3election_pb2.LeaderResponse]) -> tuple[bytes, bytes]:
    """Key and value of the next leader that is observed."""
    pair: kv_pb2.KeyValue = next(answers).kv
    return pair.key, pair.value


def test_observers_see_leaders_and_what_they_proclaim(client: Client) -> None:
    first = campaign(client, b"watched", b"one")
    with observing(client, b"watched") as answers:
        assert seen(answers) == (first.leader.key, b"one")
        proclaim = v3election_pb2.ProclaimRequest(leader=first.leader, value=b"two")
        client.call(methods.PROCLAIM, proclaim)
        assert seen(answers) == (first.leader.key, b"two")
        waiting = begin(client, methods.CAMPAIGN, CAMPAIGN(name=b"watched", value=b"three"))
        wait_for_keys(client, b"watched", 2)
        resign(client, first.leader)
        assert seen(answers) == (waiting.result().leader.key, b"three")
        resign(client, waiting.result().leader)
        last = campaign(client, b"watched", b"four")
        assert seen(answers) == (last.leader.key, b"four")


def test_observers_wait_for_the_first_leader(client: Client) -> None:
    with observing(client, b"empty") as answers:
        won = campaign(client, b"empty", b"one")
        assert seen(answers) == (won.leader.key, b"one")
