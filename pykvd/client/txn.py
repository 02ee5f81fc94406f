"""Transactions that read like Python.

```python
client.txn().when(version("k") == 0).then(put("k", "v")).otherwise(get("k")).commit()
```

The functions here make conditions (`version`, `create_revision`, `mod_revision`, `value` and
`lease_of` with `==`, `!=`, `<`, `>`) and operations (`get`, `put`, `delete`, `nested`); their
arguments are those of the client's methods of the same name, and are checked like them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, overload

from pykvd.client import arguments, errors, methods, requests
from pykvd.client.steps import mapped
from pykvd.client.values import TxnResult
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from pykvd.client.arguments import Data, HasId
    from pykvd.client.engine import Engine
    from pykvd.client.requests import SortBy
    from pykvd.client.steps import Plan

Condition = rpc.Compare
"""A comparison, as `version(key) == 0` makes it."""
Operation = rpc.RequestOp
"""Something that a transaction does, as `put(key, value)` makes it."""

_FIELDS: Final = {
    rpc.Compare.VERSION: "version",
    rpc.Compare.CREATE: "create_revision",
    rpc.Compare.MOD: "mod_revision",
    rpc.Compare.LEASE: "lease",
}


class Operand:
    """One side of a comparison; compare it with a number (or, for `value`, with data)."""

    __slots__ = ("_end", "_key", "_target")
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, target: rpc.Compare.CompareTarget, key: Data, end: Data | None, *, prefix: bool
    ) -> None:
        self._target = target
        self._key, self._end = requests.span(key, end, prefix=prefix)

    def __eq__(self, other: Data | HasId | int) -> Condition:  # type: ignore[override]
        return self._compare(rpc.Compare.EQUAL, other)

    def __ne__(self, other: Data | HasId | int) -> Condition:  # type: ignore[override]
        return self._compare(rpc.Compare.NOT_EQUAL, other)

    def __lt__(self, other: Data | HasId | int) -> Condition:
        return self._compare(rpc.Compare.LESS, other)

    def __gt__(self, other: Data | HasId | int) -> Condition:
        return self._compare(rpc.Compare.GREATER, other)

    def _compare(self, result: rpc.Compare.CompareResult, other: object) -> Condition:
        condition = rpc.Compare(
            result=result, target=self._target, key=self._key, range_end=self._end
        )
        if self._target == rpc.Compare.VALUE:
            condition.value = arguments.data("value", other)
        elif self._target == rpc.Compare.LEASE:
            condition.lease = arguments.lease(other)
        else:
            field = _FIELDS[self._target]
            setattr(condition, field, arguments.integer(field, other))
        return condition


def version(key: Data, end: Data | None = None, *, prefix: bool = False) -> Operand:
    """How often the key was put since it was created; 0 if it does not exist.

    Over a range or prefix the condition has to hold for every key.
    """
    return Operand(rpc.Compare.VERSION, key, end, prefix=prefix)


def create_revision(key: Data, end: Data | None = None, *, prefix: bool = False) -> Operand:
    """The revision that created the key; 0 if it does not exist."""
    return Operand(rpc.Compare.CREATE, key, end, prefix=prefix)


def mod_revision(key: Data, end: Data | None = None, *, prefix: bool = False) -> Operand:
    """The revision that changed the key last; 0 if it does not exist."""
    return Operand(rpc.Compare.MOD, key, end, prefix=prefix)


def value(key: Data, end: Data | None = None, *, prefix: bool = False) -> Operand:
    """The key's value; no comparison holds for a key that does not exist."""
    return Operand(rpc.Compare.VALUE, key, end, prefix=prefix)


def lease_of(key: Data, end: Data | None = None, *, prefix: bool = False) -> Operand:
    """The lease that the key is attached to; 0 for none."""
    return Operand(rpc.Compare.LEASE, key, end, prefix=prefix)


