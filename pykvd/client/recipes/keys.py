"""New keys that nobody else makes at the same time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pykvd.client import errors
from pykvd.client.recipes.waiting import commit, only, read
from pykvd.client.requests import range_request
from pykvd.client.txn import Draft, mod_revision, put, version

if TYPE_CHECKING:
    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan

SEQUENCE_DIGITS = 16


def create(
    engine: Engine,
    key: bytes,
    value: bytes = b"",
    *,
    lease_id: int = 0,
    deadline: float | None = None,
) -> Plan[int]:
    """Make a key; its revision. Raises KeyExists."""
    draft = Draft().when(version(key) == 0).then(put(key, value, lease=lease_id))
    done = yield from commit(engine, draft, deadline)
    if not done.succeeded:
        raise errors.KeyExists
    return done.revision


def create_unique(
    engine: Engine,
    prefix: bytes,
    value: bytes = b"",
    *,
    lease_id: int = 0,
    deadline: float | None = None,
) -> Plan[tuple[bytes, int]]:
    """Make a key `<prefix>/<nanoseconds of the clock>`; it and its revision."""
    until = engine.deadline(engine.timeout_until(deadline))
    while True:
        _check_time(engine, until)
        key = prefix + b"/%d" % time.time_ns()
        try:
            made = yield from create(engine, key, value, lease_id=lease_id, deadline=deadline)
            return key, made
        except errors.KeyExists:
            continue


def create_next(engine: Engine, prefix: bytes, value: bytes) -> Plan[bytes]:
    """Make a key `<prefix>/<number>`, the number one above the last one there.

    `__<prefix>` is written along with it: that it has not changed since the last number was read is
    what keeps two callers, or one and a removal, from making the same number.
    """
    last_key = range_request(prefix, prefix=True, sort_by="key", descending=True, limit=1)
    guard = b"__" + prefix
    until = engine.deadline(None)
    while True:
        _check_time(engine, until)
        found = yield from read(engine, last_key)
        last = only(found)
        number = int(last.key.rpartition(b"/")[2]) + 1 if last else 0
        key = prefix + b"/%0*d" % (SEQUENCE_DIGITS, number)
        draft = Draft().when(mod_revision(guard) < found.revision + 1)
        if (yield from commit(engine, draft.then(put(guard, b""), put(key, value)))):
            return key


def _check_time(engine: Engine, until: float) -> None:
    if engine.clock() >= until:
        raise errors.DeadlineExceeded("others were always faster")
