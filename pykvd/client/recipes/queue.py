"""Queues of many writers and many readers: first in first out, and by priority."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pykvd.client import arguments
from pykvd.client.recipes.keys import create_next, create_unique
from pykvd.client.recipes.waiting import commit, only, read, until
from pykvd.client.requests import range_request, watch_request
from pykvd.client.txn import Draft, delete, mod_revision

if TYPE_CHECKING:
    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan
    from pykvd.client.values import KeyValue
    from pykvd.pb import rpc_pb2 as rpc

MAX_PRIORITY: Final = 65_535


class Queue:
    """First in, first out. Items are the values of `<name>/<time>`."""

    def __init__(self, engine: Engine, name: bytes) -> None:
        self._engine = engine
        self._name = name

    def put(self, value: bytes) -> Plan[None]:
        """Add an item."""
        yield from create_unique(self._engine, self._name, value)

    def get(self, deadline: float | None) -> Plan[bytes]:
        """Take the oldest item, and wait for one if there is none; raises TimeoutError."""
        first = range_request(self._name, prefix=True, sort_by="mod_revision", limit=1)
        return (yield from take(self._engine, self._name, first, deadline))


class PriorityQueue:
    """The smallest priority first; of equal ones the oldest.

    Items are the values of `<name>/<priority in five digits>/<number>`.
    """

    def __init__(self, engine: Engine, name: bytes) -> None:
        self._engine = engine
        self._prefix = name + b"/"

    def put(self, value: bytes, priority: int) -> Plan[None]:
        """Add an item."""
        arguments.integer("priority", priority, 0, MAX_PRIORITY)
        yield from create_next(self._engine, self._prefix + b"%05d" % priority, value)

    def get(self, deadline: float | None) -> Plan[bytes]:
        """Take the first item, and wait for one if there is none; raises TimeoutError."""
        first = range_request(self._prefix, prefix=True, sort_by="key", limit=1)
        return (yield from take(self._engine, self._prefix, first, deadline))


def take(
    engine: Engine, prefix: bytes, first: rpc.RangeRequest, deadline: float | None
) -> Plan[bytes]:
    """Claim the first item by deleting it; whoever deletes it has it."""
    while deadline is None or engine.clock() < deadline:
        found = yield from read(engine, first, deadline)
        item = only(found)
        if item is None:
            request = watch_request(
                prefix, prefix=True, start_revision=found.revision + 1, skip="delete"
            )
            item = (yield from until(engine, request, lambda _: True, deadline)).kv
        if (yield from _claim(engine, item, deadline)):
            return item.value
    raise TimeoutError("others were always faster")


def _claim(engine: Engine, item: KeyValue, deadline: float | None) -> Plan[bool]:
    draft = Draft().when(mod_revision(item.key) == item.mod_revision).then(delete(item.key))
    return (yield from commit(engine, draft, deadline)).succeeded