def get(
    key: Data,
    end: Data | None = None,
    *,
    prefix: bool = False,
    limit: int = 0,
    revision: int = 0,
    sort_by: SortBy | None = None,
    descending: bool = False,
    serializable: bool = False,
    keys_only: bool = False,
    count_only: bool = False,
) -> Operation:
    """Read a key, a range or a prefix; its response is a RangeResult."""
    request = requests.range_request(
        key,
        end,
        prefix=prefix,
        limit=limit,
        revision=revision,
        sort_by=sort_by,
        descending=descending,
        serializable=serializable,
        keys_only=keys_only,
        count_only=count_only,
    )
    return rpc.RequestOp(request_range=request)


def put(
    key: Data,
    value: Data,
    *,
    lease: HasId | int | None = None,
    prev_kv: bool = False,
    ignore_value: bool = False,
    ignore_lease: bool = False,
) -> Operation:
    """Put a key; its response is a PutResult."""
    request = requests.put_request(
        key,
        value,
        lease=lease,
        prev_kv=prev_kv,
        ignore_value=ignore_value,
        ignore_lease=ignore_lease,
    )
    return rpc.RequestOp(request_put=request)


def delete(
    key: Data, end: Data | None = None, *, prefix: bool = False, prev_kv: bool = False
) -> Operation:
    """Delete a key, a range or a prefix; its response is a DeleteResult."""
    request = requests.delete_request(key, end, prefix=prefix, prev_kv=prev_kv)
    return rpc.RequestOp(request_delete_range=request)


def nested(txn: Draft) -> Operation:
    """A transaction inside of another; its response is a TxnResult."""
    return rpc.RequestOp(request_txn=txn.request)


class Draft:
    """A transaction that is being written; every method returns it.

    As `nested` takes it. What `Client.txn` and `AsyncClient.txn` return can be committed too.
    """

    def __init__(self) -> None:
        self.request = rpc.TxnRequest()

    def when(self, *conditions: Condition) -> Self:
        """Conditions that all have to hold; without any they do."""
        self.request.compare.extend(_checked("when", conditions, rpc.Compare))
        return self

    def then(self, *operations: Operation) -> Self:
        """What is done if they hold."""
        self.request.success.extend(_checked("then", operations, rpc.RequestOp))
        return self

    def otherwise(self, *operations: Operation) -> Self:
        """What is done if they do not."""
        self.request.failure.extend(_checked("otherwise", operations, rpc.RequestOp))
        return self


@overload
def _checked(field: str, given: tuple[object, ...], kind: type[Condition]) -> list[Condition]: ...
@overload
def _checked(field: str, given: tuple[object, ...], kind: type[Operation]) -> list[Operation]: ...
def _checked(field: str, given: tuple[object, ...], kind: type[Any]) -> list[Any]:
    for item in given:
        if not isinstance(item, kind):
            what = "a condition" if kind is rpc.Compare else "an operation"
            raise TypeError(f"{field}: expected {what}, got {type(item).__name__}")
    return list(given)


def reads_only(request: rpc.TxnRequest) -> bool:
    """Whether neither branch can change anything, so that it may be repeated."""
    operations = [*request.success, *request.failure]
    return all(operation.HasField("request_range") for operation in operations)


def commit(engine: Engine, request: rpc.TxnRequest, timeout: float | None) -> Plan[TxnResult]:
    """Carry it out."""
    method = methods.REPEATABLE_TXN if reads_only(request) else methods.TXN
    return mapped(engine.call(method, request, timeout), lambda answer: txn_result(request, answer))


def txn_result(request: rpc.TxnRequest, answer: rpc.TxnResponse) -> TxnResult:
    """The answer, one response for each operation; raises DataLoss if it is not like that."""
    asked = request.success if answer.succeeded else request.failure
    kinds = [operation.WhichOneof("request") for operation in asked]
    if [f"request_{_kind(response)}" for response in answer.responses] != kinds:
        raise errors.DataLoss("the server's answer does not belong to the transaction")
    return TxnResult.of(answer)


def _kind(response: rpc.ResponseOp) -> str:
    return (response.WhichOneof("response") or "").removeprefix("response_")
