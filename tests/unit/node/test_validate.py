"""What is refused before it is proposed: fields, numbers of operations, duplicate keys."""

import pytest

from pykvd.errors import Failure, RpcError
from pykvd.node.validate import (
    check_put,
    check_range,
    check_txn,
    is_read_only,
    is_serializable,
    puts_of,
)
from pykvd.pb.rpc_pb2 import Compare, PutRequest, RangeRequest, RequestOp, TxnRequest
from tests.unit.node.machine import delete_op, put_op, range_op, txn_op

MAX_OPS = 128


def verdict(
    success: list[RequestOp], failure: list[RequestOp] | None = None, compares: int = 0
) -> Failure | None:
    """The failure that a transaction is refused with."""
    compare = [Compare(key=b"k")] * compares
    request = TxnRequest(compare=compare, success=success, failure=failure)
    try:
        check_txn(request, MAX_OPS)
    except RpcError as error:
        wanted = (error.code, error.message)
        (failed,) = [each for each in Failure if (each.code, each.text) == wanted]
        return failed
    return None


K_TO_M = (b"k", b"m")
DUPLICATE = Failure.DUPLICATE_KEY


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        pytest.param([put_op(b"k"), put_op(b"k")], DUPLICATE, id="put put"),
        pytest.param([put_op(b"k"), put_op(b"l")], None, id="puts of two keys"),
        pytest.param([put_op(b"l"), delete_op(*K_TO_M)], DUPLICATE, id="put delete"),
        pytest.param([delete_op(*K_TO_M), put_op(b"l")], DUPLICATE, id="delete put"),
        pytest.param([delete_op(b"k"), put_op(b"k")], DUPLICATE, id="delete of one key, put"),
        pytest.param([delete_op(b"k"), put_op(b"k\0")], None, id="delete of another key, put"),
        pytest.param([delete_op(*K_TO_M), put_op(b"m")], None, id="put at the end of a delete"),
        pytest.param([delete_op(*K_TO_M), delete_op(b"k")], None, id="delete delete"),
        pytest.param([range_op(*K_TO_M), put_op(b"k"), range_op(b"k")], None, id="range put"),
        pytest.param([range_op(b"k"), delete_op(b"k")], None, id="range delete"),
        pytest.param([txn_op([put_op(b"k")], [put_op(b"k")])], None, id="then and else of one"),
        pytest.param(
            [txn_op([put_op(b"k")]), txn_op([put_op(b"k")])], DUPLICATE, id="sibling puts"
        ),
        pytest.param(
            [txn_op([], [put_op(b"k")]), txn_op([put_op(b"k")])], DUPLICATE, id="sibling else, then"
        ),
        pytest.param([put_op(b"k"), txn_op([put_op(b"k")])], DUPLICATE, id="outer put, then"),
        pytest.param([put_op(b"k"), txn_op([], [put_op(b"k")])], DUPLICATE, id="outer put, else"),
        pytest.param([txn_op([put_op(b"k")]), put_op(b"k")], DUPLICATE, id="then, outer put"),
        pytest.param(
            [put_op(b"l"), txn_op([delete_op(*K_TO_M)])], DUPLICATE, id="put, nested delete"
        ),
        pytest.param(
            [txn_op([delete_op(*K_TO_M)]), put_op(b"l")], DUPLICATE, id="nested delete, put"
        ),
        pytest.param(
            [delete_op(*K_TO_M), txn_op([put_op(b"l")])], DUPLICATE, id="delete, nested put"
        ),
        pytest.param(
            [txn_op([put_op(b"l")]), delete_op(*K_TO_M)], DUPLICATE, id="nested put, delete"
        ),
        pytest.param(
            [txn_op([delete_op(*K_TO_M)]), txn_op([put_op(b"l")])],
            DUPLICATE,
            id="sibling deletes, later sibling puts",
        ),
        pytest.param(
            [txn_op([put_op(b"l")]), txn_op([delete_op(*K_TO_M)])],
            None,
            id="sibling puts, later sibling deletes",
        ),
        pytest.param(
            [txn_op([put_op(b"k")], [delete_op(b"k")])], None, id="then puts, else deletes"
        ),
        pytest.param([delete_op(b"a", b"\0"), put_op(b"k")], None, id="delete to the end, put"),
        pytest.param([put_op(b"k"), delete_op(b"a", b"\0")], None, id="put, delete to the end"),
        pytest.param([delete_op(b"m", b"k"), put_op(b"l")], None, id="inverted delete, put"),
        pytest.param([txn_op([txn_op([put_op(b"k")])]), put_op(b"k")], DUPLICATE, id="two levels"),
        pytest.param(
            [txn_op([txn_op([put_op(b"k")]), put_op(b"k")])], DUPLICATE, id="inside a nested one"
        ),
    ],
)
def test_duplicate_keys(ops: list[RequestOp], expected: Failure | None) -> None:
    assert verdict(ops) is expected
    assert verdict([], ops) is expected


def test_the_two_branches_never_conflict() -> None:
    assert verdict([put_op(b"k")], [put_op(b"k"), delete_op(b"x")]) is None


