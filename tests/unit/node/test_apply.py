"""Commands one by one: leases, alarms, compaction, what is refused under an alarm."""

import pytest
from google.protobuf.message import Message

from pykvd.cluster.membership import Action, Member, MemberChange
from pykvd.errors import RpcError
from pykvd.lease.lessor import MAX_TTL
from pykvd.node.commands import Command
from pykvd.pb import rpc_pb2 as rpc
from tests.unit.node.machine import MIN_TTL, Machine

ACTIVATE = rpc.AlarmRequest.ACTIVATE
DEACTIVATE = rpc.AlarmRequest.DEACTIVATE
GET = rpc.AlarmRequest.GET


def alarm(machine: Machine, action: int, kind: int, member: int = 0) -> list[tuple[int, int]]:
    request = rpc.AlarmRequest(action=action, alarm=kind, memberID=member)  # type: ignore[arg-type]  # open enums
    reply = rpc.AlarmResponse.FromString(machine.applier.apply(Command.ALARM, request))
    return [(each.memberID, each.alarm) for each in reply.alarms]


def revoke(machine: Machine, lease_id: int) -> int:
    reply = machine.applier.apply(Command.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease_id))
    return rpc.LeaseRevokeResponse.FromString(reply).header.revision


def compact(machine: Machine, revision: int) -> None:
    machine.applier.apply(Command.COMPACT, rpc.CompactionRequest(revision=revision))


# Leases


@pytest.mark.parametrize(
    ("asked", "granted"), [(60, 60), (1, MIN_TTL), (0, MIN_TTL), (-5, MIN_TTL), (MAX_TTL, MAX_TTL)]
)
def test_a_ttl_is_raised_to_the_minimum(machine: Machine, asked: int, granted: int) -> None:
    reply = machine.grant(-9, asked)
    assert (reply.ID, reply.TTL, reply.header.revision) == (-9, granted, 1)
    machine.commit()
    machine.reload()
    assert machine.applier.lessor.leases[-9].ttl == granted


def test_refused_leases(machine: Machine) -> None:
    machine.grant(7)
    with pytest.raises(RpcError, match="lease already exists"):
        machine.grant(7)
    with pytest.raises(RpcError, match="too large lease TTL"):
        machine.grant(8, MAX_TTL + 1)
    with pytest.raises(RpcError, match="requested lease not found"):
        revoke(machine, 8)
    assert list(machine.applier.lessor.leases) == [7]


def test_a_put_moves_its_key_between_leases(machine: Machine) -> None:
    leases = machine.applier.lessor.leases
    for lease_id in (7, 8):
        machine.grant(lease_id)
    machine.put(b"k", lease=7)
    assert (leases[7].keys, leases[8].keys) == ({b"k"}, set())
    machine.put(b"k", lease=8)
    assert (leases[7].keys, leases[8].keys) == (set(), {b"k"})
    machine.put(b"k", ignore_lease=True)
    assert leases[8].keys == {b"k"}
    machine.put(b"k", lease=8)
    assert leases[8].keys == {b"k"}
    machine.put(b"k")
    assert leases[8].keys == set()
    machine.put(b"k", lease=8)
    machine.delete(b"k")
    assert leases[8].keys == set()


def test_a_put_with_an_unknown_lease_writes_nothing(machine: Machine) -> None:
    with pytest.raises(RpcError, match="requested lease not found"):
        machine.put(b"k", lease=7)
    # The lease is looked up before the key.
    with pytest.raises(RpcError, match="requested lease not found"):
        machine.put(b"k", b"", lease=7, ignore_value=True)
    assert machine.disk.store.revision == 1


def test_a_revoke_deletes_its_keys_in_order_in_one_revision(machine: Machine) -> None:
    machine.grant(7)
    for key in (b"c", b"a", b"b"):
        machine.put(key, lease=7)
    machine.put(b"other")
    events = []
    machine.applier.notify = lambda revision, found: events.append((revision, found))
    assert revoke(machine, 7) == 6
    ((revision, found),) = events
    assert (revision, [event.key for event in found]) == (6, [b"a", b"b", b"c"])
    assert machine.get(b"\0", b"\0") == [(b"other", b"v")]
    machine.grant(8)
    assert revoke(machine, 8) == 6
    assert len(events) == 1


