"""A lock: whose key under `<name>/` is the oldest holds it.

The key is `<name>/<lease id in hex>`, bound to a lease, so that a lock whose holder dies is free
once the lease has run out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.client import errors
from pykvd.client.recipes.waiting import commit, give_up, only, read, turn, withdraw
from pykvd.client.requests import range_request
from pykvd.client.txn import Condition, Draft, create_revision, get, put
from pykvd.client.values import RangeResult

if TYPE_CHECKING:
    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan


class Mutex:
    """One contender for the lock."""

    def __init__(self, engine: Engine, name: bytes) -> None:
        self._engine = engine
        self._prefix = name + b"/"
        self.key = b""
        """Our key; empty while we neither hold the lock nor wait for it."""
        self.revision = 0
        """The revision at which our key was created: it grows from holder to holder (a fence)."""

    def acquire(self, lease_id: int, deadline: float | None) -> Plan[bool]:
        """Wait for our turn; False, with our key removed, if it has not come by the deadline.

        Raises:
            SessionExpired: the lease ended meanwhile.

        """
        self.key = self._prefix + b"%x" % lease_id
        try:
            if not (yield from self._enlist(lease_id, deadline)):
                yield from turn(self._engine, self._prefix, self.revision, deadline)
                yield from self._check(deadline)
        except GeneratorExit:
            raise
        except BaseException as failure:
            yield from give_up(failure, self._withdraw(giving_up=True))
            if type(failure) is TimeoutError:
                return False
            raise
        return True

    def try_acquire(self, lease_id: int) -> Plan[bool]:
        """Take the lock if it is free."""
        self.key = self._prefix + b"%x" % lease_id
        if (yield from self._enlist(lease_id)):
            return True
        yield from self._withdraw()
        return False

    def release(self) -> Plan[None]:
        """Let the next one have it."""
        yield from self._withdraw()

    def held(self) -> Condition:
        """Holds in a transaction as long as the lock is ours."""
        return create_revision(self.key or b"\0") == self.revision

    def _check(self, deadline: float | None) -> Plan[None]:
        if not (yield from read(self._engine, range_request(self.key), deadline)).kvs:
            raise errors.SessionExpired

    def _enlist(self, lease_id: int, deadline: float | None = None) -> Plan[bool]:
        """Write our key, if it is not there yet; whether we hold the lock already."""
        owner = get(self._prefix, prefix=True, sort_by="create_revision", limit=1)
        draft = Draft()
        draft.when(create_revision(self.key) == 0)
        draft.then(put(self.key, b"", lease=lease_id), owner)
        draft.otherwise(get(self.key), owner)
        done = yield from commit(self._engine, draft, deadline, repeatable=True)
        mine, oldest = done.responses
        assert isinstance(oldest, RangeResult)
        if done.succeeded:
            self.revision = done.revision
        else:
            assert isinstance(mine, RangeResult)
            self.revision = mine.kvs[0].create_revision
        first = only(oldest)
        return first is None or first.create_revision == self.revision

    def _withdraw(self, *, giving_up: bool = False) -> Plan[None]:
        key, self.key = self.key, b""
        if key:
            yield from withdraw(self._engine, key, giving_up=giving_up)
