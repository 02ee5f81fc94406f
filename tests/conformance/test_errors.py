"""Every error of the API that one node without auth can be brought to answer: code and text."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.message import Message

from pykvd.pb import auth_pb2, rpc_pb2, v3election_pb2, v3lock_pb2
from tests.harness import Client, Failure, Server, methods
from tests.harness.methods import Method
from tests.harness.rpc import Metadata

LEASE = 11
KEY = b"errors/key"
MISSING = b"errors/missing"
COMPACTED_REVISION = 6
MAX_REQUEST_BYTES = 1_572_864
GRPC_LIMIT = MAX_REQUEST_BYTES + 524_288
UNKNOWN_ENUM = 9


def invalid(text: str) -> Failure:
    return Failure("INVALID_ARGUMENT", f"etcdserver: {text}")


def precondition(text: str) -> Failure:
    return Failure("FAILED_PRECONDITION", f"etcdserver: {text}")


NO_KEY = invalid("key is not provided")
KEY_NOT_FOUND = invalid("key not found")
COMPACTED = Failure("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
FUTURE = Failure("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")
NO_LEASE = Failure("NOT_FOUND", "etcdserver: requested lease not found")
NO_MEMBER = Failure("NOT_FOUND", "etcdserver: member not found")
NO_SPACE = Failure("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
CORRUPT = Failure("DATA_LOSS", "etcdserver: corrupt cluster")
DUPLICATE = invalid("duplicate key given in txn request")
TOO_MANY = invalid("too many operations in txn request")
BAD_URLS = invalid("given member URLs are invalid")
NO_USER = precondition("user name not found")
NO_ROLE = precondition("role name not found")
BAD_MANAGEMENT = invalid("invalid auth management")
NO_LEADER_FIELD = Failure("UNKNOWN", '"leader" field must be provided')


@dataclass(frozen=True)
class Case:
    """One request and the status it must get."""

    name: str
    method: Method[Any, Any]
    request: Message
    expected: Failure
    metadata: Metadata = field(default=())


def op(request: Message | None = None) -> rpc_pb2.RequestOp:
    """A transaction's operation."""
    match request:
        case rpc_pb2.RangeRequest():
            return rpc_pb2.RequestOp(request_range=request)
        case rpc_pb2.PutRequest():
            return rpc_pb2.RequestOp(request_put=request)
        case rpc_pb2.DeleteRangeRequest():
            return rpc_pb2.RequestOp(request_delete_range=request)
        case rpc_pb2.TxnRequest():
            return rpc_pb2.RequestOp(request_txn=request)
    return rpc_pb2.RequestOp()


def txn(*success: rpc_pb2.RequestOp, **rest: Any) -> rpc_pb2.TxnRequest:
    """A transaction of these operations."""
    return rpc_pb2.TxnRequest(success=success, **rest)


