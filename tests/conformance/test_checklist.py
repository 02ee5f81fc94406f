"""The points of the API that are easy to get wrong, one test each, against pykvd alone."""

import hashlib
from itertools import pairwise

import google_crc32c
import pytest

from pykvd.pb import auth_pb2, kv_pb2, rpc_pb2, v3lock_pb2
from tests.harness import Client, Failure, Kind, Server, WatchStream, methods, running
from tests.harness.raw import GOAWAY_NO_ERROR, RawConnection

PUT, RANGE, DELETE = rpc_pb2.PutRequest, rpc_pb2.RangeRequest, rpc_pb2.DeleteRangeRequest
CREATE = rpc_pb2.WatchCreateRequest
EVERYTHING = b"\x00"
SNAPSHOT_BLOB = 32_768
MAX_REQUEST_BYTES = 1_572_864
NO_LEASE = "etcdserver: requested lease not found"
NO_SPACE = "etcdserver: mvcc: database space exceeded"


def put(key: bytes, value: bytes = b"v") -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_put=PUT(key=key, value=value))


def get(key: bytes) -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_range=RANGE(key=key))


def delete(key: bytes, range_end: bytes = b"") -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_delete_range=DELETE(key=key, range_end=range_end))


def nested(*success: rpc_pb2.RequestOp) -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_txn=rpc_pb2.TxnRequest(success=success))


def revision_of(client: Client) -> int:
    return client.call(methods.RANGE, RANGE(key=b"any")).header.revision


def write(client: Client, key: bytes, times: int = 1) -> int:
    """Put a key; the last revision."""
    for _ in range(times):
        revision = client.call(methods.PUT, PUT(key=key, value=b"v")).header.revision
    return revision


def compact(client: Client, revision: int) -> rpc_pb2.CompactionResponse | Failure:
    request = rpc_pb2.CompactionRequest(revision=revision, physical=True)
    return client.attempt(methods.COMPACT, request)


def op_revisions(reply: rpc_pb2.TxnResponse) -> list[int]:
    """The revision in each operation's header."""
    return [
        getattr(answer, answer.WhichOneof("response") or "").header.revision
        for answer in reply.responses
    ]


def test_revisions_start_at_one(fresh: Client) -> None:
    assert revision_of(fresh) == 1
    assert write(fresh, b"a") == 2


def test_deleting_nothing_is_no_revision(client: Client) -> None:
    before = revision_of(client)
    reply = client.call(methods.DELETE, DELETE(key=b"2/nothing"))
    assert (reply.header.revision, reply.deleted) == (before, 0)


def test_operation_headers_after_a_put(client: Client) -> None:
    start = revision_of(client)
    a = b"3/a"
    ops = [put(a), get(a), delete(b"3/missing"), nested(get(a)), get(a)]
    reply = client.call(methods.TXN, rpc_pb2.TxnRequest(success=ops))
    assert reply.header.revision == start + 1
    new = start + 1
    assert op_revisions(reply) == [new, new, new, 0, new]
    inner = reply.responses[3].response_txn
    assert inner.HasField("header")
    assert inner.header == rpc_pb2.ResponseHeader()
    assert op_revisions(inner) == [new]


def test_operation_headers_around_a_delete(client: Client) -> None:
    x = b"4/x"
    start = write(client, x)
    reply = client.call(methods.TXN, rpc_pb2.TxnRequest(success=[get(x), delete(x), get(x)]))
    assert op_revisions(reply) == [start, start + 1, start + 1]
    assert [answer.response_range.count for answer in reply.responses[::2]] == [1, 0]


def test_a_limit_cuts_before_an_unordered_sort(client: Client) -> None:
    for key, times in ((b"5/a", 3), (b"5/b", 2), (b"5/c", 1)):
        write(client, key, times)
    request = RANGE(key=b"5/", range_end=b"50", sort_target=RANGE.VERSION, limit=1)
    reply = client.call(methods.RANGE, request)
    assert [kv.key for kv in reply.kvs] == [b"5/b"]
    assert (reply.count, reply.more) == (3, True)


