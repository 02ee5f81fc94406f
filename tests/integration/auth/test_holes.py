"""Holes that others had: each is a request that got through somewhere, and must not here.

Published for etcd in 2023 to 2026: checks were made at the outside of a request and not at every
operation in it, or on another range than the one that was served.
"""

import pytest

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import Failure, WatchStream, methods
from tests.integration.auth.accounts import (
    OWN,
    SHARED,
    WRITE,
    add_user,
    grant,
    grant_role,
    log_in,
)
from tests.integration.auth.conftest import Guarded

DENIED = Failure("PERMISSION_DENIED", "etcdserver: permission denied")
USER_EMPTY = Failure("INVALID_ARGUMENT", "etcdserver: user name is empty")
SECRET = b"secret"


@pytest.fixture(autouse=True)
def secret(guarded: Guarded) -> None:
    """Keys that are not `ann`'s: one to read, one on a lease."""
    client, root = guarded.client, guarded.root
    client.call(methods.PUT, rpc.PutRequest(key=SECRET, value=b"hidden"), root)
    client.call(methods.PUT, rpc.PutRequest(key=SHARED, value=b"seen"), root)
    client.attempt(methods.GRANT, rpc.LeaseGrantRequest(ID=7, TTL=600), root)
    client.call(methods.PUT, rpc.PutRequest(key=b"leased", lease=7), root)


Operation = rpc.PutRequest | rpc.RangeRequest | rpc.DeleteRangeRequest | rpc.TxnRequest


def op(request: Operation) -> rpc.RequestOp:
    match request:
        case rpc.PutRequest():
            return rpc.RequestOp(request_put=request)
        case rpc.RangeRequest():
            return rpc.RequestOp(request_range=request)
        case rpc.DeleteRangeRequest():
            return rpc.RequestOp(request_delete_range=request)
    return rpc.RequestOp(request_txn=request)


FORBIDDEN = {
    "put": op(rpc.PutRequest(key=SECRET)),
    "range": op(rpc.RangeRequest(key=SECRET)),
    "wide range": op(rpc.RangeRequest(key=OWN, range_end=b"\x00")),
    "delete": op(rpc.DeleteRangeRequest(key=SECRET)),
    "put of what may be read": op(rpc.PutRequest(key=SHARED)),
    "put with a foreign lease": op(rpc.PutRequest(key=OWN, lease=7)),
    "delete with prev_kv of what may be read": op(rpc.DeleteRangeRequest(key=SHARED, prev_kv=True)),
}


def compare(key: bytes, range_end: bytes = b"") -> rpc.Compare:
    return rpc.Compare(key=key, range_end=range_end, target=rpc.Compare.VALUE, value=b"hidden")


TRANSACTIONS = {
    **{f"{name}, branch taken": rpc.TxnRequest(success=[each]) for name, each in FORBIDDEN.items()},
    **{
        f"{name}, branch not taken": rpc.TxnRequest(failure=[each])
        for name, each in FORBIDDEN.items()
    },
    **{
        f"{name}, nested": rpc.TxnRequest(success=[op(rpc.TxnRequest(success=[each]))])
        for name, each in FORBIDDEN.items()
    },
    **{
        f"{name}, nested twice, not taken": rpc.TxnRequest(
            success=[op(rpc.TxnRequest(success=[op(rpc.TxnRequest(failure=[each]))]))]
        )
        for name, each in FORBIDDEN.items()
    },
    "compare": rpc.TxnRequest(compare=[compare(SECRET)]),
    "compare of a range": rpc.TxnRequest(compare=[compare(OWN, b"\x00")]),
    "compare, nested": rpc.TxnRequest(success=[op(rpc.TxnRequest(compare=[compare(SECRET)]))]),
}


@pytest.mark.parametrize("request_name", TRANSACTIONS)
def test_every_operation_of_a_transaction_is_checked(guarded: Guarded, request_name: str) -> None:
    request = TRANSACTIONS[request_name]
    before = state(guarded)
    assert guarded.client.attempt(methods.TXN, request, guarded.ann) == DENIED
    assert guarded.client.attempt(methods.TXN, request) == USER_EMPTY
    assert state(guarded) == before


def state(guarded: Guarded) -> bytes:
    everything = rpc.RangeRequest(key=b"\x00", range_end=b"\x00")
    reply = guarded.client.call(methods.RANGE, everything, guarded.root)
    reply.header.raft_term = 0
    return reply.SerializeToString()


def test_prev_kv_needs_the_right_to_read(guarded: Guarded) -> None:
    """A user that may only write learned the old value from put and delete, in transactions too."""
    client, root = guarded.client, guarded.root
    add_user(client, "w", "p", root)
    client.call(methods.ROLE_ADD, rpc.AuthRoleAddRequest(name="writer"), root)
    grant(client, "writer", WRITE, SECRET, b"", root)
    grant_role(client, "w", "writer", root)
    writer = log_in(client, "w", "p")
    put = rpc.PutRequest(key=SECRET, value=b"x", prev_kv=True)
    delete = rpc.DeleteRangeRequest(key=SECRET, prev_kv=True)
    assert client.attempt(methods.PUT, put, writer) == DENIED
    assert client.attempt(methods.DELETE, delete, writer) == DENIED
    for each in (op(put), op(delete), op(rpc.TxnRequest(success=[op(put)]))):
        assert client.attempt(methods.TXN, rpc.TxnRequest(success=[each]), writer) == DENIED
    put.prev_kv = False
    assert not isinstance(client.attempt(methods.PUT, put, writer), Failure)


