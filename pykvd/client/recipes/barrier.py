"""Barriers: a gate that all wait at, and one that opens when enough have come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.client import errors
from pykvd.client.recipes.keys import create, create_unique
from pykvd.client.recipes.waiting import commit, read, remove, until, until_deleted, withdraw
from pykvd.client.requests import range_request, watch_request
from pykvd.client.txn import Draft, put

if TYPE_CHECKING:
    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan
    from pykvd.client.values import KeyValue, RangeResult
    from pykvd.pb import rpc_pb2 as rpc


class Barrier:
    """Closed while its key exists."""

    def __init__(self, engine: Engine, name: bytes) -> None:
        self._engine = engine
        self._name = name

    def hold(self) -> Plan[None]:
        """Close it; raises KeyExists."""
        yield from create(self._engine, self._name)

    def release(self) -> Plan[None]:
        """Open it."""
        yield from remove(self._engine, self._name)

    def wait(self, deadline: float | None) -> Plan[None]:
        """Until it is open; raises TimeoutError."""
        found = yield from read(self._engine, range_request(self._name), deadline)
        if found.kvs:
            revision = found.revision + 1
            yield from until_deleted(self._engine, self._name, revision, deadline)


class DoubleBarrier:
    """Opens when `count` have entered, and again when all of them have left.

    Who has entered is a key `<name>/waiters/<time>` each; `<name>/ready` says that all are there.
    They vanish with the leases of those who made them.
    """

    def __init__(self, engine: Engine, name: bytes, count: int) -> None:
        self._engine = engine
        self._waiters = name + b"/waiters"
        self._ready = name + b"/ready"
        self._count = count
        self._key = b""

    def enter(self, lease_id: int, deadline: float | None) -> Plan[None]:
        """Come in and wait for the others.

        Raises:
            TooManyClients: enough are there already.
            TimeoutError: not all came by the deadline; the caller has left again.

        """
        if len((yield from self._entered(deadline))) >= self._count:
            raise errors.TooManyClients
        self._key, revision = yield from create_unique(
            self._engine, self._waiters, lease_id=lease_id, deadline=deadline
        )
        entered = yield from self._entered(deadline)
        if len(entered) >= self._count:
            last = entered[self._count - 1].create_revision
            if revision > last:
                yield from self._withdraw()
                raise errors.TooManyClients
            if revision == last:
                opening = Draft().then(put(self._ready, b"", lease=lease_id))
                yield from commit(self._engine, opening, deadline)
                return
        request = watch_request(self._ready, start_revision=revision, skip="delete")
        try:
            yield from until(self._engine, request, lambda _: True, deadline)
        except TimeoutError:
            yield from self._withdraw()
            raise

    def leave(self, deadline: float | None) -> Plan[None]:
        """Go, and wait until all others have gone; raises TimeoutError.

        The one that came first stays until the last, and the others wait for it.
        """
        while True:
            waiters = (yield from self._entered(deadline)).kvs
            if not waiters:
                return
            lowest = min(waiters, key=_by_revision)
            highest = max(waiters, key=_by_revision)
            if lowest.key != self._key:
                yield from self._withdraw()
                awaited = lowest
            elif len(waiters) == 1:
                yield from remove(self._engine, self._ready)
                yield from self._withdraw()
                return
            else:
                awaited = highest
            yield from until_deleted(self._engine, awaited.key, awaited.mod_revision, deadline)

    def _all(self) -> rpc.RangeRequest:
        return range_request(self._waiters, prefix=True, sort_by="create_revision")

    def _entered(self, deadline: float | None) -> Plan[RangeResult]:
        return (yield from read(self._engine, self._all(), deadline))

    def _withdraw(self) -> Plan[None]:
        key, self._key = self._key, b""
        if key:
            yield from withdraw(self._engine, key)


def _by_revision(waiter: KeyValue) -> int:
    return waiter.mod_revision