@pytest.mark.parametrize("result", rpc_pb2.Compare.CompareResult.values())
def test_the_value_of_a_missing_key_compares_false(
    client: Client, result: rpc_pb2.Compare.CompareResult
) -> None:
    compare = rpc_pb2.Compare(
        key=b"6/missing", target=rpc_pb2.Compare.VALUE, result=result, value=b""
    )
    assert not client.call(methods.TXN, rpc_pb2.TxnRequest(compare=[compare])).succeeded


def test_two_events_of_a_key_at_one_revision(client: Client) -> None:
    key = b"\xfe7"
    with WatchStream(client) as stream:
        watch = stream.create(CREATE(key=key, prev_kv=True)).watch_id
        reply = client.call(
            methods.TXN, rpc_pb2.TxnRequest(success=[put(key), delete(key, EVERYTHING)])
        )
        stream.wait(lambda: len(stream.events(watch)) == 2, "both events")
        [response] = [one for one in stream.responses if one.events]
        revision = reply.header.revision
        assert response.header.revision == revision
        kinds = [(event.type, event.kv.mod_revision) for event in response.events]
        assert kinds == [(kv_pb2.Event.PUT, revision), (kv_pb2.Event.DELETE, revision)]
        # A state that only existed within the transaction is nobody's previous one.
        assert not any(event.HasField("prev_kv") for event in response.events)


