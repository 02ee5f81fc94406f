"""Auth on three members: one state, good tokens everywhere, nothing lost by restarts."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import Client, Failure, WatchStream, methods, wait_until
from tests.harness.rpc import Metadata
from tests.integration.auth.accounts import (
    ANN,
    FLAGS,
    OWN,
    READWRITE,
    add_user,
    as_ann,
    as_root,
    change_password,
    enable_auth,
    grant,
    grant_role,
    log_in,
)
from tests.integration.cluster.cluster import QUICK, Cluster, Member, clustered
from tests.integration.cluster.requests import UNHEALTHY

INVALID_TOKEN = Failure("UNAUTHENTICATED", "etcdserver: invalid auth token")
DENIED = Failure("PERMISSION_DENIED", "etcdserver: permission denied")


@pytest.fixture
def three() -> Iterator[Cluster]:
    """Three members, auth off."""
    with clustered(flags=(*QUICK, *FLAGS)) as cluster:
        cluster.start()
        yield cluster


def leader_and_followers(cluster: Cluster) -> tuple[Member, list[Member]]:
    """As `Cluster.leader`, which needs no credentials while auth is off."""
    leader = cluster.leader()
    return leader, [member for member in cluster if member is not leader]


def attempt_put(member: Member, who: Metadata, key: bytes = OWN) -> Failure | None:
    with Client(member.endpoint) as client:
        answer = client.attempt(methods.PUT, rpc.PutRequest(key=key, value=b"v"), who)
    return answer if isinstance(answer, Failure) else None


def auth_state(member: Member) -> dict[str, object]:
    """All that a member says of users and roles."""
    with Client(member.endpoint) as client:
        root = as_root(client)
        status = client.call(methods.AUTH_STATUS, None, root)
        users = client.call(methods.USER_LIST, None, root).users
        roles = client.call(methods.ROLE_LIST, None, root).roles
        return {
            "status": (status.enabled, status.authRevision),
            "users": {
                name: list(
                    client.call(methods.USER_GET, rpc.AuthUserGetRequest(name=name), root).roles
                )
                for name in users
            },
            "roles": {
                name: str(
                    client.call(methods.ROLE_GET, rpc.AuthRoleGetRequest(role=name), root).perm
                )
                for name in roles
            },
        }


def hashes(cluster: Cluster) -> set[tuple[int, int]]:
    found = set()
    for member in cluster:
        with Client(member.endpoint) as client:
            reply = client.call(methods.HASH_KV, None, as_root(client))
            found.add((reply.header.revision, reply.hash))
    return found


def wait_equal(cluster: Cluster) -> None:
    wait_until(lambda: len(hashes(cluster)) == 1, "equal hashes")


def test_a_login_on_one_member_is_good_on_all(three: Cluster) -> None:
    leader, followers = leader_and_followers(three)
    with Client(followers[0].endpoint) as client:
        enable_auth(client)
    for entry in three:
        with Client(entry.endpoint) as client:
            ann = as_ann(client)
        # At once: whoever has not applied the login yet waits for it.
        for member in three:
            assert attempt_put(member, ann) is None
            assert attempt_put(member, ann, b"other") == DENIED
    assert len({str(auth_state(member)) for member in three}) == 1
    assert leader in three


def test_a_member_that_lags_waits_for_the_login(three: Cluster) -> None:
    """Asked while it sleeps, it wakes with the request before it and the login still to apply."""
    leader, followers = leader_and_followers(three)
    sleeper = followers[0]
    with Client(leader.endpoint) as client, Client(sleeper.endpoint) as late:
        enable_auth(client)
        ask = late.channel.unary_unary(
            methods.PUT.path,
            request_serializer=methods.PUT.request.SerializeToString,
            response_deserializer=methods.PUT.reply.FromString,
        )
        request = rpc.PutRequest(key=OWN)
        for _ in range(5):
            ask(request, timeout=20, metadata=as_ann(client))
            with paused(sleeper):
                ann = as_ann(client)
                answer = ask.future(request, timeout=20, metadata=ann)
                watch = WatchStream(late, ann)
                watch.send(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=OWN)))
            assert answer.result().header.revision > 1
            with watch:
                watch.wait(lambda: bool(watch.responses), "an answer to the watch")  # noqa: B023
                assert not watch.responses[0].canceled, watch.responses[0].cancel_reason


@contextmanager
def paused(member: Member) -> Iterator[None]:
    """The member's process does not run meanwhile."""
    member.pause()
    try:
        yield
    finally:
        member.resume()


