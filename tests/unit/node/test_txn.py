"""Transactions on the store: comparisons, order, revisions, refusals before the first write."""

import pytest

from pykvd.errors import Failure, RpcError
from pykvd.node.commands import Command
from pykvd.pb.rpc_pb2 import (
    NOSPACE,
    AlarmRequest,
    CompactionRequest,
    Compare,
    RequestOp,
    ResponseOp,
    TxnRequest,
    TxnResponse,
)
from tests.unit.node.machine import Machine, delete_op, put_op, range_op, txn_op

EQUAL, GREATER, LESS, NOT_EQUAL = Compare.EQUAL, Compare.GREATER, Compare.LESS, Compare.NOT_EQUAL


def holds(machine: Machine, compare: Compare) -> bool:
    return machine.txn(TxnRequest(compare=[compare])).succeeded


@pytest.fixture
def filled(machine: Machine) -> Machine:
    """a: revisions 2 and 4, lease 7; b: revision 3, value x; revision is 4."""
    machine.grant(7)
    machine.put(b"a", b"1")
    machine.put(b"b", b"x")
    machine.put(b"a", b"2", lease=7)
    return machine


@pytest.mark.parametrize(
    ("operand", "value"),
    [("version", 2), ("create_revision", 2), ("mod_revision", 4), ("lease", 7)],
)
def test_numbers_compare(filled: Machine, operand: str, value: int) -> None:
    target = {
        "version": Compare.VERSION,
        "create_revision": Compare.CREATE,
        "mod_revision": Compare.MOD,
        "lease": Compare.LEASE,
    }[operand]
    for offset, expected in ((0, {EQUAL}), (-1, {GREATER, NOT_EQUAL}), (1, {LESS, NOT_EQUAL})):
        for result in (EQUAL, GREATER, LESS, NOT_EQUAL):
            compare = Compare(key=b"a", target=target, result=result)
            setattr(compare, operand, value + offset)
            assert holds(filled, compare) == (result in expected or (result, offset) == (EQUAL, 0))
    # A key that does not exist compares as 0.
    for result, expected_for_zero in ((EQUAL, True), (GREATER, False), (LESS, False)):
        compare = Compare(key=b"none", target=target, result=result)
        setattr(compare, operand, 0)
        assert holds(filled, compare) is expected_for_zero


@pytest.mark.parametrize(
    ("value", "result", "expected"),
    [
        (b"2", EQUAL, True),
        (b"2", NOT_EQUAL, False),
        (b"10", GREATER, True),
        (b"2\0", LESS, True),
        (b"", GREATER, True),
    ],
)
def test_values_compare_bytewise(
    filled: Machine, value: bytes, result: Compare.CompareResult, expected: bool
) -> None:
    compare = Compare(key=b"a", target=Compare.VALUE, result=result, value=value)
    assert holds(filled, compare) is expected


@pytest.mark.parametrize("result", [EQUAL, GREATER, LESS, NOT_EQUAL])
@pytest.mark.parametrize("end", [b"", b"zz"])
def test_no_value_compares_to_nothing(
    filled: Machine, result: Compare.CompareResult, end: bytes
) -> None:
    compare = Compare(key=b"none", target=Compare.VALUE, result=result, range_end=end)
    assert not holds(filled, compare)


def test_a_range_must_hold_for_every_key(filled: Machine) -> None:
    def versions(result: Compare.CompareResult, version: int, end: bytes) -> bool:
        return holds(filled, Compare(key=b"a", range_end=end, result=result, version=version))

    assert versions(GREATER, 0, b"c")
    assert versions(GREATER, 1, b"b")
    assert not versions(GREATER, 1, b"c")
    assert not versions(GREATER, 1, b"\0")
    assert not versions(EQUAL, 2, b"\0")
    assert versions(NOT_EQUAL, 3, b"\0")
    # An empty range behaves as a missing key.
    assert holds(filled, Compare(key=b"z", range_end=b"a", version=0))
    assert not holds(filled, Compare(key=b"z", range_end=b"a", version=1))


def test_operands_of_another_type_are_zero_or_empty(filled: Machine) -> None:
    assert holds(filled, Compare(key=b"a", target=Compare.VERSION, result=GREATER, value=b"zzz"))
    assert holds(filled, Compare(key=b"none", target=Compare.MOD, version=5))
    assert holds(filled, Compare(key=b"a", target=Compare.VALUE, result=GREATER, version=9))
    assert not holds(filled, Compare(key=b"a", target=Compare.VERSION))