def test_compacting_a_fresh_store(fresh: Client) -> None:
    compacted = Failure("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
    assert compact(fresh, -1) == compacted
    assert not isinstance(compact(fresh, 0), Failure)
    assert compact(fresh, 0) == compacted
    assert compact(fresh, -1) == compacted


def test_a_compacted_watch_is_created_and_canceled(client: Client) -> None:
    revision = write(client, b"9/a", 4)
    compact(client, revision)
    with WatchStream(client) as stream:
        created = stream.create(CREATE(key=b"9/a", start_revision=revision - 1))
        assert not created.canceled
        stream.wait(lambda: stream.canceled(created.watch_id) is not None, "the end of the watch")
        assert stream.responses[1] == rpc_pb2.WatchResponse(
            header=stream.responses[1].header,
            watch_id=created.watch_id,
            canceled=True,
            compact_revision=revision,
        )
        assert stream.responses[1].header.revision == 0


def test_progress_is_silent_beside_a_compacted_watch(client: Client) -> None:
    revision = write(client, b"10/a", 4)
    compact(client, revision)
    with WatchStream(client) as stream:
        dead = stream.create(CREATE(key=b"10/a", start_revision=revision - 1)).watch_id
        stream.wait(lambda: stream.canceled(dead) is not None, "the end of the watch")
        live = stream.create(CREATE(key=b"10/a")).watch_id
        stream.ask_progress()
        write(client, b"10/a")
        stream.wait(lambda: bool(stream.events(live)), "an event after the progress request")
        stream.cancel(dead)
        stream.ask_progress()
        stream.wait(lambda: bool(stream.progress()), "a progress answer")
        [answer] = stream.progress()
        assert answer.header.revision == revision + 1


def test_a_stream_without_watches_gets_no_progress(client: Client) -> None:
    with WatchStream(client) as stream:
        stream.ask_progress()
        stream.create(CREATE(key=b"10/b"))
        assert stream.progress() == []


@pytest.mark.parametrize("watch_id", [-1, -5, 1, (1 << 63) - 1])
def test_clients_may_choose_watch_ids(client: Client, watch_id: int) -> None:
    with WatchStream(client) as stream:
        assert stream.create(CREATE(key=b"11/a", watch_id=watch_id)).watch_id == watch_id
        refused = stream.create(CREATE(key=b"11/a", watch_id=watch_id))
        assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
        assert refused.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
        assert stream.create(CREATE(key=b"11/a")).watch_id == 0
        revision = write(client, b"11/a")
        stream.wait(lambda: bool(stream.events(watch_id)), "an event")
        assert stream.events(watch_id)[0].kv.mod_revision == revision


def test_negative_starts_are_refused(client: Client) -> None:
    with WatchStream(client) as stream:
        refused = stream.create(CREATE(key=b"11/b", start_revision=-1, watch_id=3))
        assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
        assert refused.cancel_reason == "etcdserver: mvcc: required revision has been compacted"
        assert refused.compact_revision == 0
        assert not stream.create(CREATE(key=b"11/b", watch_id=3)).canceled


def test_lease_times(client: Client) -> None:
    for ttl in (0, -7, 1, 2):
        reply = client.call(methods.GRANT, rpc_pb2.LeaseGrantRequest(TTL=ttl))
        assert reply.TTL == 2
        assert reply.ID > 0
        client.call(methods.REVOKE, rpc_pb2.LeaseRevokeRequest(ID=reply.ID))
    [renewed] = client.keep_alive([rpc_pb2.LeaseKeepAliveRequest(ID=404)])
    assert (renewed.ID, renewed.TTL) == (404, 0)
    unknown = client.call(methods.TIME_TO_LIVE, rpc_pb2.LeaseTimeToLiveRequest(ID=404, keys=True))
    assert (unknown.ID, unknown.TTL, unknown.grantedTTL) == (404, -1, 0)
    assert not unknown.keys


def test_an_expired_lease_deletes_its_keys_in_order(client: Client) -> None:
    lease = client.call(methods.GRANT, rpc_pb2.LeaseGrantRequest(TTL=1)).ID
    with WatchStream(client) as stream:
        watch = stream.create(CREATE(key=b"12/", range_end=b"120")).watch_id
        for key in (b"12/b", b"12/a", b"12/c"):
            client.call(methods.PUT, PUT(key=key, lease=lease))
        stream.wait(lambda: len(stream.events(watch)) == 6, "the keys to be deleted")
        deleted = stream.events(watch)[3:]
        assert [event.kv.key for event in deleted] == [b"12/a", b"12/b", b"12/c"]
        assert {event.type for event in deleted} == {kv_pb2.Event.DELETE}
        assert len({event.kv.mod_revision for event in deleted}) == 1


def test_alarms_are_cleared_by_exact_member(fresh: Client) -> None:
    request = rpc_pb2.AlarmRequest
    raised = rpc_pb2.AlarmMember(memberID=42, alarm=rpc_pb2.NOSPACE)
    activate = request(action=request.ACTIVATE, memberID=42, alarm=rpc_pb2.NOSPACE)
    assert list(fresh.call(methods.ALARM, activate).alarms) == [raised]
    zero = request(action=request.DEACTIVATE, memberID=0, alarm=rpc_pb2.NOSPACE)
    assert not fresh.call(methods.ALARM, zero).alarms
    assert list(fresh.call(methods.ALARM, request()).alarms) == [raised]
    fresh.call(
        methods.ALARM, request(action=request.DEACTIVATE, memberID=42, alarm=rpc_pb2.NOSPACE)
    )
    assert not fresh.call(methods.ALARM, request()).alarms


def test_the_only_member_stays(client: Client) -> None:
    [member] = client.call(methods.MEMBER_LIST).members
    answer = client.attempt(methods.MEMBER_REMOVE, rpc_pb2.MemberRemoveRequest(ID=member.ID))
    text = "etcdserver: re-configuration failed due to not enough started members"
    assert answer == Failure("UNKNOWN", text)


def with_auth(client: Client) -> None:
    """Enable auth with user root (password p)."""
    client.call(methods.USER_ADD, rpc_pb2.AuthUserAddRequest(name="root", password="p"))
    client.call(methods.USER_GRANT_ROLE, rpc_pb2.AuthUserGrantRoleRequest(user="root", role="root"))
    client.call(methods.AUTH_ENABLE)


def test_without_token_under_auth(fresh: Client) -> None:
    with_auth(fresh)
    text = "etcdserver: user name is empty"
    assert fresh.attempt(methods.RANGE, RANGE(key=b"a")) == Failure("INVALID_ARGUMENT", text)
    assert fresh.attempt(methods.PUT, PUT(key=b"a")) == Failure("INVALID_ARGUMENT", text)
    assert fresh.call(methods.TXN).succeeded
    lock = fresh.attempt(methods.LOCK, v3lock_pb2.LockRequest(name=b"l"))
    assert lock == Failure("UNKNOWN", text)
    bad = fresh.attempt(methods.RANGE, RANGE(key=b"a"), (("token", "nonsense"),))
    assert bad == Failure("UNAUTHENTICATED", "etcdserver: invalid auth token")
    login = rpc_pb2.AuthenticateRequest(name="root", password="p")
    token = fresh.call(methods.AUTHENTICATE, login).token
    fresh.call(methods.PUT, PUT(key=b"a"), (("token", token),))


def test_a_lock_without_space(fresh: Client) -> None:
    request = rpc_pb2.AlarmRequest
    fresh.call(methods.ALARM, request(action=request.ACTIVATE, alarm=rpc_pb2.NOSPACE))
    answer = fresh.attempt(methods.LOCK, v3lock_pb2.LockRequest(name=b"l"))
    assert answer == Failure("UNKNOWN", NO_SPACE)


def test_request_sizes(client: Client) -> None:
    passes = PUT(key=b"17k", value=bytes(MAX_REQUEST_BYTES - 100))
    assert not isinstance(client.attempt(methods.PUT, passes), Failure)
    fails = PUT(key=b"17k", value=bytes(MAX_REQUEST_BYTES))
    text = "etcdserver: request is too large"
    assert client.attempt(methods.PUT, fails) == Failure("INVALID_ARGUMENT", text)
    beyond = client.attempt(methods.PUT, PUT(key=b"17k", value=bytes(3 << 20)))
    assert isinstance(beyond, Failure)
    assert beyond.code == "RESOURCE_EXHAUSTED"


def test_snapshot_framing(client: Client) -> None:
    write(client, b"18/a")
    *data, digest = client.snapshot()
    blobs = [message.blob for message in data]
    assert {len(blob) for blob in blobs[:-1]} <= {SNAPSHOT_BLOB}
    assert 0 < len(blobs[-1]) <= SNAPSHOT_BLOB
    assert digest.blob == hashlib.sha256(b"".join(blobs)).digest()
    for message, following in pairwise([*data, digest]):
        assert not message.HasField("header")
        assert message.remaining_bytes == following.remaining_bytes + (
            0 if following is digest else len(following.blob)
        )
    assert (data[-1].remaining_bytes, digest.remaining_bytes) == (0, 0)
    assert sum(map(len, blobs)) % 512 == 0


def record(kv: kv_pb2.KeyValue, main: int, sub: int = 0, tombstone: bool = False) -> bytes:
    """A stored record as HashKV sees it."""
    key = main.to_bytes(8) + b"_" + sub.to_bytes(8)
    return key + (b"t" if tombstone else b"") + kv.SerializeToString()


def test_hash_of_known_records(fresh: Client) -> None:
    empty = fresh.call(methods.HASH_KV)
    assert (empty.hash, empty.compact_revision) == (google_crc32c.value(b"key"), -1)
    ops = rpc_pb2.TxnRequest(success=[put(b"a", b"1"), put(b"b", b"")])
    fresh.call(methods.TXN, ops)
    fresh.call(methods.DELETE, DELETE(key=b"a"))
    first = kv_pb2.KeyValue(key=b"a", create_revision=2, mod_revision=2, version=1, value=b"1")
    second = kv_pb2.KeyValue(key=b"b", create_revision=2, mod_revision=2, version=1)
    live = b"key" + record(first, 2) + record(second, 2, 1)
    gone = record(kv_pb2.KeyValue(key=b"a"), 3, tombstone=True)
    for revision, expected in ((2, live), (3, live + gone), (0, live + gone)):
        reply = fresh.call(methods.HASH_KV, rpc_pb2.HashKVRequest(revision=revision))
        assert reply.hash == google_crc32c.value(expected)
        assert (reply.compact_revision, reply.hash_revision) == (-1, revision or 3)
        assert reply.header.revision == 3
    negative = fresh.call(methods.HASH_KV, rpc_pb2.HashKVRequest(revision=-5))
    assert negative.hash == google_crc32c.value(b"key")


def test_hash_after_a_compaction(fresh: Client) -> None:
    """At its revision it is what the compaction found; later it is of what is kept."""
    write(fresh, b"a", 2)
    taken = at_revision(fresh, 3)
    assert taken[1:] == (-1, 3)
    compact(fresh, 3)
    assert at_revision(fresh, 3) == taken
    write(fresh, b"a")
    third = kv_pb2.KeyValue(key=b"a", create_revision=2, mod_revision=4, version=3, value=b"v")
    kept = google_crc32c.value(b"key" + record(third, 4)), 3, 4
    assert at_revision(fresh, 0) == at_revision(fresh, 4) == kept
    compact(fresh, 4)
    assert at_revision(fresh, 4) == kept
    assert at_revision(fresh, 3) == taken
    later = at_revision(fresh, 0)
    for revision in range(5, 14):
        write(fresh, b"a")
        later = at_revision(fresh, revision)
        compact(fresh, revision)
    assert at_revision(fresh, 13) == later
    assert at_revision(fresh, 4) == kept
    assert fresh.attempt(methods.HASH_KV, rpc_pb2.HashKVRequest(revision=3)) == Failure(
        "OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"
    )


def at_revision(client: Client, revision: int) -> tuple[int, int, int]:
    """HashKV: the hash, the compaction and the revision that it is of."""
    reply = client.call(methods.HASH_KV, rpc_pb2.HashKVRequest(revision=revision))
    return reply.hash, reply.compact_revision, reply.hash_revision


def test_a_tombstone_that_a_compaction_keeps_counts_in_no_hash(fresh: Client) -> None:
    """Releases of etcd before 3.4.34 remove it, and all must come to the same hash."""
    write(fresh, b"a")
    fresh.call(methods.DELETE, DELETE(key=b"a"))
    compact(fresh, 3)
    write(fresh, b"b")
    fresh.call(methods.DELETE, DELETE(key=b"b"))
    second = kv_pb2.KeyValue(key=b"b", create_revision=4, mod_revision=4, version=1, value=b"v")
    gone = record(kv_pb2.KeyValue(key=b"b"), 5, tombstone=True)
    left = google_crc32c.value(b"key" + record(second, 4) + gone), 3, 5
    assert at_revision(fresh, 0) == left
    compact(fresh, 5)
    assert at_revision(fresh, 5) == left


def test_a_delete_at_the_compacted_revision_is_still_told(client: Client) -> None:
    write(client, b"19/a")
    revision = client.call(methods.DELETE, DELETE(key=b"19/a")).header.revision
    compact(client, revision)
    with WatchStream(client) as stream:
        watch = stream.create(CREATE(key=b"19/a", start_revision=revision)).watch_id
        stream.wait(lambda: bool(stream.events(watch)), "the delete")
        [event] = stream.events(watch)
        kv = kv_pb2.KeyValue(key=b"19/a", mod_revision=revision)
        assert event == kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv)


