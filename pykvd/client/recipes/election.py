"""An election: whose key under `<name>/` is the oldest leads; its value is what it announces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.client import errors
from pykvd.client.leases import GIVE_UP_TIMEOUT, insist
from pykvd.client.recipes.waiting import commit, first_created, give_up, only, read, turn
from pykvd.client.requests import watch_request
from pykvd.client.txn import Condition, Draft, create_revision, delete, get, put
from pykvd.client.values import RangeResult
from pykvd.client.watching import Watcher

if TYPE_CHECKING:
    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan
    from pykvd.client.values import KeyValue


class Candidacy:
    """One candidate, or somebody who only looks on."""

    def __init__(self, engine: Engine, name: bytes) -> None:
        self._engine = engine
        self._prefix = name + b"/"
        self.key = b""
        """Our key; empty while we do not stand."""
        self.revision = 0
        """The revision at which it was created."""
        self._lease_id = 0

    def campaign(self, lease_id: int, value: bytes, deadline: float | None) -> Plan[bool]:
        """Stand with a value until elected; False, standing no more, if not by the deadline."""
        self.key = self._prefix + b"%x" % lease_id
        self._lease_id = lease_id
        try:
            yield from self._stand(value, deadline)
            yield from turn(self._engine, self._prefix, self.revision, deadline)
        except GeneratorExit:
            raise
        except BaseException as failure:
            yield from give_up(failure, self._resign(GIVE_UP_TIMEOUT))
            if type(failure) is TimeoutError:
                return False
            raise
        return True

    def proclaim(self, value: bytes) -> Plan[None]:
        """Announce another value; raises ElectionNotLeader."""
        if not self.key:
            raise errors.ElectionNotLeader
        draft = Draft().when(self.held())
        draft.then(put(self.key, value, lease=self._lease_id))
        if not (yield from commit(self._engine, draft)):
            self.key = b""
            raise errors.ElectionNotLeader

    def resign(self) -> Plan[None]:
        """Stand no more."""
        yield from self._resign(None)

    def _resign(self, timeout: float | None) -> Plan[None]:
        key, self.key = self.key, b""
        held = create_revision(key or b"\0") == self.revision
        draft = Draft().when(held).then(delete(key or b"\0"))

        def attempt() -> Plan[None]:
            deadline = self._engine.deadline(timeout)
            yield from commit(self._engine, draft, deadline, repeatable=True)

        if key:
            yield from insist(attempt)

    def held(self) -> Condition:
        """Holds in a transaction as long as our key is there."""
        return create_revision(self.key or b"\0") == self.revision

    def leader(self) -> Plan[KeyValue]:
        """Who leads; raises ElectionNoLeader."""
        found = only((yield from read(self._engine, first_created(self._prefix))))
        if found is None:
            raise errors.ElectionNoLeader
        return found

    def _stand(self, value: bytes, deadline: float | None) -> Plan[None]:
        draft = Draft().when(create_revision(self.key) == 0)
        draft.then(put(self.key, value, lease=self._lease_id)).otherwise(get(self.key))
        done = yield from commit(self._engine, draft, deadline, repeatable=True)
        self.revision = done.revision
        if not done.succeeded:
            answer = done.responses[0]
            assert isinstance(answer, RangeResult)
            mine = answer.kvs[0]
            self.revision = mine.create_revision
            if mine.value != value:
                yield from self.proclaim(value)


class Observation:
    """What leaders announce, one value after the other; some may be skipped, never the last."""

    def __init__(self, engine: Engine, name: bytes) -> None:
        self._engine = engine
        self._prefix = name + b"/"
        self._watcher: Watcher | None = None
        self._leader = b""
        """The key that is watched; empty while the watch is for the first candidate."""
        self._pending: list[KeyValue] = []
        self.closed = False

    def close(self) -> None:
        """End it."""
        self.closed = True
        if self._watcher is not None:
            self._watcher.close()

    def next(self) -> Plan[KeyValue | None]:
        """The next announcement; None once closed."""
        while not (self._pending or self.closed):
            if self._watcher is None:
                yield from self._find_leader()
            else:
                yield from self._follow(self._watcher)
        return self._pending.pop(0) if self._pending else None

    def _find_leader(self) -> Plan[None]:
        found = yield from read(self._engine, first_created(self._prefix))
        leader, revision = only(found), found.revision
        if leader is not None:
            self._attend(leader, revision)
            return
        self._leader = b""
        request = watch_request(
            self._prefix, prefix=True, start_revision=revision + 1, skip="delete"
        )
        self._watcher = Watcher(self._engine, request, None)

    def _attend(self, leader: KeyValue, revision: int) -> None:
        """Announce a leader and watch it."""
        self._pending.append(leader)
        self._leader = leader.key
        request = watch_request(leader.key, start_revision=revision + 1)
        self._watcher = Watcher(self._engine, request, None)

    def _follow(self, watcher: Watcher) -> Plan[None]:
        try:
            events = yield from watcher.fill()
        except errors.Compacted:  # who leads now is what counts
            self._watcher = None
            return
        for event in events:
            if self._leader and not event.deleted:
                self._pending.append(event.kv)
                continue
            watcher.close()
            self._watcher = None
            if not self._leader:
                self._attend(event.kv, event.revision)
            return
