"""Rights of whole requests: every leaf counts, wherever it stands, and nothing else does."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.auth.identity import Identity
from pykvd.auth.intervals import IntervalSet
from pykvd.auth.store import AuthStore
from pykvd.errors import RpcError
from pykvd.lease.lessor import Lessor
from pykvd.node.permissions import Permissions
from pykvd.pb import rpc_pb2 as rpc
from pykvd.pb.auth_pb2 import Permission
from tests.unit.node.histories import ops, txns

READ, WRITE = Permission.READ, Permission.WRITE
#: What a request needs: a kind, and a range.
Need = tuple[int, bytes, bytes]
Granted = list[tuple[int, bytes, bytes]]

RANGES = ((b"a", b""), (b"a", b"b"), (b"ab", b"c"), (b"b", b""), (b"c", b""), (b"a", b"\x00"))
granted_lists = st.lists(
    st.tuples(st.sampled_from((READ, WRITE, Permission.READWRITE)), st.sampled_from(RANGES)).map(
        lambda each: (each[0], *each[1])
    ),
    max_size=5,
)
#: Whole ones, and single operations: in those nothing else hides what is not looked at.
requests = st.one_of(
    txns(2),
    ops(0).map(lambda op: rpc.TxnRequest(success=[op])),
    ops(1).map(lambda op: rpc.TxnRequest(failure=[op])),
)
LEASE_KEYS = {7: {b"a"}, -8: {b"b", b"c"}, 9: set[bytes]()}


def needs(request: rpc.TxnRequest) -> Iterator[Need]:
    """Every right that a transaction takes, by the words of the API's reference."""
    for compare in request.compare:
        yield READ, compare.key, compare.range_end
    for op in (*request.success, *request.failure):
        if op.HasField("request_range"):
            yield READ, op.request_range.key, op.request_range.range_end
        elif op.HasField("request_put"):
            yield from _put_needs(op.request_put)
        elif op.HasField("request_delete_range"):
            delete = op.request_delete_range
            yield WRITE, delete.key, delete.range_end
            if delete.prev_kv:
                yield READ, delete.key, delete.range_end
        else:
            yield from needs(op.request_txn)


def _put_needs(put: rpc.PutRequest) -> Iterator[Need]:
    yield WRITE, put.key, b""
    if put.prev_kv:
        yield READ, put.key, b""
    for key in LEASE_KEYS.get(put.lease, ()):
        yield WRITE, key, b""


def permissions(granted: Granted) -> tuple[Permissions, AuthStore, Identity]:
    """A user `u` with these grants, and root; auth is on."""
    store = AuthStore(lambda _table, _key, _value: None)
    store.add_user("root", "", no_password=False)
    store.grant_role("root", "root")
    store.add_user("u", "", no_password=False)
    for number, (kind, key, range_end) in enumerate(granted):
        # A role each: they are a union.
        store.add_role(f"r{number}")
        permission = Permission(permType=kind, key=key, range_end=range_end)  # type: ignore[arg-type]
        store.grant_permission(f"r{number}", permission)
        store.grant_role("u", f"r{number}")
    store.enable()
    lessor = Lessor()
    for lease_id, keys in LEASE_KEYS.items():
        lessor.grant(lease_id, 60, 0.0)
        for key in keys:
            lessor.attach(lease_id, key)
    return Permissions(store, lessor), store, Identity("u", store.revision)


def allowed(check: object, *args: object) -> bool:
    try:
        check(*args)  # type: ignore[operator]
    except RpcError as error:
        if error.message != "etcdserver: permission denied":
            raise
        return False
    return True


def sets_of(granted: Granted) -> dict[int, IntervalSet]:
    return {
        kind: IntervalSet(
            (key, end) for each, key, end in granted if each in (kind, Permission.READWRITE)
        )
        for kind in (READ, WRITE)
    }


@settings(max_examples=400, deadline=None)
@given(granted=granted_lists, request=requests)
def test_a_transaction_is_as_allowed_as_its_worst_leaf(
    granted: Granted, request: rpc.TxnRequest
) -> None:
    checks, _, caller = permissions(granted)
    sets = sets_of(granted)
    expected = all(sets[kind].covers(key, end) for kind, key, end in needs(request))
    assert allowed(checks.check_txn, caller, request) == expected