def test_a_compacted_watch_is_canceled_once_more_on_request(client: Client) -> None:
    revision = write(client, b"20/a", 3)
    compact(client, revision)
    with WatchStream(client) as stream:
        watch = stream.create(CREATE(key=b"20/a", start_revision=revision - 1)).watch_id
        stream.wait(lambda: stream.canceled(watch) is not None, "the end of the watch")
        stream.cancel(watch)
        stream.wait(lambda: len(stream.responses) == 3, "the answer to the cancel request")
        last = stream.responses[-1]
        assert (last.watch_id, last.canceled, last.compact_revision) == (watch, True, 0)
        assert last.header.revision == revision


def test_compacting_keeps_the_last_change_of_a_key_at_its_revision(client: Client) -> None:
    key = b"\xfe21"
    reply = client.call(
        methods.TXN, rpc_pb2.TxnRequest(success=[put(key), delete(key, EVERYTHING)])
    )
    compact(client, reply.header.revision)
    last = write(client, key)
    with WatchStream(client) as stream:
        request = CREATE(key=key, start_revision=reply.header.revision)
        watch = stream.create(request).watch_id
        stream.wait(
            lambda: [event.kv.mod_revision for event in stream.events(watch)][-1:] == [last],
            "the history",
        )
        kinds = [event.type for event in stream.events(watch)]
        assert kinds == [kv_pb2.Event.DELETE, kv_pb2.Event.PUT]