def test_a_changed_password_ends_tokens_everywhere(three: Cluster) -> None:
    leader, followers = leader_and_followers(three)
    with Client(leader.endpoint) as client:
        enable_auth(client)
        ann = as_ann(client)
        for member in three:
            assert attempt_put(member, ann) is None
        change_password(client, ANN, "another", as_root(client))
    for member in three:
        wait_until(
            lambda member=member: attempt_put(member, ann) == INVALID_TOKEN,  # type: ignore[misc]
            "the token to be none",
        )
    with Client(followers[0].endpoint) as client:
        assert attempt_put(followers[1], log_in(client, ANN, "another")) is None


class Writers:
    """Threads that put through each member, with credentials as soon as they are needed."""

    def __init__(self, cluster: Cluster) -> None:
        self.written = 0
        self.refused: set[str] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(each,)) for each in cluster]
        for thread in self._threads:
            thread.start()

    def _run(self, member: Member) -> None:
        with Client(member.endpoint) as client:
            who: Metadata = ()
            number = 0
            while not self._stop.is_set():
                number += 1
                key = OWN + f"{member.name}/{number % 50}".encode()
                answer = client.attempt(methods.PUT, rpc.PutRequest(key=key, value=b"v"), who)
                if not isinstance(answer, Failure):
                    self.written += 1
                    continue
                self.refused.add(answer.text)
                try:
                    who = as_ann(client)
                except grpc.RpcError:
                    who = ()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_auth_goes_on_and_off_under_writes(three: Cluster) -> None:
    """etcd-io/etcd#14571: members that restarted after auth was enabled diverged."""
    leader, followers = leader_and_followers(three)
    writers = Writers(three)
    try:
        with Client(leader.endpoint) as client:
            enable_auth(client)
            for turn in range(3):
                root = as_root(client)
                before = writers.written
                wait_until(lambda before=before: writers.written > before + 30, "writes")  # type: ignore[misc]
                add_user(client, f"u{turn}", "p", root)
                client.call(methods.ROLE_ADD, rpc.AuthRoleAddRequest(name=f"r{turn}"), root)
                grant(client, f"r{turn}", READWRITE, b"%d" % turn, b"", root)
                grant_role(client, f"u{turn}", f"r{turn}", root)
                client.call(methods.AUTH_DISABLE, None, root)
                client.call(methods.AUTH_ENABLE)
        for member in (followers[0], leader):
            member.kill()
            member.start()
    finally:
        writers.stop()
    wait_equal(three)
    assert len({str(auth_state(member)) for member in three}) == 1
    for member in three:
        member.stop()
    three.start()
    wait_equal(three)
    states = [auth_state(member) for member in three]
    assert states[0] == states[1] == states[2]
    assert states[0]["status"][0] is True  # type: ignore[index]
    assert set(states[0]["users"]) == {"root", ANN, "u0", "u1", "u2"}  # type: ignore[call-overload]


def test_a_new_member_learns_users_and_roles_by_snapshot(three: Cluster) -> None:
    leader, _ = leader_and_followers(three)
    with Client(leader.endpoint) as client:
        enable_auth(client)
        newcomer = three.newcomer("n4")
        request = rpc.MemberAddRequest(peerURLs=[newcomer.peer_url])
        root = as_root(client)

        def added() -> bool:
            answer = client.attempt(methods.MEMBER_ADD, request, root)
            assert not isinstance(answer, Failure) or answer == UNHEALTHY
            return not isinstance(answer, Failure)

        wait_until(added, "the others to be connected for long enough")
    newcomer.start()
    with Client(newcomer.endpoint) as client:
        assert attempt_put(newcomer, as_ann(client)) is None
        assert attempt_put(newcomer, as_ann(client), b"other") == DENIED
    assert auth_state(newcomer) == auth_state(leader)


def test_leases_end_although_auth_is_on(three: Cluster) -> None:
    """Nobody's credentials stand behind an expiry."""
    leader, followers = leader_and_followers(three)
    with Client(leader.endpoint) as client:
        enable_auth(client)
        root = as_root(client)
        lease = client.call(methods.GRANT, rpc.LeaseGrantRequest(TTL=1), root).ID
        client.call(methods.PUT, rpc.PutRequest(key=b"on-lease", lease=lease), root)
    with Client(followers[0].endpoint) as client:
        root = as_root(client)
        request = rpc.RangeRequest(key=b"on-lease")

        def gone() -> bool:
            return not client.call(methods.RANGE, request, root).kvs

        wait_until(gone, "the lease to end")
