"""Transactions: validation, comparison, execution (api of etcd 3.6, KV.Txn).

A transaction runs in three steps, so that nothing fails half way: all comparisons of all levels
are decided on the state before it, then the operations that will run are checked, then they run.
"""

import operator
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pykvd.errors import Failure
from pykvd.mvcc.errors import CompactedError, FutureRevisionError
from pykvd.mvcc.index import FROM_KEY
from pykvd.mvcc.record import MAIN_SHIFT, parse, varint
from pykvd.mvcc.store import RangeResult, Store
from pykvd.node.header import revision_header
from pykvd.node.writes import Writer
from pykvd.pb.rpc_pb2 import Compare, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest

# Comparison

_RELATIONS: dict[int, Callable[[Any, Any], bool]] = {
    Compare.EQUAL: operator.eq,
    Compare.NOT_EQUAL: operator.ne,
    Compare.GREATER: operator.gt,
    Compare.LESS: operator.lt,
}
#: Values of a range that are read together; the first that does not fit decides.
_TOGETHER = 100
_MISSING = (0, 0, 0)


def _operand(compare: Compare) -> int | bytes:
    match compare.target:
        case Compare.VALUE:
            return compare.value
        case Compare.VERSION:
            return compare.version
        case Compare.CREATE:
            return compare.create_revision
        case Compare.MOD:
            return compare.mod_revision
        case Compare.LEASE:
            return compare.lease
    return 0


def _state(store: Store, target: int, key: bytes) -> int | bytes | None:
    """What is compared of a key; None is a value that is not there."""
    if target == Compare.VALUE:
        framed = store.get(key)
        return None if framed is None else parse(framed).value
    if target == Compare.LEASE:
        return store.lease_of.get(key, 0)
    record_id, create, version = store.index.find(key) or _MISSING
    match target:
        case Compare.VERSION:
            return version
        case Compare.CREATE:
            return create
        case Compare.MOD:
            return record_id >> MAIN_SHIFT
    return 0


def holds(store: Store, compare: Compare) -> bool:
    """Whether a comparison holds now; over a range it must hold for every key."""
    fits, operand = _RELATIONS.get(compare.result, _always), _operand(compare)
    target, end = compare.target, compare.range_end
    keys = list(store.index.keys(compare.key, end)) if end else ()
    if not keys:
        # An empty range compares as a missing key does; no key is empty.
        state = _state(store, target, b"" if end else compare.key)
        return state is not None and fits(state, operand)
    if target == Compare.VALUE:
        pages = (keys[start : start + _TOGETHER] for start in range(0, len(keys), _TOGETHER))
        records = (framed for page in pages for framed in store.get_all(page))
        return all(fits(parse(framed).value, operand) for framed in records)
    return all(fits(_state(store, target, key), operand) for key in keys)


def _always(_state: object, _operand: object) -> bool:
    return True


# Execution


@dataclass(slots=True)
class Plan:
    """A transaction whose branch is decided; `nested` are the plans of its inner transactions."""

    succeeded: bool
    ops: Sequence[RequestOp]
    nested: list["Plan"]


def plan(store: Store, request: TxnRequest) -> Plan:
    """Decide every comparison on the present state."""
    succeeded = all(holds(store, compare) for compare in request.compare)
    ops = request.success if succeeded else request.failure
    nested = [plan(store, op.request_txn) for op in ops if op.HasField("request_txn")]
    return Plan(succeeded, ops, nested)


def check_plan(
    store: Store,
    planned: Plan,
    writer: Writer | None,
    deletions: list[DeleteRangeRequest] | None = None,
) -> None:
    """Raise the API's error if an operation that will run cannot.

    `deletions` are those that will have run before.
    """
    deletions = [] if deletions is None else deletions
    nested = iter(planned.nested)
    for op in planned.ops:
        match op.WhichOneof("request"):
            case "request_range":
                check_revision(store, op.request_range.revision)
            case "request_put":
                assert writer
                writer.check_put_in_txn(op.request_put)
                _check_kept(op.request_put, deletions)
            case "request_delete_range":
                deletions.append(op.request_delete_range)
            case "request_txn":
                check_plan(store, next(nested), writer, deletions)


def _check_kept(put: PutRequest, deletions: list[DeleteRangeRequest]) -> None:
    """Refuse to keep a value or lease that is deleted before: validation lets FROM_KEY pass."""
    if not (put.ignore_value or put.ignore_lease):
        return
    for deletion in deletions:
        if deletion.range_end == FROM_KEY and deletion.key <= put.key:
            raise Failure.KEY_NOT_FOUND.error()


def check_revision(store: Store, revision: int) -> None:
    """Raise the API's error for a revision that cannot be read; 0 is the newest."""
    if revision == 0:
        return
    try:
        store.check_revision(revision)
    except FutureRevisionError:
        raise Failure.FUTURE_REVISION.error() from None
    except CompactedError:
        raise Failure.COMPACTED.error() from None


def encode_range(header: bytes, result: RangeResult) -> bytes:
    """A RangeResponse out of stored bytes."""
    return b"".join((header, *result.kvs, encode_totals(result.more, result.count)))


def encode_totals(more: bool, count: int) -> bytes:
    """The last fields of a RangeResponse."""
    return (b"\x18\x01" if more else b"") + (b" " + varint(count) if count else b"")


def run(store: Store, planned: Plan, writer: Writer | None) -> bytes:
    """Run the decided operations; returns the TxnResponse without its header."""
    nested = iter(planned.nested)
    responses: list[bytes] = []
    for op in planned.ops:
        match op.WhichOneof("request"):
            case "request_range":
                result = store.range(op.request_range, op.request_range.revision)
                number, body = 1, encode_range(_op_header(store), result)
            case "request_put":
                assert writer
                previous = writer.put(op.request_put)
                number, body = 2, _op_header(store) + previous
            case "request_delete_range":
                assert writer
                deleted = writer.delete_range(op.request_delete_range)
                number, body = 3, _op_header(store) + deleted
            case _:
                # etcd leaves the header of an inner transaction present and empty.
                number, body = 4, b"\n\x00" + run(store, next(nested), writer)
        responses += (_op_prefix(number, len(body)), body)
    succeeded = b"\x10\x01" if planned.succeeded else b""
    return b"".join((succeeded, *responses))


def read_in_steps(store: Store, request: TxnRequest) -> Generator[list[bytes], None, None]:
    """Run a transaction of Ranges alone, on the present state, in bounded steps.

    Gives pieces of the TxnResponse without its header, some or none in each step. Raises
    CompactedError once the state is compacted.
    """
    planned = plan(store, request)
    check_plan(store, planned, None)
    revision, header = store.revision, _op_header(store)
    answer = [[b"\x10\x01"]] if planned.succeeded else []
    for op in planned.ops:
        body, size = [[header]], len(header)
        wanted = op.request_range.revision
        steps = store.steps(op.request_range, wanted if wanted > 0 else revision)
        while True:
            try:
                body.append(next(steps))
            except StopIteration as end:
                body.append([encode_totals(*end.value)])
                break
            size += sum(map(len, body[-1]))
            yield []
        answer += ([_op_prefix(1, size + len(body[-1][0]))], *body)
    yield from answer


@lru_cache(maxsize=256)
def _op_prefix(number: int, length: int) -> bytes:
    """What stands before the body of one operation's response."""
    inner = bytes((number << 3 | 2,)) + varint(length)
    return b"\x1a" + varint(len(inner) + length) + inner


_header_at = lru_cache(maxsize=4)(revision_header)


def _op_header(store: Store) -> bytes:
    return _header_at(store.newest)
