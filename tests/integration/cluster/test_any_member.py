"""Every member serves everything: reads, writes, transactions, watches and leases."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pykvd.pb import rpc_pb2
from tests.harness import Client, Failure, WatchStream
from tests.harness.methods import DELETE, MEMBER_LIST, PUT, RANGE, REVOKE, TXN
from tests.integration.cluster.requests import get, grant, put, remaining

if TYPE_CHECKING:
    from tests.integration.cluster.cluster import Cluster

READS = 150


def test_what_one_member_writes_the_others_read_at_once(three: Cluster) -> None:
    for writer, reader in itertools.permutations(three, 2):
        value = f"{writer.name} to {reader.name}".encode()
        revision = put(writer, b"any", value)
        reply = reader.call(RANGE, rpc_pb2.RangeRequest(key=b"any"))
        assert reply.kvs[0].value == value
        assert reply.kvs[0].mod_revision == reply.header.revision == revision


def test_the_header_names_the_member_that_answers(three: Cluster) -> None:
    headers = [member.call(RANGE, rpc_pb2.RangeRequest(key=b"x")).header for member in three]
    lists = [member.call(MEMBER_LIST).members for member in three]
    assert [header.member_id for header in headers] == [member.id for member in three]
    assert {header.member_id for header in headers} == {member.ID for member in lists[0]}
    assert len({header.cluster_id for header in headers}) == 1
    assert lists[0] == lists[1] == lists[2]


def test_linearizable_reads_on_followers_are_never_stale(three: Cluster) -> None:
    leader, followers = three.leader(), three.followers()
    with Client(leader.endpoint) as writer:
        readers = [Client(follower.endpoint) for follower in followers]
        for number in range(READS):
            request = rpc_pb2.PutRequest(key=b"fresh", value=b"%d" % number)
            revision = writer.call(PUT, request).header.revision
            for reader in readers:
                (kv,) = reader.call(RANGE, rpc_pb2.RangeRequest(key=b"fresh")).kvs
                assert (kv.value, kv.mod_revision) == (request.value, revision)
        for reader in readers:
            reader.close()


def test_a_transaction_through_one_member_is_seen_whole_by_all(three: Cluster) -> None:
    n1, n2, n3 = three
    revision = put(n1, b"t/condition", b"yes")
    compare = rpc_pb2.Compare(target=rpc_pb2.Compare.MOD, key=b"t/condition", mod_revision=revision)
    puts = [
        rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=b"v"))
        for key in (b"t/a", b"t/b")
    ]
    reply = n2.call(TXN, rpc_pb2.TxnRequest(compare=[compare], success=puts))
    assert reply.succeeded
    both = n3.call(RANGE, rpc_pb2.RangeRequest(key=b"t/a", range_end=b"t/c")).kvs
    assert [kv.mod_revision for kv in both] == [reply.header.revision] * 2


def test_all_members_tell_watchers_the_same(three: Cluster) -> None:
    n1, n2, n3 = three
    clients = [Client(member.endpoint) for member in three]
    streams = [WatchStream(client) for client in clients]
    watch = rpc_pb2.WatchCreateRequest(key=b"w/", range_end=b"w0", prev_kv=True)
    ids = [stream.create(watch).watch_id for stream in streams]
    for number, member in enumerate((n1, n2, n3, n1)):
        put(member, b"w/%d" % (number % 2), b"%d" % number)
    n3.call(DELETE, rpc_pb2.DeleteRangeRequest(key=b"w/", range_end=b"w0"))
    for stream, watch_id in zip(streams, ids, strict=True):
        stream.wait(lambda s=stream, i=watch_id: len(s.events(i)) == 6, "all events")  # type: ignore[misc]
    told = [stream.events(watch_id) for stream, watch_id in zip(streams, ids, strict=True)]
    assert told[0] == told[1] == told[2]
    for stream, client in zip(streams, clients, strict=True):
        stream.close()
        client.close()


def test_a_lease_belongs_to_the_cluster(three: Cluster) -> None:
    n1, n2, n3 = three
    lease = grant(n1, 600)
    put(n2, b"leased", b"v", lease)
    assert all(598 <= remaining(member, lease) <= 600 for member in three)
    n3.call(REVOKE, rpc_pb2.LeaseRevokeRequest(ID=lease))
    assert [get(member, b"leased") for member in three] == [None] * 3
    assert [remaining(member, lease) for member in three] == [-1] * 3


def test_a_long_range_on_any_member_is_linearizable_and_of_one_revision(three: Cluster) -> None:
    """So long that it is read in several turns of the loop, after its read index."""
    keys, batch = 5200, 100
    for start in range(0, keys, batch):
        puts = [
            rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"long/%05d" % each, value=b"v"))
            for each in range(start, start + batch)
        ]
        three.leader().call(TXN, rpc_pb2.TxnRequest(success=puts))
    everything = rpc_pb2.RangeRequest(key=b"long/", range_end=b"long0")
    for writer, reader in itertools.permutations(three, 2):
        revision = put(writer, b"long/00000", writer.name.encode())
        reply = reader.call(RANGE, everything)
        assert reply.header.revision >= revision
        assert (len(reply.kvs), reply.count, reply.more) == (keys, keys, False)
        assert reply.kvs[0].value == writer.name.encode()
    deletion = rpc_pb2.DeleteRangeRequest(key=b"long/", range_end=b"long0")
    assert three.leader().call(DELETE, deletion).deleted == keys


def test_a_transaction_that_only_compares_is_not_answered_alone(three: Cluster) -> None:
    """Whether a lock is still held, for one, may not be told from an old state."""
    put(three.leader(), b"alone", b"v")
    last, *others = three.followers()
    get(last, b"alone")
    compare = rpc_pb2.Compare(target=rpc_pb2.Compare.VALUE, key=b"alone", value=b"v")
    request = rpc_pb2.TxnRequest(compare=[compare])
    assert last.call(TXN, request).succeeded
    for member in (three.leader(), *others):
        member.pause()
    answer = last.ask(TXN, request, timeout=1.0)
    assert isinstance(answer, Failure)
    assert answer.code == "DEADLINE_EXCEEDED"
