"""What the recipes share: waiting for events, and turns by the order of creation."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from pykvd.client import errors, methods, requests
from pykvd.client.leases import GIVE_UP_TIMEOUT, insist
from pykvd.client.txn import txn_result
from pykvd.client.values import KeyValue, RangeResult
from pykvd.client.watching import Watcher
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan
    from pykvd.client.txn import Draft
    from pykvd.client.values import Event, TxnResult

T = TypeVar("T")


def read(
    engine: Engine, request: rpc.RangeRequest, deadline: float | None = None
) -> Plan[RangeResult]:
    """A range."""
    timeout = engine.timeout_until(deadline)
    return RangeResult.of((yield from engine.call(methods.RANGE, request, timeout)))


def commit(
    engine: Engine, draft: Draft, deadline: float | None = None, *, repeatable: bool = False
) -> Plan[TxnResult]:
    """A transaction; `repeatable` if it may be carried out twice."""
    method = methods.REPEATABLE_TXN if repeatable else methods.TXN
    timeout = engine.timeout_until(deadline)
    return txn_result(draft.request, (yield from engine.call(method, draft.request, timeout)))


def remove(engine: Engine, key: bytes) -> Plan[None]:
    """Delete a key."""
    yield from engine.call(methods.DELETE, rpc.DeleteRangeRequest(key=key))


def withdraw(engine: Engine, key: bytes, *, giving_up: bool = False) -> Plan[None]:
    """Delete a key that nobody else makes or deletes, whatever happens to the caller meanwhile."""
    request = rpc.DeleteRangeRequest(key=key)
    timeout = GIVE_UP_TIMEOUT if giving_up else None

    def attempt() -> Plan[None]:
        yield from engine.call(methods.DELETE_OWN, request, timeout)

    return insist(attempt)


def give_up(failure: BaseException, withdrawal: Plan[None]) -> Plan[None]:
    """Undo what was begun; if no server answers, the lease will do it."""
    if isinstance(failure, errors.DeadlineExceeded):
        withdrawal.close()
        return
    with contextlib.suppress(errors.EtcdError):
        yield from withdrawal


def until(
    engine: Engine,
    request: rpc.WatchCreateRequest,
    wanted: Callable[[Event], bool],
    deadline: float | None,
) -> Plan[Event]:
    """The first event that is wanted; raises TimeoutError at the deadline."""
    watcher = Watcher(engine, request, None)
    try:
        while True:
            for event in (yield from watcher.fill(deadline)):
                if wanted(event):
                    return event
    finally:
        watcher.close()


def until_deleted(engine: Engine, key: bytes, revision: int, deadline: float | None) -> Plan[Event]:
    """The deletion of a key at or after a revision."""
    request = requests.watch_request(key, start_revision=revision, skip="put")
    return until(engine, request, lambda event: event.deleted, deadline)


def first_created(prefix: bytes) -> rpc.RangeRequest:
    """The oldest key with a prefix."""
    return requests.range_request(prefix, prefix=True, sort_by="create_revision", limit=1)


def turn(engine: Engine, prefix: bytes, revision: int, deadline: float | None) -> Plan[None]:
    """Until no key with the prefix is left that was created before this revision.

    Each waits for the one just before it only, so that a release wakes one waiter, not all.
    """
    request = requests.range_request(
        prefix,
        prefix=True,
        sort_by="create_revision",
        descending=True,
        limit=1,
        max_create_revision=revision - 1,
    )
    while True:
        before = yield from read(engine, request, deadline)
        if not before.kvs:
            return
        yield from until_deleted(engine, before.kvs[0].key, before.revision + 1, deadline)


def only(result: RangeResult) -> KeyValue | None:
    """Its first key, if there is one."""
    return result.kvs[0] if result.kvs else None