def test_a_lease_with_foreign_keys_cannot_be_used(guarded: Guarded) -> None:
    """Whoever hangs a key on a lease, revokes it or keeps it alive decides on its other keys."""
    client = guarded.client
    put = rpc.PutRequest(key=OWN + b"x", lease=7)
    assert client.attempt(methods.PUT, put, guarded.ann) == DENIED
    assert client.attempt(methods.REVOKE, rpc.LeaseRevokeRequest(ID=7), guarded.ann) == DENIED
    assert client.attempt(methods.REVOKE, rpc.LeaseRevokeRequest(ID=7)) == USER_EMPTY
    for who, expected in ((guarded.ann, DENIED), ((), USER_EMPTY)):
        with pytest.raises(Exception) as ended:  # noqa: PT011 - looked at below
            list(client.keep_alive([rpc.LeaseKeepAliveRequest(ID=7)], who))
        assert Failure.of(ended.value) == expected  # type: ignore[arg-type]


def test_the_keys_of_a_lease_need_the_right_to_read(guarded: Guarded) -> None:
    client = guarded.client
    with_keys = rpc.LeaseTimeToLiveRequest(ID=7, keys=True)
    assert client.attempt(methods.TIME_TO_LIVE, with_keys, guarded.ann) == DENIED
    without = client.call(methods.TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=7), guarded.ann)
    assert without.TTL > 0
    assert not without.keys
    assert client.attempt(methods.LEASES, None, guarded.ann) == DENIED
    assert client.call(methods.TIME_TO_LIVE, with_keys, guarded.root).keys == [b"leased"]


@pytest.mark.parametrize(
    ("key", "range_end"),
    [
        (SHARED, b"\x00"),
        (SHARED, SHARED + b"\x00\x00"),
        (SHARED, b"t"),
        (OWN, b"\x00"),
        (OWN, b"app1"),
        (b"", b""),
        (b"", b"\x00"),
        (b"\x00", b"\x00"),
        (SECRET, b""),
    ],
)
def test_a_watch_never_sees_more_than_was_granted(
    guarded: Guarded, key: bytes, range_end: bytes
) -> None:
    """A grant on one key was taken for one on everything from that key on."""
    with WatchStream(guarded.client, guarded.ann) as stream:
        answer = stream.create(rpc.WatchCreateRequest(key=key, range_end=range_end))
        assert (answer.canceled, answer.watch_id) == (True, -1)
        expected = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        assert answer.cancel_reason == expected
        # The stream goes on, and each create is looked at anew.
        assert not stream.create(rpc.WatchCreateRequest(key=SHARED)).canceled
        assert stream.create(rpc.WatchCreateRequest(key=SECRET)).canceled
        guarded.client.call(methods.PUT, rpc.PutRequest(key=SECRET), guarded.root)
        guarded.client.call(methods.PUT, rpc.PutRequest(key=SHARED, value=b"9"), guarded.root)
        stream.wait(lambda: bool(stream.events(0) or stream.events(1)), "the shared key's event")
        seen = {event.kv.key for each in (0, 1, -1) for event in stream.events(each)}
        assert seen == {SHARED}


@pytest.mark.parametrize("range_end", [b"\x00", b"t", b"shared0"])
def test_a_range_never_reads_more_than_was_granted(guarded: Guarded, range_end: bytes) -> None:
    request = rpc.RangeRequest(key=SHARED, range_end=range_end)
    for serializable in (False, True):
        request.serializable = serializable
        assert guarded.client.attempt(methods.RANGE, request, guarded.ann) == DENIED


def test_compaction_is_for_root(guarded: Guarded) -> None:
    request = rpc.CompactionRequest(revision=1)
    assert guarded.client.attempt(methods.COMPACT, request, guarded.ann) == DENIED
    assert guarded.client.attempt(methods.COMPACT, request) == USER_EMPTY


def test_a_token_in_the_wrong_place_is_none(guarded: Guarded) -> None:
    request = rpc.RangeRequest(key=OWN)
    token = guarded.ann[0][1]
    for name in ("authorization", "token"):
        assert not isinstance(
            guarded.client.attempt(methods.RANGE, request, ((name, f"Bearer {token!s}"),)), Failure
        )
    invalid = Failure("UNAUTHENTICATED", "etcdserver: invalid auth token")
    for metadata in (
        (("token", f"bearer {token!s}"),),
        (("token", f"{token!s}0"),),
        (("token", ""),),
        (("token", "x"), ("authorization", str(token))),
    ):
        assert guarded.client.attempt(methods.RANGE, request, metadata) == invalid, metadata


def test_reading_rights_are_no_writing_rights(guarded: Guarded) -> None:
    client, ann = guarded.client, guarded.ann
    assert client.attempt(methods.PUT, rpc.PutRequest(key=SHARED), ann) == DENIED
    for delete in (
        rpc.DeleteRangeRequest(key=SHARED),
        rpc.DeleteRangeRequest(key=OWN, range_end=b"\x00"),
    ):
        assert client.attempt(methods.DELETE, delete, ann) == DENIED