puts = st.builds(
    rpc.PutRequest,
    key=st.sampled_from((b"a", b"ab", b"b", b"c")),
    lease=st.sampled_from((0, *LEASE_KEYS)),
    prev_kv=st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(granted=granted_lists, put=puts)
def test_a_put_needs_its_key_its_lease_and_its_past(granted: Granted, put: rpc.PutRequest) -> None:
    checks, _, caller = permissions(granted)
    sets = sets_of(granted)
    expected = all(sets[kind].covers(key, end) for kind, key, end in _put_needs(put))
    assert allowed(checks.check_put, caller, put) == expected


@settings(max_examples=100, deadline=None)
@given(request=txns(2))
def test_root_may_do_everything_and_nobody_nothing(request: rpc.TxnRequest) -> None:
    checks, store, _ = permissions([])
    checks.check_txn(Identity("root", store.revision), request)
    if any(True for _ in needs(request)):
        with pytest.raises(RpcError, match="user name is empty"):
            checks.check_txn(None, request)
    else:
        checks.check_txn(None, request)


def test_leases() -> None:
    checks, store, caller = permissions([(WRITE, b"a", b""), (READ, b"b", b"c\x00")])
    checks.check_lease_writes(caller, 7)
    checks.check_lease_writes(caller, 9)
    checks.check_lease_writes(caller, 404)
    assert not allowed(checks.check_lease_writes, caller, -8)
    checks.check_lease_reads(caller, [-8, 9, 404])
    assert not allowed(checks.check_lease_reads, caller, [7])
    assert not allowed(checks.check_reads, caller, [b"b", b"a"])
    root = Identity("root", store.revision)
    checks.check_lease_writes(root, -8)
    checks.check_lease_reads(root, LEASE_KEYS)
    revoke = rpc.LeaseRevokeRequest(ID=-8)
    assert not allowed(checks.check_revoke, caller, revoke)


steps = st.lists(
    st.tuples(
        st.sampled_from(("attach", "detach", "check")),
        st.sampled_from(("u", "v")),
        st.sampled_from((b"a", b"b", b"c")),
    ),
    max_size=20,
)


@settings(max_examples=300, deadline=None)
@given(granted=granted_lists, steps=steps)
def test_keys_of_a_lease_that_come_and_go(
    granted: Granted, steps: list[tuple[str, str, bytes]]
) -> None:
    """What was looked at before is remembered of the right user, and of no other key."""
    checks, store, _ = permissions(granted)
    store.add_user("v", "", no_password=False)
    store.add_role("all")
    store.grant_permission("all", Permission(permType=WRITE, key=b"a", range_end=b"\x00"))
    store.grant_role("v", "all")
    lessor, held = checks.lessor, set(LEASE_KEYS[7])
    allowed_to_u = sets_of(granted)[WRITE]
    for step, user, key in steps:
        if step == "attach":
            lessor.attach(7, key)
            held.add(key)
        elif step == "detach":
            lessor.detach(7, key)
            held.discard(key)
        else:
            caller = Identity(user, store.revision)
            expected = user == "v" or all(map(allowed_to_u.covers, held))
            assert allowed(checks.check_lease_writes, caller, 7) == expected


def test_a_lease_of_many_keys_is_looked_at_once() -> None:
    checks, _, caller = permissions([(WRITE, b"a", b"c")])
    lease = checks.lessor.leases[7]
    checks.check_lease_writes(caller, 7)
    for key in (b"b1", b"b2"):
        checks.lessor.attach(7, key)
        assert lease.fresh == {key}
        checks.check_lease_writes(caller, 7)
        assert lease.fresh == set()
    checks.lessor.attach(7, b"z")
    assert not allowed(checks.check_lease_writes, caller, 7)
    assert not allowed(checks.check_lease_writes, caller, 7)
    checks.lessor.detach(7, b"z")
    checks.check_lease_writes(caller, 7)