def test_unknown_numbers(filled: Machine) -> None:
    unknown_result = Compare(key=b"a", result=9, version=77)  # type: ignore[arg-type]  # open enum
    assert holds(filled, unknown_result)
    for result, expected in ((EQUAL, True), (NOT_EQUAL, False), (GREATER, False), (LESS, False)):
        compare = Compare(key=b"a", target=9, result=result, version=77)  # type: ignore[arg-type]  # open enum
        assert holds(filled, compare) is expected


def test_comparisons_are_anded(filled: Machine) -> None:
    yes, no = Compare(key=b"b", version=1), Compare(key=b"b", version=2)
    assert filled.txn(TxnRequest(compare=[yes, yes])).succeeded
    assert not filled.txn(TxnRequest(compare=[yes, no])).succeeded
    assert filled.txn(TxnRequest()).succeeded


def test_nested_comparisons_see_the_state_before(machine: Machine) -> None:
    exists = Compare(key=b"k", result=GREATER, version=0)
    inner = txn_op([range_op(b"k")], [], [exists])
    response = machine.txn(TxnRequest(success=[put_op(b"k"), inner]))
    assert not response.responses[1].response_txn.succeeded


# Revisions


def op_revisions(response: TxnResponse) -> list[int]:
    """The header revision of every operation."""
    return [_op_header(op) for op in response.responses]


def _op_header(op: ResponseOp) -> int:
    answer = getattr(op, op.WhichOneof("response") or "")
    assert answer.HasField("header")
    revision: int = answer.header.revision
    return revision


@pytest.mark.parametrize(
    ("ops", "expected", "revision"),
    [
        ([put_op(b"n"), range_op(b"n"), delete_op(b"none"), range_op(b"n")], [5, 5, 5, 5], 5),
        ([range_op(b"a"), delete_op(b"a"), range_op(b"a")], [4, 5, 5], 5),
        ([range_op(b"a"), delete_op(b"none")], [4, 4], 4),
        ([delete_op(b"none"), put_op(b"n")], [4, 5], 5),
        ([txn_op([put_op(b"n")]), range_op(b"n")], [0, 5], 5),
        ([], [], 4),
    ],
)
def test_header_revisions(
    filled: Machine, ops: list[RequestOp], expected: list[int], revision: int
) -> None:
    response = filled.txn(TxnRequest(success=ops))
    assert op_revisions(response) == expected
    assert response.header.revision == revision
    assert filled.disk.store.revision == revision


def test_operations_see_those_before_them(filled: Machine) -> None:
    ops = [
        put_op(b"n", b"1"),
        range_op(b"a", b"\0"),
        delete_op(b"a", b"\0", prev_kv=True),
        range_op(b"a", b"\0"),
    ]
    response = filled.txn(TxnRequest(success=ops))
    _, before, deleted, after = response.responses
    kvs = [(kv.key, kv.mod_revision) for kv in before.response_range.kvs]
    assert kvs == [(b"a", 4), (b"b", 3), (b"n", 5)]
    assert deleted.response_delete_range.deleted == 3
    previous = deleted.response_delete_range.prev_kvs
    assert [(kv.key, kv.value) for kv in previous] == [(b"a", b"2"), (b"b", b"x"), (b"n", b"1")]
    assert after.response_range.count == 0
    assert filled.disk.store.lease_of == {}
    assert filled.applier.lessor.leases[7].keys == set()


def test_the_branch_that_is_not_taken_does_nothing(filled: Machine) -> None:
    no = Compare(key=b"a", version=9)
    request = TxnRequest(compare=[no], success=[delete_op(b"a")], failure=[put_op(b"n")])
    response = filled.txn(request)
    assert not response.succeeded
    assert len(response.responses) == 1
    assert [key for key, _ in filled.get(b"a", b"\0")] == [b"a", b"b", b"n"]


def test_a_put_and_a_delete_of_one_key_in_one_revision(filled: Machine) -> None:
    """Possible through a range to the end, which the search for duplicates takes literally."""
    events = []
    filled.applier.notify = lambda revision, found: events.append((revision, found))
    filled.txn(TxnRequest(success=[put_op(b"n"), delete_op(b"b", b"\0"), range_op(b"n")]))
    ((revision, found),) = events
    assert revision == 5
    assert [event.key for event in found] == [b"n", b"b", b"n"]
    assert filled.get(b"a", b"\0") == [(b"a", b"2")]