PUT, RANGE, DELETE = rpc_pb2.PutRequest, rpc_pb2.RangeRequest, rpc_pb2.DeleteRangeRequest
READ = op(RANGE(key=KEY))
KV_CASES = [
    Case("range, empty key", methods.RANGE, RANGE(), NO_KEY),
    Case("put, empty key", methods.PUT, PUT(value=b"v"), NO_KEY),
    Case("delete, empty key", methods.DELETE, DELETE(), NO_KEY),
    Case("txn put, empty key", methods.TXN, txn(op(PUT())), NO_KEY),
    Case("txn compare, empty key", methods.TXN, txn(compare=[rpc_pb2.Compare()]), NO_KEY),
    Case("untaken branch is checked", methods.TXN, txn(failure=[op(DELETE())]), NO_KEY),
    Case("ignore_value, missing", methods.PUT, PUT(key=MISSING, ignore_value=True), KEY_NOT_FOUND),
    Case("ignore_lease, missing", methods.PUT, PUT(key=MISSING, ignore_lease=True), KEY_NOT_FOUND),
    Case("txn, no operation", methods.TXN, txn(op()), KEY_NOT_FOUND),
    Case(
        "ignore_value with value",
        methods.PUT,
        PUT(key=KEY, value=b"v", ignore_value=True),
        invalid("value is provided"),
    ),
    Case(
        "ignore_lease with lease",
        methods.PUT,
        PUT(key=KEY, lease=LEASE, ignore_lease=True),
        invalid("lease is provided"),
    ),
    Case("txn of 129", methods.TXN, txn(*[READ] * 129), TOO_MANY),
    Case(
        "129 compares",
        methods.TXN,
        txn(compare=[rpc_pb2.Compare(key=KEY, version=1)] * 129),
        TOO_MANY,
    ),
    Case("txn of 127 and one nested", methods.TXN, txn(*[READ] * 127, op(txn(READ))), TOO_MANY),
    Case("nested txn of 128", methods.TXN, txn(op(txn(*[READ] * 128))), TOO_MANY),
    Case("put twice", methods.TXN, txn(op(PUT(key=b"k")), op(PUT(key=b"k"))), DUPLICATE),
    Case(
        "put and delete",
        methods.TXN,
        txn(op(PUT(key=b"k")), op(DELETE(key=b"a", range_end=b"z"))),
        DUPLICATE,
    ),
    Case(
        "outer put, nested put",
        methods.TXN,
        txn(op(PUT(key=b"k")), op(txn(failure=[op(PUT(key=b"k"))]))),
        DUPLICATE,
    ),
    Case(
        "nested delete, then nested put",
        methods.TXN,
        txn(op(txn(op(DELETE(key=b"k")))), op(txn(op(PUT(key=b"k"))))),
        DUPLICATE,
    ),
    Case(
        "unknown sort order",
        methods.RANGE,
        RANGE(key=KEY, sort_order=UNKNOWN_ENUM),  # type: ignore[arg-type]  # not in the enum
        invalid("invalid sort option"),
    ),
    Case(
        "unknown sort target",
        methods.RANGE,
        RANGE(key=KEY, sort_target=UNKNOWN_ENUM),  # type: ignore[arg-type]  # not in the enum
        invalid("invalid sort option"),
    ),
    Case("range, compacted", methods.RANGE, RANGE(key=KEY, revision=2), COMPACTED),
    Case("txn range, compacted", methods.TXN, txn(op(RANGE(key=KEY, revision=2))), COMPACTED),
    Case("txn range, negative", methods.TXN, txn(op(RANGE(key=KEY, revision=-1))), COMPACTED),
    Case("hash, compacted", methods.HASH_KV, rpc_pb2.HashKVRequest(revision=2), COMPACTED),
    Case(
        "compact again",
        methods.COMPACT,
        rpc_pb2.CompactionRequest(revision=COMPACTED_REVISION),
        COMPACTED,
    ),
    Case("range, future", methods.RANGE, RANGE(key=KEY, revision=1 << 40), FUTURE),
    Case("txn range, future", methods.TXN, txn(op(RANGE(key=KEY, revision=1 << 40))), FUTURE),
    Case("hash, future", methods.HASH_KV, rpc_pb2.HashKVRequest(revision=1 << 40), FUTURE),
    Case("compact, future", methods.COMPACT, rpc_pb2.CompactionRequest(revision=1 << 40), FUTURE),
    Case("put, unknown lease", methods.PUT, PUT(key=KEY, lease=404), NO_LEASE),
    Case("missing key, unknown lease", methods.PUT, PUT(key=MISSING, lease=404), NO_LEASE),
    Case("txn put, unknown lease", methods.TXN, txn(op(PUT(key=KEY, lease=404))), NO_LEASE),
    Case(
        "request too large",
        methods.PUT,
        PUT(key=KEY, value=bytes(MAX_REQUEST_BYTES)),
        invalid("request is too large"),
    ),
]
LEASE_CASES = [
    Case("revoke, unknown", methods.REVOKE, rpc_pb2.LeaseRevokeRequest(ID=404), NO_LEASE),
    Case("revoke, zero", methods.REVOKE, rpc_pb2.LeaseRevokeRequest(), NO_LEASE),
    Case(
        "grant again",
        methods.GRANT,
        rpc_pb2.LeaseGrantRequest(ID=LEASE, TTL=60),
        precondition("lease already exists"),
    ),
    Case(
        "grant, too long",
        methods.GRANT,
        rpc_pb2.LeaseGrantRequest(ID=12, TTL=9_000_000_001),
        Failure("OUT_OF_RANGE", "etcdserver: too large lease TTL"),
    ),
]
CLUSTER_CASES = [
    Case("add, no URL", methods.MEMBER_ADD, rpc_pb2.MemberAddRequest(), BAD_URLS),
    Case(
        "add, path",
        methods.MEMBER_ADD,
        rpc_pb2.MemberAddRequest(peerURLs=["http://h:1/p"]),
        BAD_URLS,
    ),
    Case(
        "add, no port",
        methods.MEMBER_ADD,
        rpc_pb2.MemberAddRequest(peerURLs=["http://h"]),
        BAD_URLS,
    ),
    Case(
        "add, scheme",
        methods.MEMBER_ADD,
        rpc_pb2.MemberAddRequest(peerURLs=["ftp://h:1"]),
        BAD_URLS,
    ),
    Case("remove, unknown", methods.MEMBER_REMOVE, rpc_pb2.MemberRemoveRequest(ID=404), NO_MEMBER),
    Case(
        "promote, unknown", methods.MEMBER_PROMOTE, rpc_pb2.MemberPromoteRequest(ID=404), NO_MEMBER
    ),
    Case(
        "update, unknown",
        methods.MEMBER_UPDATE,
        rpc_pb2.MemberUpdateRequest(ID=404, peerURLs=["http://h:1"]),
        NO_MEMBER,
    ),
    Case(
        "move to unknown",
        methods.MOVE_LEADER,
        rpc_pb2.MoveLeaderRequest(targetID=404),
        precondition("bad leader transferee"),
    ),
]
DOWNGRADE = rpc_pb2.DowngradeRequest
MAINTENANCE_CASES = [
    Case(
        "downgrade, no version",
        methods.DOWNGRADE,
        DOWNGRADE(action=DOWNGRADE.VALIDATE, version="abc"),
        invalid("wrong downgrade target version format"),
    ),
    Case(
        "downgrade by two",
        methods.DOWNGRADE,
        DOWNGRADE(action=DOWNGRADE.VALIDATE, version="3.4.0"),
        invalid("invalid downgrade target version"),
    ),
    Case(
        "downgrade, unknown action",
        methods.DOWNGRADE,
        DOWNGRADE(action=UNKNOWN_ENUM, version="3.5"),  # type: ignore[arg-type]  # not in the enum
        Failure("UNKNOWN", "etcdserver: unknown method"),
    ),
]
AUTH_CASES = [
    Case(
        "enable without root",
        methods.AUTH_ENABLE,
        rpc_pb2.AuthEnableRequest(),
        precondition("root user does not exist"),
    ),
    Case(
        "authenticate, auth off",
        methods.AUTHENTICATE,
        rpc_pb2.AuthenticateRequest(name="u", password="p"),
        precondition("authentication is not enabled"),
    ),
    Case(
        "user exists",
        methods.USER_ADD,
        rpc_pb2.AuthUserAddRequest(name="u", password="p"),
        precondition("user name already exists"),
    ),
    Case(
        "user without name",
        methods.USER_ADD,
        rpc_pb2.AuthUserAddRequest(password="p"),
        invalid("user name is empty"),
    ),
    Case(
        "password of 73 bytes",
        methods.USER_ADD,
        rpc_pb2.AuthUserAddRequest(name="long", password="p" * 73),
        Failure("UNKNOWN", "bcrypt: password length exceeds 72 bytes"),
    ),
    Case("unknown user", methods.USER_GET, rpc_pb2.AuthUserGetRequest(name="x"), NO_USER),
    Case(
        "grant, unknown role",
        methods.USER_GRANT_ROLE,
        rpc_pb2.AuthUserGrantRoleRequest(user="u", role="x"),
        NO_ROLE,
    ),
    Case(
        "role exists",
        methods.ROLE_ADD,
        rpc_pb2.AuthRoleAddRequest(name="r"),
        precondition("role name already exists"),
    ),
    Case(
        "role without name",
        methods.ROLE_ADD,
        rpc_pb2.AuthRoleAddRequest(),
        invalid("role name is empty"),
    ),
    Case("unknown role", methods.ROLE_GET, rpc_pb2.AuthRoleGetRequest(role="x"), NO_ROLE),
    Case(
        "no permission given",
        methods.ROLE_GRANT,
        rpc_pb2.AuthRoleGrantPermissionRequest(name="r"),
        invalid("permission not given"),
    ),
    Case(
        "permission without key",
        methods.ROLE_GRANT,
        rpc_pb2.AuthRoleGrantPermissionRequest(name="r", perm=auth_pb2.Permission()),
        BAD_MANAGEMENT,
    ),
    Case(
        "permission, inverted",
        methods.ROLE_GRANT,
        rpc_pb2.AuthRoleGrantPermissionRequest(
            name="r", perm=auth_pb2.Permission(key=b"b", range_end=b"a")
        ),
        BAD_MANAGEMENT,
    ),
    Case(
        "role not granted",
        methods.USER_REVOKE_ROLE,
        rpc_pb2.AuthUserRevokeRoleRequest(name="u", role="r"),
        precondition("role is not granted to the user"),
    ),
    Case(
        "permission not granted",
        methods.ROLE_REVOKE,
        rpc_pb2.AuthRoleRevokePermissionRequest(role="r", key=b"k"),
        precondition("permission is not granted to the role"),
    ),
]
CONCURRENCY_CASES = [
    Case(
        "lock, unknown lease",
        methods.LOCK,
        v3lock_pb2.LockRequest(name=b"lock", lease=404),
        Failure("UNKNOWN", NO_LEASE.text),
    ),
    Case(
        "unlock, no key",
        methods.UNLOCK,
        v3lock_pb2.UnlockRequest(),
        Failure("UNKNOWN", NO_KEY.text),
    ),
    Case(
        "campaign, unknown lease",
        methods.CAMPAIGN,
        v3election_pb2.CampaignRequest(name=b"vote", lease=404),
        Failure("UNKNOWN", NO_LEASE.text),
    ),
    Case(
        "no leader elected",
        methods.LEADER,
        v3election_pb2.LeaderRequest(name=b"nobody"),
        Failure("UNKNOWN", "election: no leader"),
    ),
    Case(
        "proclaim, no leader", methods.PROCLAIM, v3election_pb2.ProclaimRequest(), NO_LEADER_FIELD
    ),
    Case("resign, no leader", methods.RESIGN, v3election_pb2.ResignRequest(), NO_LEADER_FIELD),
    Case(
        "proclaim, not leader",
        methods.PROCLAIM,
        v3election_pb2.ProclaimRequest(
            leader=v3election_pb2.LeaderKey(name=b"vote", key=b"vote/1", rev=1)
        ),
        Failure("UNKNOWN", "election: not leader"),
    ),
]
CASES = [
    *KV_CASES,
    *LEASE_CASES,
    *CLUSTER_CASES,
    *MAINTENANCE_CASES,
]