# Puts


def test_a_put_returns_and_keeps_what_was_there(machine: Machine) -> None:
    machine.grant(7)
    assert not machine.put(b"k", b"1", lease=7, prev_kv=True).HasField("prev_kv")
    reply = machine.put(b"k", b"", ignore_value=True, ignore_lease=True, prev_kv=True)
    assert (reply.prev_kv.value, reply.prev_kv.lease, reply.prev_kv.version) == (b"1", 7, 1)
    reply = machine.put(b"k", b"", ignore_value=True, prev_kv=True)
    assert (reply.prev_kv.value, reply.prev_kv.lease, reply.prev_kv.version) == (b"1", 7, 2)
    reply = machine.put(b"k", b"2", ignore_lease=True, prev_kv=True)
    assert (reply.prev_kv.value, reply.prev_kv.lease, reply.prev_kv.version) == (b"1", 0, 3)
    with pytest.raises(RpcError, match="key not found"):
        machine.put(b"none", ignore_lease=True)


def test_a_delete_returns_what_was_there(machine: Machine) -> None:
    for key in (b"a", b"b", b"c"):
        machine.put(key, key)
    request = rpc.DeleteRangeRequest(key=b"a", range_end=b"c", prev_kv=True)
    reply = rpc.DeleteRangeResponse.FromString(machine.applier.apply(Command.DELETE_RANGE, request))
    assert (reply.deleted, reply.header.revision) == (2, 5)
    assert [kv.value for kv in reply.prev_kvs] == [b"a", b"b"]
    nothing = machine.delete(b"x", b"a")
    assert (nothing.deleted, nothing.header.revision) == (0, 5)


# Alarms


def test_alarms_are_kept_listed_and_removed_exactly(machine: Machine) -> None:
    assert alarm(machine, ACTIVATE, rpc.NOSPACE, 5) == [(5, rpc.NOSPACE)]
    assert alarm(machine, ACTIVATE, rpc.NOSPACE, 5) == [(5, rpc.NOSPACE)]
    assert alarm(machine, ACTIVATE, rpc.CORRUPT, 0) == [(0, rpc.CORRUPT)]
    assert alarm(machine, ACTIVATE, rpc.NONE, 5) == []
    assert alarm(machine, GET, rpc.NONE) == [(0, rpc.CORRUPT), (5, rpc.NOSPACE)]
    assert alarm(machine, GET, rpc.NOSPACE) == [(5, rpc.NOSPACE)]
    # Member 0 means member 0, not all.
    assert alarm(machine, DEACTIVATE, rpc.NOSPACE, 0) == []
    machine.commit()
    machine.reload()
    assert alarm(machine, GET, rpc.NONE) == [(0, rpc.CORRUPT), (5, rpc.NOSPACE)]
    assert alarm(machine, DEACTIVATE, rpc.NOSPACE, 5) == [(5, rpc.NOSPACE)]
    assert alarm(machine, DEACTIVATE, rpc.CORRUPT, 0) == [(0, rpc.CORRUPT)]
    machine.commit()
    machine.reload()
    assert alarm(machine, GET, rpc.NONE) == []


@pytest.mark.parametrize("kind", [-1, 3, (1 << 31) - 1, -(1 << 31)])
@pytest.mark.parametrize("member", [0, (1 << 64) - 1])
def test_no_alarm_that_a_client_may_send_stops_the_machine(
    machine: Machine, kind: int, member: int
) -> None:
    """Enums are open: whatever is in the log is applied again at every start."""
    assert alarm(machine, ACTIVATE, kind, member) == [(member, kind)]
    machine.commit()
    machine.reload()
    assert alarm(machine, GET, kind) == [(member, kind)]
    assert alarm(machine, 9, kind) == []
    machine.put(b"k")
    assert alarm(machine, DEACTIVATE, kind, member) == [(member, kind)]