def test_a_key_made_anew_in_a_transaction_has_no_previous_state(client: Client) -> None:
    key = b"22/a"
    write(client, key)
    with WatchStream(client) as stream:
        watch = stream.create(CREATE(key=key, prev_kv=True)).watch_id
        # A delete to the end of all keys is the one that may meet a put of the same list.
        ops = [delete(key, EVERYTHING), put(key)]
        client.call(methods.TXN, rpc_pb2.TxnRequest(success=ops))
        stream.wait(lambda: len(stream.events(watch)) == 2, "both events")
        gone, made = stream.events(watch)
        assert gone.prev_kv.version == 1
        assert made.kv.create_revision == made.kv.mod_revision
        assert not made.HasField("prev_kv")


@pytest.mark.parametrize("end", [b"23/a", b"23/0", b"\x01"])
def test_comparing_an_inverted_range_compares_a_missing_key(client: Client, end: bytes) -> None:
    write(client, b"23/a")
    compare = rpc_pb2.Compare(key=b"23/a", range_end=end, version=0)
    assert client.call(methods.TXN, rpc_pb2.TxnRequest(compare=[compare])).succeeded
    compare.value = b"other"
    compare.target, compare.result = rpc_pb2.Compare.VALUE, rpc_pb2.Compare.NOT_EQUAL
    assert not client.call(methods.TXN, rpc_pb2.TxnRequest(compare=[compare])).succeeded


