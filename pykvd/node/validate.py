"""Validation of KV requests before they are proposed: fields, operation counts, overlaps."""

from collections.abc import Iterable, Sequence

from pykvd.errors import Failure
from pykvd.pb.rpc_pb2 import PutRequest, RangeRequest, RequestOp, TxnRequest

_SORT_ORDERS = frozenset(RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(RangeRequest.SortTarget.values())


def check_range(request: RangeRequest) -> None:
    """Raise the API's error for a malformed Range."""
    if not request.key:
        raise Failure.EMPTY_KEY.error()
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise Failure.INVALID_SORT_OPTION.error()


def check_put(request: PutRequest) -> None:
    """Raise the API's error for a malformed Put."""
    if not request.key:
        raise Failure.EMPTY_KEY.error()
    if request.ignore_value and request.value:
        raise Failure.VALUE_PROVIDED.error()
    if request.ignore_lease and request.lease:
        raise Failure.LEASE_PROVIDED.error()


def check_txn(request: TxnRequest, max_ops: int) -> None:
    """Raise the API's error for a malformed Txn: operation counts, fields, duplicate keys."""
    _check_fields(request, max_ops)
    for branch in (request.success, request.failure):
        _check_overlaps(branch)


def _check_fields(request: TxnRequest, max_ops: int) -> None:
    count = max(len(request.compare), len(request.success), len(request.failure))
    if count > max_ops:
        raise Failure.TOO_MANY_OPS.error()
    if not all(compare.key for compare in request.compare):
        raise Failure.EMPTY_KEY.error()
    for op in (*request.success, *request.failure):
        match op.WhichOneof("request"):
            case "request_range":
                check_range(op.request_range)
            case "request_put":
                check_put(op.request_put)
            case "request_delete_range":
                if not op.request_delete_range.key:
                    raise Failure.EMPTY_KEY.error()
            case "request_txn":
                _check_fields(op.request_txn, max_ops - count)
            case _:
                raise Failure.KEY_NOT_FOUND.error()


Interval = tuple[bytes, bytes]


def _covers(interval: Interval, key: bytes) -> bool:
    first, end = interval
    return first <= key < end if end else key == first


def _check_overlaps(ops: Sequence[RequestOp]) -> tuple[set[bytes], list[Interval]]:
    """Refuse a key put twice, or put and deleted; returns what the list puts and deletes.

    Intervals are taken literally, as etcd takes them: a range_end of one zero byte covers nothing
    here, and a nested delete does not clash with a put of an earlier sibling.
    """
    kinds = [(op.WhichOneof("request"), op) for op in ops]
    puts: set[bytes] = set()
    deletes = [
        (op.request_delete_range.key, op.request_delete_range.range_end)
        for kind, op in kinds
        if kind == "request_delete_range"
    ]

    def put(key: bytes, allowed: Iterable[bytes] = ()) -> None:
        if (key in puts and key not in allowed) or any(_covers(d, key) for d in deletes):
            raise Failure.DUPLICATE_KEY.error()

    for kind, op in kinds:
        if kind == "request_txn":
            then_puts, then_deletes = _check_overlaps(op.request_txn.success)
            else_puts, else_deletes = _check_overlaps(op.request_txn.failure)
            for key in then_puts:
                put(key)
            puts |= then_puts
            for key in else_puts:
                put(key, then_puts)
            puts |= else_puts
            deletes += then_deletes + else_deletes
    for kind, op in kinds:
        if kind == "request_put":
            put(op.request_put.key)
            puts.add(op.request_put.key)
    return puts, deletes


def is_read_only(request: TxnRequest) -> bool:
    """Whether the transaction can skip the log: every operation of both branches is a Range."""
    return all(op.HasField("request_range") for op in (*request.success, *request.failure))


def is_serializable(request: TxnRequest) -> bool:
    """Whether a read-only transaction needs no read barrier.

    One that only compares does: nothing in it says that an old answer will do (etcd gives one).
    """
    ops = (*request.success, *request.failure)
    return bool(ops) and all(op.request_range.serializable for op in ops)


def puts_of(ops: Iterable[RequestOp]) -> list[PutRequest]:
    """Every put of a branch, nested transactions included."""
    puts: list[PutRequest] = []
    for op in ops:
        match op.WhichOneof("request"):
            case "request_put":
                puts.append(op.request_put)
            case "request_txn":
                puts += puts_of(op.request_txn.success)
                puts += puts_of(op.request_txn.failure)
    return puts
