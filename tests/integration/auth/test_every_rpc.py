"""Every method without, with wrong, with stale and with expired credentials, and without rights.

`expected` is what the caller with no rights of its own must get; the texts for bad credentials are
the same everywhere. What is not in the table fails `test_the_table_is_whole`.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from pykvd.pb import pykvd_pb2, v3election_pb2, v3lock_pb2
from pykvd.pb import rpc_pb2 as rpc
from tests.harness import PYKVD, Client, Failure, WatchStream, methods, running, wait_until
from tests.harness.methods import Method
from tests.harness.rpc import Metadata
from tests.integration.auth.accounts import (
    ANN,
    FLAGS,
    as_ann,
    as_root,
    change_password,
    enable_auth,
    log_in,
)
from tests.integration.auth.conftest import Guarded
from tests.integration.auth.served import served_paths

DENIED = Failure("PERMISSION_DENIED", "etcdserver: permission denied")
USER_EMPTY = Failure("INVALID_ARGUMENT", "etcdserver: user name is empty")
INVALID_TOKEN = Failure("UNAUTHENTICATED", "etcdserver: invalid auth token")
KEY = b"not-yours"
LEADER = v3election_pb2.LeaderKey(name=KEY, key=KEY + b"/1", rev=1, lease=1)

Outcome = Failure | None
Do = Callable[[Client, Metadata], Outcome]


@dataclass(frozen=True)
class Row:
    """A method; `expected` is what a user gets that has no rights for it (None: it is answered)."""

    path: str
    act: Do
    expected: Outcome = DENIED
    nobody: Outcome = USER_EMPTY
    bad_token: Outcome = INVALID_TOKEN


def unary(method: Method[Any, Any], request: Message | None = None, **rest: Any) -> Row:
    def act(client: Client, who: Metadata) -> Outcome:
        answer = client.attempt(method, request, who)
        return answer if isinstance(answer, Failure) else None

    return Row(method.path, act, **rest)


def made(path: str, request: Message, reply: type[Message], **rest: Any) -> Row:
    return unary(Method(path, type(request), reply), request, **rest)


def layered(row: Row) -> Row:
    """Locks and elections tell what their inner calls fail with as Unknown."""

    def unknown(outcome: Outcome) -> Outcome:
        return outcome and Failure("UNKNOWN", outcome.text)

    return Row(row.path, row.act, *map(unknown, (row.expected, row.nobody, row.bad_token)))


def streamed(path: str, start: Callable[[Client, Metadata], Iterator[Message]], **rest: Any) -> Row:
    def act(client: Client, who: Metadata) -> Outcome:
        try:
            next(start(client, who))
        except grpc.RpcError as error:
            return Failure.of(error)
        return None

    return Row(path, act, **rest)


def range_stream(client: Client, who: Metadata) -> Iterator[Message]:
    call = client.channel.unary_stream(
        "/etcdserverpb.KV/RangeStream",
        request_serializer=rpc.RangeRequest.SerializeToString,
        response_deserializer=rpc.RangeStreamResponse.FromString,
    )
    messages: Iterator[Message] = call(rpc.RangeRequest(key=KEY), timeout=20, metadata=who)
    return messages


def observe(client: Client, who: Metadata) -> Iterator[Message]:
    call = client.channel.unary_stream(
        "/v3electionpb.Election/Observe",
        request_serializer=v3election_pb2.LeaderRequest.SerializeToString,
        response_deserializer=v3election_pb2.LeaderResponse.FromString,
    )
    request = v3election_pb2.LeaderRequest(name=KEY)
    messages: Iterator[Message] = call(request, timeout=20, metadata=who)
    return messages


def watch(client: Client, who: Metadata) -> Outcome:
    """A refused watch has the status in its reason."""
    with WatchStream(client, who) as stream:
        reason = stream.create(rpc.WatchCreateRequest(key=KEY)).cancel_reason
    for failure in (DENIED, USER_EMPTY, INVALID_TOKEN):
        code = failure.code.title().replace("_", "")
        if reason == f"rpc error: code = {code} desc = {failure.text}":
            return failure
    assert not reason
    return None


NO_USER = Failure("FAILED_PRECONDITION", "etcdserver: user name not found")
TTL = rpc.LeaseTimeToLiveRequest(ID=1)
LOGIN = rpc.AuthenticateRequest(name=ANN, password="wrong")
FAILED = Failure(
    "INVALID_ARGUMENT", "etcdserver: authentication failed, invalid user ID or password"
)
TXN = rpc.TxnRequest(success=[rpc.RequestOp(request_put=rpc.PutRequest(key=KEY))])
NO_LEASE = Failure("NOT_FOUND", "etcdserver: requested lease not found")

ROWS = [
    unary(methods.RANGE, rpc.RangeRequest(key=KEY)),
    unary(methods.PUT, rpc.PutRequest(key=KEY)),
    unary(methods.DELETE, rpc.DeleteRangeRequest(key=KEY)),
    unary(methods.TXN, TXN),
    unary(methods.COMPACT, rpc.CompactionRequest(revision=1)),
    streamed("/etcdserverpb.KV/RangeStream", range_stream),
    Row("/etcdserverpb.Watch/Watch", watch),
    unary(methods.GRANT, rpc.LeaseGrantRequest(TTL=60), expected=None),
    unary(methods.REVOKE, rpc.LeaseRevokeRequest(ID=404), expected=NO_LEASE),
    unary(methods.TIME_TO_LIVE, TTL, expected=None),
    unary(methods.LEASES, expected=None),
    streamed(
        "/etcdserverpb.Lease/LeaseKeepAlive",
        lambda client, who: client.keep_alive([rpc.LeaseKeepAliveRequest(ID=404)], who),
        expected=None,
    ),
    unary(methods.MEMBER_ADD, rpc.MemberAddRequest(peerURLs=["http://127.0.0.1:1"])),
    unary(methods.MEMBER_REMOVE, rpc.MemberRemoveRequest(ID=404)),
    unary(methods.MEMBER_UPDATE, rpc.MemberUpdateRequest(ID=404)),
    unary(methods.MEMBER_PROMOTE, rpc.MemberPromoteRequest(ID=404)),
    unary(methods.MEMBER_LIST, expected=None),
    unary(methods.STATUS, expected=None),
    unary(methods.ALARM, rpc.AlarmRequest(), expected=None),
    unary(methods.ALARM, rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, alarm=rpc.NOSPACE)),
    unary(methods.ALARM, rpc.AlarmRequest(action=rpc.AlarmRequest.DEACTIVATE)),
    unary(methods.DEFRAGMENT),
    unary(methods.HASH),
    unary(methods.HASH_KV),
    streamed("/etcdserverpb.Maintenance/Snapshot", lambda client, who: client.snapshot(who)),
    unary(methods.MOVE_LEADER, rpc.MoveLeaderRequest(targetID=404)),
    unary(methods.DOWNGRADE, rpc.DowngradeRequest()),
    unary(methods.AUTH_ENABLE),
    unary(methods.AUTH_DISABLE),
    unary(methods.AUTH_STATUS),
    unary(methods.AUTHENTICATE, LOGIN, expected=FAILED, nobody=FAILED, bad_token=FAILED),
    unary(methods.USER_ADD, rpc.AuthUserAddRequest(name="x", password="p")),
    unary(methods.USER_GET, rpc.AuthUserGetRequest(name="root")),
    unary(methods.USER_LIST),
    unary(methods.USER_DELETE, rpc.AuthUserDeleteRequest(name=ANN)),
    unary(
        methods.USER_CHANGE_PASSWORD,
        rpc.AuthUserChangePasswordRequest(name=ANN, password="own"),
    ),
    unary(methods.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user=ANN, role="root")),
    unary(methods.USER_REVOKE_ROLE, rpc.AuthUserRevokeRoleRequest(name=ANN, role="app")),
    unary(methods.ROLE_ADD, rpc.AuthRoleAddRequest(name="x")),
    unary(methods.ROLE_GET, rpc.AuthRoleGetRequest(role="root")),
    unary(methods.ROLE_LIST),
    unary(methods.ROLE_DELETE, rpc.AuthRoleDeleteRequest(role="app")),
    unary(methods.ROLE_GRANT, rpc.AuthRoleGrantPermissionRequest(name="app")),
    unary(methods.ROLE_REVOKE, rpc.AuthRoleRevokePermissionRequest(role="app", key=b"shared")),
    layered(unary(methods.LOCK, v3lock_pb2.LockRequest(name=KEY))),
    layered(unary(methods.UNLOCK, v3lock_pb2.UnlockRequest(key=KEY))),
    layered(unary(methods.CAMPAIGN, v3election_pb2.CampaignRequest(name=KEY))),
    layered(unary(methods.PROCLAIM, v3election_pb2.ProclaimRequest(leader=LEADER))),
    layered(unary(methods.RESIGN, v3election_pb2.ResignRequest(leader=LEADER))),
    layered(unary(methods.LEADER, v3election_pb2.LeaderRequest(name=KEY))),
    layered(streamed("/v3electionpb.Election/Observe", observe)),
    made(
        "/pykvdpb.Timeline/RevisionAt",
        pykvd_pb2.RevisionAtRequest(time_ns=time.time_ns() * 2),
        pykvd_pb2.RevisionAtResponse,
        expected=None,
    ),
    made(
        "/pykvdpb.Timeline/Times", pykvd_pb2.TimesRequest(), pykvd_pb2.TimesResponse, expected=None
    ),
]
#: About the server itself, before any rights.
OPEN = {
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.health.v1.Health/List",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}


def name_of(row: Row) -> str:
    return row.path.rpartition("/")[2]


@pytest.fixture(scope="module")
def stale(guarded: Guarded) -> Metadata:
    """A token of a user whose password was changed since."""
    who = log_in(guarded.client, ANN, "pw-of-ann")
    change_password(guarded.client, ANN, "pw-of-ann", guarded.root)
    return who


@pytest.fixture(scope="module")
def expired() -> Iterator[tuple[Client, Metadata]]:
    """A server whose tokens live for a second, and one that nobody used in that time."""
    flags = (*FLAGS, "--auth-token-ttl=1")
    with running(PYKVD, flags) as server, Client(server.endpoint) as client:
        enable_auth(client)
        who = as_ann(client)
        over = time.monotonic() + 1.1
        wait_until(lambda: time.monotonic() > over, "a token to expire")
        yield client, who


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_without_credentials(guarded: Guarded, row: Row) -> None:
    assert row.act(guarded.client, ()) == row.nobody


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_with_a_wrong_token(guarded: Guarded, row: Row) -> None:
    for token in ("AAAAAAAAAAAAAAAA.1", "junk", ""):
        assert row.act(guarded.client, (("token", token),)) == row.bad_token, token


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_with_a_token_of_the_future(guarded: Guarded, row: Row) -> None:
    """It names an index of the log that is not there yet: judged all the same, in good time."""
    assert row.act(guarded.client, (("token", "AAAAAAAAAAAAAAAA.999999999"),)) == row.bad_token


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_with_a_stale_token(guarded: Guarded, stale: Metadata, row: Row) -> None:
    assert row.act(guarded.client, stale) == row.bad_token


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_with_an_expired_token(expired: tuple[Client, Metadata], row: Row) -> None:
    client, who = expired
    assert row.act(client, who) == row.bad_token


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_without_rights(guarded: Guarded, row: Row) -> None:
    who = log_in(guarded.client, ANN, "pw-of-ann")
    assert row.act(guarded.client, who) == row.expected


def test_refusals_changed_nothing(guarded: Guarded) -> None:
    client, root = guarded.client, as_root(guarded.client)
    assert client.call(methods.USER_LIST, None, root).users == ["ann", "root"]
    assert client.call(methods.ROLE_LIST, None, root).roles == ["app"]
    everything = rpc.RangeRequest(key=b"\x00", range_end=b"\x00", count_only=True)
    assert client.call(methods.RANGE, everything, root).count == 0
    assert client.call(methods.ALARM, rpc.AlarmRequest(), root).alarms == []


def test_what_users_may_know_of_themselves(guarded: Guarded) -> None:
    client = guarded.client
    ann = as_ann(client)
    assert client.call(methods.USER_GET, rpc.AuthUserGetRequest(name=ANN), ann).roles == ["app"]
    assert len(client.call(methods.ROLE_GET, rpc.AuthRoleGetRequest(role="app"), ann).perm) == 2
    other = rpc.AuthUserGetRequest(name="missing")
    assert client.attempt(methods.USER_GET, other, ann) == DENIED
    assert client.attempt(methods.USER_GET, other, guarded.root) == NO_USER


def test_locks_and_elections_in_ones_own_range(guarded: Guarded) -> None:
    """They are made of puts, ranges and a lease, all with the caller's rights."""
    client, ann = guarded.client, as_ann(guarded.client)
    lock = client.call(methods.LOCK, v3lock_pb2.LockRequest(name=b"app/lock"), ann)
    client.call(methods.UNLOCK, v3lock_pb2.UnlockRequest(key=lock.key), ann)
    campaign = v3election_pb2.CampaignRequest(name=b"app/vote", value=b"ann")
    leader = client.call(methods.CAMPAIGN, campaign, ann).leader
    observed = client.call(methods.LEADER, v3election_pb2.LeaderRequest(name=b"app/vote"), ann)
    assert observed.kv.value == b"ann"
    client.call(methods.RESIGN, v3election_pb2.ResignRequest(leader=leader), ann)


def test_health_needs_nobody(guarded: Guarded) -> None:
    for who in ((), (("token", "junk"),)):
        assert not isinstance(guarded.client.attempt(methods.HEALTH, None, who), Failure)


def test_the_table_is_whole() -> None:
    """Each method that is served stands in it: a new one has to say who may call it."""
    assert {row.path for row in ROWS} == served_paths() - OPEN