@pytest.fixture(scope="module")
def prepared(server: Server) -> str:
    """The shared server with a compaction at revision 6 and a lease."""
    with Client(server.endpoint) as client:
        for _ in range(7):
            client.call(methods.PUT, PUT(key=KEY, value=b"v"))
        compaction = rpc_pb2.CompactionRequest(revision=COMPACTED_REVISION, physical=True)
        client.call(methods.COMPACT, compaction)
        client.call(methods.GRANT, rpc_pb2.LeaseGrantRequest(ID=LEASE, TTL=600))
    return server.endpoint


@pytest.fixture(scope="module")
def with_users(prepared: str) -> str:
    """The prepared server with a user `u` and a role `r`, auth off."""
    with Client(prepared) as client:
        client.call(methods.USER_ADD, rpc_pb2.AuthUserAddRequest(name="u", password="p"))
        client.call(methods.ROLE_ADD, rpc_pb2.AuthRoleAddRequest(name="r"))
    return prepared


def refused(endpoint: str, case: Case) -> None:
    with Client(endpoint) as client:
        before = client.call(methods.RANGE, RANGE(key=KEY)).header.revision
        assert client.attempt(case.method, case.request) == case.expected
        assert client.call(methods.RANGE, RANGE(key=KEY)).header.revision == before