@pytest.mark.parametrize(
    ("success", "failure", "compares", "expected"),
    [
        (100, 100, 0, None),
        (128, 128, 128, None),
        (129, 0, 0, Failure.TOO_MANY_OPS),
        (0, 129, 0, Failure.TOO_MANY_OPS),
        (0, 0, 129, Failure.TOO_MANY_OPS),
    ],
)
def test_the_number_of_operations(
    success: int, failure: int, compares: int, expected: Failure | None
) -> None:
    assert verdict([range_op(b"k")] * success, [range_op(b"k")] * failure, compares) is expected


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        (126, 1, None),
        (127, 1, Failure.TOO_MANY_OPS),
        (127, 0, None),
        (0, 127, None),
        (0, 128, Failure.TOO_MANY_OPS),
    ],
)
def test_the_number_of_nested_operations(outer: int, inner: int, expected: Failure | None) -> None:
    """A nested transaction may have what its parent's longest list leaves."""
    ops = [*[range_op(b"k")] * outer, txn_op([range_op(b"k")] * inner)]
    assert verdict(ops) is expected


def test_nesting_almost_as_deep_as_protobuf_parses() -> None:
    op = range_op(b"k")
    for _ in range(40):
        op = txn_op([op])
    assert verdict([op]) is None


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (put_op(b""), Failure.EMPTY_KEY),
        (range_op(b""), Failure.EMPTY_KEY),
        (delete_op(b""), Failure.EMPTY_KEY),
        (put_op(b"k", b"v", ignore_value=True), Failure.VALUE_PROVIDED),
        (put_op(b"k", b"", ignore_lease=True, lease=1), Failure.LEASE_PROVIDED),
        (put_op(b"k", b"", ignore_lease=True, ignore_value=True), None),
        (RequestOp(), Failure.KEY_NOT_FOUND),
        (txn_op([], [], [Compare()]), Failure.EMPTY_KEY),
        (txn_op([]), None),
    ],
)
def test_fields_of_both_branches_are_checked(op: RequestOp, expected: Failure | None) -> None:
    assert verdict([op]) is expected
    assert verdict([], [op]) is expected
    assert verdict([txn_op([range_op(b"x")], [op])]) is expected


def test_the_order_of_checks() -> None:
    """Number of operations, compare keys, then-branch, else-branch, duplicates."""
    many = [put_op(b"")] * 129
    request = TxnRequest(compare=[Compare()], success=many)
    with pytest.raises(RpcError, match="too many operations"):
        check_txn(request, MAX_OPS)
    request = TxnRequest(compare=[Compare()], success=[RequestOp()])
    with pytest.raises(RpcError, match="key is not provided"):
        check_txn(request, MAX_OPS)
    request = TxnRequest(success=[put_op(b"k", ignore_value=True)], failure=[put_op(b"")])
    with pytest.raises(RpcError, match="value is provided"):
        check_txn(request, MAX_OPS)
    request = TxnRequest(success=[put_op(b"k"), put_op(b"k")], failure=[put_op(b"")])
    with pytest.raises(RpcError, match="key is not provided"):
        check_txn(request, MAX_OPS)


def test_ranges() -> None:
    check_range(RangeRequest(key=b"k", limit=-1, revision=-5))
    for broken, text in (
        (RangeRequest(), "key is not provided"),
        (RangeRequest(key=b"k", sort_order=9), "invalid sort option"),  # type: ignore[arg-type]  # open enum
        (RangeRequest(key=b"k", sort_target=-1), "invalid sort option"),  # type: ignore[arg-type]  # open enum
    ):
        with pytest.raises(RpcError, match=text):
            check_range(broken)


def test_puts() -> None:
    check_put(PutRequest(key=b"k"))
    with pytest.raises(RpcError, match="key is not provided"):
        check_put(PutRequest(value=b"v", ignore_value=True))
    with pytest.raises(RpcError, match="value is provided"):
        check_put(PutRequest(key=b"k", value=b"v", ignore_value=True, ignore_lease=True, lease=1))


def test_which_transactions_skip_the_log() -> None:
    read = TxnRequest(success=[range_op(b"k")], failure=[range_op(b"l")])
    assert is_read_only(TxnRequest())
    assert is_read_only(read)
    assert not is_read_only(TxnRequest(success=[range_op(b"k"), put_op(b"k")]))
    assert not is_read_only(TxnRequest(failure=[delete_op(b"k")]))
    # A nested one makes it a write, even if it only reads.
    assert not is_read_only(TxnRequest(success=[txn_op([range_op(b"k")])]))
    assert not is_serializable(TxnRequest())
    assert not is_serializable(read)
    for op in (read.success[0], read.failure[0]):
        op.request_range.serializable = True
    assert is_serializable(read)


def test_puts_are_found_at_every_depth() -> None:
    ops = [put_op(b"a"), txn_op([put_op(b"b"), range_op(b"x")], [txn_op([], [put_op(b"c")])])]
    assert [put.key for put in puts_of(ops)] == [b"a", b"b", b"c"]