REQUESTS: dict[str, tuple[Command, Message]] = {
    "put": (Command.PUT, rpc.PutRequest(key=b"k")),
    "txn with put": (
        Command.TXN,
        rpc.TxnRequest(failure=[rpc.RequestOp(request_put=rpc.PutRequest(key=b"k"))]),
    ),
    "txn without": (
        Command.TXN,
        rpc.TxnRequest(
            success=[rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=b"k"))]
        ),
    ),
    "delete": (Command.DELETE_RANGE, rpc.DeleteRangeRequest(key=b"k")),
    "compact": (Command.COMPACT, rpc.CompactionRequest(revision=0)),
    "grant": (Command.LEASE_GRANT, rpc.LeaseGrantRequest(ID=9, TTL=60)),
    "revoke": (Command.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=7)),
    "publish": (Command.PUBLISH, rpc.Member(ID=1)),
}


@pytest.mark.parametrize(
    ("kind", "refused", "text"),
    [
        (rpc.NOSPACE, {"put", "txn with put", "grant"}, "mvcc: database space exceeded"),
        (rpc.CORRUPT, set(REQUESTS) - {"publish"}, "corrupt cluster"),
    ],
)
@pytest.mark.parametrize("reload", [False, True])
def test_what_an_alarm_refuses(
    machine: Machine, kind: int, refused: set[str], text: str, reload: bool
) -> None:
    machine.grant(7)
    alarm(machine, ACTIVATE, kind, 3)
    if reload:
        machine.commit()
        machine.reload()
    for name, (command, request) in REQUESTS.items():
        answer = machine.apply(command, request)
        assert (text.encode() in answer) is (name in refused), name
    if kind == rpc.CORRUPT:
        assert list(machine.applier.lessor.leases) == [7]
    alarm(machine, DEACTIVATE, kind, 3)
    machine.put(b"k")


def test_with_both_alarms_corruption_is_told(machine: Machine) -> None:
    alarm(machine, ACTIVATE, rpc.NOSPACE)
    alarm(machine, ACTIVATE, rpc.CORRUPT)
    with pytest.raises(RpcError, match="corrupt cluster"):
        machine.put(b"k")


# Compaction, members


def test_compactions(machine: Machine) -> None:
    for _ in range(3):
        machine.put(b"k")
    calls = []
    machine.applier.compacted = lambda: calls.append(machine.disk.store.compact_revision)
    with pytest.raises(RpcError, match="has been compacted"):
        compact(machine, -1)
    compact(machine, 0)
    with pytest.raises(RpcError, match="has been compacted"):
        compact(machine, 0)
    with pytest.raises(RpcError, match="is a future revision"):
        compact(machine, 5)
    compact(machine, 4)
    with pytest.raises(RpcError, match="has been compacted"):
        compact(machine, 3)
    assert calls == [0, 4]
    machine.commit()
    machine.reload()
    assert machine.disk.store.compact_revision == 4


def test_a_member_publishes_its_name(machine: Machine) -> None:
    machine.applier.change_member(MemberChange(Action.ADD, Member(1, "", ("http://a:2380",)), 1, 1))
    request = rpc.Member(ID=1, name="n", clientURLs=["http://c:2379"])
    machine.applier.apply(Command.PUBLISH, request)
    machine.applier.apply(Command.PUBLISH, rpc.Member(ID=2, name="stranger"))
    machine.commit()
    machine.reload()
    published = Member(1, "n", ("http://a:2380",), ("http://c:2379",))
    assert machine.applier.membership.members == {1: published}


def test_a_checkpoint_is_kept(machine: Machine) -> None:
    machine.grant(7)
    checkpoints = [
        rpc.LeaseCheckpoint(ID=7, remaining_TTL=5),
        rpc.LeaseCheckpoint(ID=8, remaining_TTL=5),
    ]
    request = rpc.LeaseCheckpointRequest(checkpoints=checkpoints)
    machine.applier.apply(Command.LEASE_CHECKPOINT, request)
    machine.commit()
    machine.reload()
    (lease,) = machine.applier.lessor.leases.values()
    assert (lease.id, lease.ttl, lease.remaining) == (7, 60, 5)