def name_of(case: Case) -> str:
    return case.name.replace(",", "").replace(" ", "-")


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_refusals_change_nothing(prepared: str, case: Case) -> None:
    refused(prepared, case)


@pytest.mark.parametrize("case", CONCURRENCY_CASES, ids=name_of)
def test_refused_locks_and_campaigns(prepared: str, case: Case) -> None:
    refused(prepared, case)


@pytest.mark.parametrize("case", AUTH_CASES, ids=name_of)
def test_refused_auth_management(with_users: str, case: Case) -> None:
    refused(with_users, case)


def test_a_message_beyond_the_grpc_limit(prepared: str) -> None:
    with Client(prepared) as client:
        request = PUT(key=KEY, value=bytes(GRPC_LIMIT))
        size = request.ByteSize()
        expected = f"grpc: received message larger than max ({size} vs. {GRPC_LIMIT})"
        assert client.attempt(methods.PUT, request) == Failure("RESOURCE_EXHAUSTED", expected)


def test_unknown_methods_and_services(prepared: str) -> None:
    with Client(prepared) as client:
        method = Method("/etcdserverpb.KV/Nope", RANGE, rpc_pb2.RangeResponse)
        text = "unknown method Nope for service etcdserverpb.KV"
        assert client.attempt(method) == Failure("UNIMPLEMENTED", text)
        service = Method("/etcdserverpb.Nope/Range", RANGE, rpc_pb2.RangeResponse)
        text = "unknown service etcdserverpb.Nope"
        assert client.attempt(service) == Failure("UNIMPLEMENTED", text)