def test_goaway_at_once_on_sigterm(subject_kind: Kind) -> None:
    with running(subject_kind) as server:
        with RawConnection(server.endpoint) as connection:
            connection.ping()
            server.terminate()
            assert connection.goaway() == (GOAWAY_NO_ERROR, b"graceful_stop")
        assert server.stop() in (0, -15)


@pytest.mark.long
def test_streams_end_seven_seconds_after_sigterm(subject_kind: Kind) -> None:
    with running(subject_kind) as server, Client(server.endpoint) as client:
        with WatchStream(client) as stream:
            stream.create(CREATE(key=b"a"))
            status = server.stop()
            stream.wait(lambda: stream.failure is not None, "the end of the stream")
            assert stream.failure is not None
            assert stream.failure.code == "UNAVAILABLE"
        assert status in (0, -15)


def test_status_names_the_api_level(server: Server, client: Client) -> None:
    status = client.call(methods.STATUS)
    assert status.version.startswith("3.6.")
    assert status.leader == status.header.member_id
    assert status.storageVersion == "3.6.0"
    assert status.dbSizeQuota == 2_147_483_648
    assert status.HasField("downgradeInfo")
    assert not status.downgradeInfo.enabled
    assert 0 < status.raftAppliedIndex <= status.raftIndex


def test_auth_permissions_are_listed(fresh: Client) -> None:
    fresh.call(methods.ROLE_ADD, rpc_pb2.AuthRoleAddRequest(name="r"))
    permission = auth_pb2.Permission(permType=auth_pb2.Permission.READ, key=b"k", range_end=b"l")
    grant = rpc_pb2.AuthRoleGrantPermissionRequest(name="r", perm=permission)
    fresh.call(methods.ROLE_GRANT, grant)
    role = fresh.call(methods.ROLE_GET, rpc_pb2.AuthRoleGetRequest(role="r"))
    assert list(role.perm) == [permission]