# What is refused, it is refused before anything is written


@pytest.mark.parametrize(
    ("revision", "failure"),
    [
        (0, None),
        (4, None),
        (2, None),
        (5, Failure.FUTURE_REVISION),
        (6, Failure.FUTURE_REVISION),
        (-1, None),
        (-2, Failure.COMPACTED),
    ],
)
def test_revisions_of_ranges(filled: Machine, revision: int, failure: Failure | None) -> None:
    request = TxnRequest(success=[put_op(b"n"), range_op(b"a", revision=revision)])
    if failure:
        with pytest.raises(RpcError, match=failure.text):
            filled.txn(request)
        assert filled.disk.store.revision == 4
    else:
        filled.txn(request)


@pytest.mark.parametrize(("revision", "fails"), [(-1, True), (2, True), (3, False), (4, False)])
def test_revisions_of_ranges_after_a_compaction(
    filled: Machine, revision: int, fails: bool
) -> None:
    filled.applier.apply(Command.COMPACT, CompactionRequest(revision=3))
    request = TxnRequest(success=[range_op(b"a", revision=revision)])
    if fails:
        with pytest.raises(RpcError, match="compacted"):
            filled.txn(request)
    else:
        filled.txn(request)


@pytest.mark.parametrize(
    ("op", "failure"),
    [
        (put_op(b"a", lease=99), Failure.LEASE_NOT_FOUND),
        (put_op(b"none", b"", ignore_value=True), Failure.KEY_NOT_FOUND),
        (put_op(b"none", ignore_lease=True), Failure.KEY_NOT_FOUND),
        (put_op(b"none", b"", ignore_value=True, lease=99), Failure.KEY_NOT_FOUND),
        (txn_op([put_op(b"a", lease=99)]), Failure.LEASE_NOT_FOUND),
        (range_op(b"a", revision=99), Failure.FUTURE_REVISION),
    ],
)
def test_nothing_is_written_by_a_transaction_that_fails(
    filled: Machine, op: RequestOp, failure: Failure
) -> None:
    with pytest.raises(RpcError, match=failure.text):
        filled.txn(TxnRequest(success=[put_op(b"first"), delete_op(b"b"), op]))
    assert filled.disk.store.revision == 4
    assert filled.get(b"a", b"\0") == [(b"a", b"2"), (b"b", b"x")]
    # The next write is not disturbed.
    assert filled.put(b"n").header.revision == 5
    # In the branch that is not taken it is harmless.
    assert filled.txn(TxnRequest(success=[put_op(b"first")], failure=[op])).succeeded


@pytest.mark.parametrize("fields", [{"ignore_value": True}, {"ignore_lease": True}])
@pytest.mark.parametrize("nested", [False, True])
def test_keeping_what_the_same_transaction_deletes_is_refused(
    filled: Machine, fields: dict[str, int | bool], nested: bool
) -> None:
    """Nothing is left to keep; found out at the write it would be too late."""
    delete = delete_op(b"a", b"\0")
    ops = [txn_op([delete]) if nested else delete, put_op(b"b", b"", **fields)]
    with pytest.raises(RpcError, match="key not found"):
        filled.txn(TxnRequest(success=ops))
    assert filled.disk.store.revision == 4
    filled.txn(TxnRequest(success=ops[::-1]))
    assert filled.get(b"a", b"\0") == []


def test_keeping_what_a_delete_of_other_keys_leaves(filled: Machine) -> None:
    keep = put_op(b"a", b"", ignore_value=True, ignore_lease=True)
    filled.txn(TxnRequest(success=[delete_op(b"b", b"\0"), keep]))
    assert filled.get(b"a", b"\0") == [(b"a", b"2")]
    assert filled.disk.store.lease_of == {b"a": 7}


def test_a_nested_put_counts_for_the_space_alarm(filled: Machine) -> None:
    alarm = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=2, alarm=NOSPACE)
    filled.applier.apply(Command.ALARM, alarm)
    never = Compare(key=b"a", version=9)
    for ops in ([put_op(b"n")], [txn_op([], [put_op(b"n")])]):
        with pytest.raises(RpcError, match="database space exceeded"):
            filled.txn(TxnRequest(compare=[never], success=ops))
    filled.txn(TxnRequest(success=[delete_op(b"a")]))
    assert filled.get(b"a", b"\0") == [(b"b", b"x")]