def test_enabling_auth_needs_the_root_role(fresh: Client) -> None:
    fresh.call(methods.USER_ADD, rpc_pb2.AuthUserAddRequest(name="root", password="p"))
    expected = precondition("root user does not have root role")
    assert fresh.attempt(methods.AUTH_ENABLE) == expected


def test_membership_of_one(fresh: Client) -> None:
    [member] = fresh.call(methods.MEMBER_LIST).members
    add = rpc_pb2.MemberAddRequest(peerURLs=list(member.peerURLs))
    assert fresh.attempt(methods.MEMBER_ADD, add) == precondition("Peer URLs already exists")
    promote = rpc_pb2.MemberPromoteRequest(ID=member.ID)
    expected = precondition("can only promote a learner member")
    assert fresh.attempt(methods.MEMBER_PROMOTE, promote) == expected


def test_a_learner_that_never_started(fresh: Client) -> None:
    add = rpc_pb2.MemberAddRequest(peerURLs=["http://127.0.0.1:9"], isLearner=True)
    learner = fresh.call(methods.MEMBER_ADD, add).member
    assert (learner.name, learner.isLearner) == ("", True)
    promote = rpc_pb2.MemberPromoteRequest(ID=learner.ID)
    expected = precondition("can only promote a learner member which is in sync with leader")
    assert fresh.attempt(methods.MEMBER_PROMOTE, promote) == expected
    another = rpc_pb2.MemberAddRequest(peerURLs=["http://127.0.0.1:10"], isLearner=True)
    expected = precondition("too many learner members in cluster")
    assert fresh.attempt(methods.MEMBER_ADD, another) == expected
    move = rpc_pb2.MoveLeaderRequest(targetID=learner.ID)
    assert fresh.attempt(methods.MOVE_LEADER, move) == precondition("bad leader transferee")
    removal = rpc_pb2.MemberRemoveRequest(ID=learner.ID)
    assert len(fresh.call(methods.MEMBER_REMOVE, removal).members) == 1
    assert fresh.attempt(methods.MEMBER_REMOVE, removal) == NO_MEMBER


def alarm(
    kind: rpc_pb2.AlarmType, action: rpc_pb2.AlarmRequest.AlarmAction
) -> rpc_pb2.AlarmRequest:
    return rpc_pb2.AlarmRequest(action=action, alarm=kind, memberID=42)


NESTED_PUT = txn(op(txn(failure=[op(PUT(key=KEY))])))
UNTAKEN_PUT = txn(op(RANGE(key=KEY)), failure=[op(PUT(key=KEY))])
WRITES: list[tuple[Method[Any, Any], Message, Failure | None]] = [
    (methods.PUT, PUT(key=KEY), NO_SPACE),
    (methods.TXN, UNTAKEN_PUT, NO_SPACE),
    (methods.TXN, NESTED_PUT, NO_SPACE),
    (methods.GRANT, rpc_pb2.LeaseGrantRequest(ID=99, TTL=60), NO_SPACE),
    (methods.DELETE, DELETE(key=MISSING), None),
    (methods.TXN, txn(op(DELETE(key=MISSING))), None),
    (methods.REVOKE, rpc_pb2.LeaseRevokeRequest(ID=404), NO_LEASE),
    (methods.COMPACT, rpc_pb2.CompactionRequest(revision=1 << 40), FUTURE),
]
READS: list[tuple[Method[Any, Any], Message]] = [
    (methods.RANGE, RANGE(key=KEY)),
    (methods.RANGE, RANGE(key=KEY, serializable=True)),
    (methods.TXN, txn(op(RANGE(key=KEY)))),
    (methods.HASH_KV, rpc_pb2.HashKVRequest()),
    (methods.STATUS, rpc_pb2.StatusRequest()),
    (methods.MEMBER_LIST, rpc_pb2.MemberListRequest()),
]


def test_under_alarm(fresh: Client) -> None:
    request = rpc_pb2.AlarmRequest
    for kind in (rpc_pb2.NOSPACE, rpc_pb2.CORRUPT):
        raised = fresh.call(methods.ALARM, alarm(kind, request.ACTIVATE)).alarms
        assert list(raised) == [rpc_pb2.AlarmMember(memberID=42, alarm=kind)]
        for method, body, without_space in WRITES:
            expected = without_space
            if kind == rpc_pb2.CORRUPT:
                code = "UNKNOWN" if method is methods.LOCK else "DATA_LOSS"
                expected = Failure(code, CORRUPT.text)
            answer = fresh.attempt(method, body)
            assert (answer if isinstance(answer, Failure) else None) == expected, (kind, body)
        for method, body in READS:
            assert not isinstance(fresh.attempt(method, body), Failure), (kind, body)
        assert len(fresh.call(methods.STATUS).errors) == 1
        gone = fresh.call(methods.ALARM, alarm(kind, request.DEACTIVATE)).alarms
        assert list(gone) == list(raised)
        assert not isinstance(fresh.attempt(methods.PUT, PUT(key=KEY)), Failure)
