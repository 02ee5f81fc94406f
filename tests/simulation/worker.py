"""Workers: each does one random operation after the other, on whichever member it likes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pykvd.pb import auth_pb2
from pykvd.pb import pykvd_pb2 as pb
from pykvd.pb import rpc_pb2 as rpc
from tests.simulation.auth_model import ROOT
from tests.simulation.client import Client
from tests.simulation.loop import EPOCH
from tests.simulation.operation import Method, Operation

if TYPE_CHECKING:
    from tests.simulation.world import World

TTL_SECONDS = (2, 3, 6, 10)


@dataclass(slots=True)
class _Seen:
    """What a client last saw of a key."""

    mod_revision: int = 0
    value: bytes = b""


class Worker(Client):
    """One client of the keys and leases; while auth is on, one of `plan.users`."""

    def __init__(self, world: World, number: int) -> None:
        plan = world.plan
        users = (*plan.users, ROOT)
        super().__init__(world, number, users[number % len(users)] if plan.users else "")
        self._seen: dict[bytes, _Seen] = {}
        self._revision = 1
        self._leases: list[int] = []
        choices = {
            self._put: plan.weights.get("put", 1.0),
            self._get: plan.weights.get("get", 1.0),
            self._delete: plan.weights.get("delete", 1.0),
            self._txn: plan.weights.get("txn", 1.0),
            self._lease: plan.weights.get("lease", 1.0),
            self._compact: 0.3 if plan.compaction else 0.0,
            self._time: plan.weights.get("time", 0.0),
            self._climb: 0.1 if plan.users else 0.0,
        }
        self._choices, self._weights = list(choices), list(choices.values())

    def begin(self) -> None:
        """Work until the world stops it."""
        self._world.scheduler.after(1.0, self._next)

    def _next(self) -> None:
        delay = self._rng.expovariate(1 / self._world.plan.think_seconds)
        self._world.scheduler.after(delay, self._act)

    def _act(self) -> None:
        if self._world.scheduler.now >= self._world.plan.seconds:
            return
        if self.user and self._maybe(0.8 if self.needs_token() else 0.01):
            self.log_in()
        else:
            self._rng.choices(self._choices, self._weights)[0]()

    # What it does

    def _key(self) -> bytes:
        return b"k%d" % self._rng.randrange(self._world.plan.keys)

    def _put(self) -> None:
        request = rpc.PutRequest(key=self._key(), value=self._value(), prev_kv=self._maybe(0.3))
        if self._leases and self._maybe(0.3):
            request.lease = self._rng.choice(self._leases)
        self._start(Method.PUT, request)

    def _value(self, suffix: bytes = b"") -> bytes:
        return b"%d%b" % (self._world.next_number, suffix)

    def _get(self) -> None:
        request = rpc.RangeRequest(key=self._key(), serializable=self._maybe(0.3))
        if self._maybe(0.4):
            request.key, request.range_end = b"k", b"l"
            request.count_only = self._maybe(0.1)
        if self._revision > 1 and self._maybe(0.2):
            request.revision = self._rng.randint(max(1, self._revision - 10), self._revision)
        self._start(Method.RANGE, request)

    def _delete(self) -> None:
        request = rpc.DeleteRangeRequest(key=self._key(), prev_kv=self._maybe(0.3))
        if self._maybe(0.2):
            request.range_end = b"k3"
        self._start(Method.DELETE_RANGE, request)

    def _txn(self) -> None:
        kinds = (self._compare_and_set, self._many, self._read_old_and_write, self._read_many)
        self._start(Method.TXN, self._rng.choice(kinds)())

    def _compare_and_set(self) -> rpc.TxnRequest:
        key = self._key()
        seen = self._seen.get(key, _Seen())
        compare = rpc.Compare(key=key, target=rpc.Compare.MOD, mod_revision=seen.mod_revision)
        if seen.value and self._maybe(0.5):
            compare = rpc.Compare(key=key, target=rpc.Compare.VALUE, value=seen.value)
        then = rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=self._value()))
        otherwise = rpc.RequestOp(request_range=rpc.RangeRequest(key=key))
        return rpc.TxnRequest(compare=[compare], success=[then], failure=[otherwise])

    def _many(self) -> rpc.TxnRequest:
        keys = self._rng.sample(range(self._world.plan.keys), 2)
        first, second = (b"k%d" % key for key in keys)
        put = rpc.RequestOp(request_put=rpc.PutRequest(key=first, value=self._value(b".1")))
        other = rpc.RequestOp(request_put=rpc.PutRequest(key=second, value=self._value(b".2")))
        if self._maybe(0.4):
            delete = rpc.DeleteRangeRequest(key=second, prev_kv=True)
            other = rpc.RequestOp(request_delete_range=delete)
        everything = rpc.RangeRequest(key=b"k", range_end=b"l")
        return rpc.TxnRequest(success=[put, other, rpc.RequestOp(request_range=everything)])

    def _read_old_and_write(self) -> rpc.TxnRequest:
        revision = self._rng.randint(max(1, self._revision - 10), self._revision)
        old = rpc.RangeRequest(key=b"k", range_end=b"l", revision=revision)
        put = rpc.PutRequest(key=self._key(), value=self._value())
        return rpc.TxnRequest(
            success=[rpc.RequestOp(request_range=old), rpc.RequestOp(request_put=put)]
        )

    def _read_many(self) -> rpc.TxnRequest:
        serializable = self._maybe(0.3)
        ranges = [rpc.RangeRequest(key=self._key(), serializable=serializable) for _ in "ab"]
        return rpc.TxnRequest(success=[rpc.RequestOp(request_range=each) for each in ranges])

    def _lease(self) -> None:
        if not self._leases or self._maybe(0.3):
            lease_id = self._world.next_number + 1000
            ttl = self._rng.choice(TTL_SECONDS)
            self._start(Method.GRANT, rpc.LeaseGrantRequest(ID=lease_id, TTL=ttl))
        elif self._maybe(0.3):
            lease_id = self._leases.pop(self._rng.randrange(len(self._leases)))
            self._start(Method.REVOKE, rpc.LeaseRevokeRequest(ID=lease_id))
        else:
            lease_id = self._rng.choice(self._leases)
            self._start(Method.KEEP_ALIVE, rpc.LeaseKeepAliveRequest(ID=lease_id))

    def _time(self) -> None:
        if self._maybe(0.7):
            ago = self._rng.choice((0.0, 0.3, 1.0, 3.0, 10.0)) * self._rng.random()
            seconds = EPOCH + self._world.scheduler.now - ago
            self._start(Method.REVISION_AT, pb.RevisionAtRequest(time_ns=round(seconds * 1e9)))
        else:
            revisions = [self._rng.randint(1, self._revision + 3) for _ in "abc"]
            self._start(Method.TIMES, pb.TimesRequest(revisions=revisions))

    def _climb(self) -> None:
        """Try to get more rights; that is root's to give, while auth is on."""
        key = auth_pb2.Permission(key=b"k", range_end=b"l", permType=auth_pb2.Permission.READWRITE)
        method, request = self._rng.choice(
            (
                (Method.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user=self.user, role="root")),
                (
                    Method.ROLE_GRANT_PERMISSION,
                    rpc.AuthRoleGrantPermissionRequest(name="r1", perm=key),
                ),
            )
        )
        self._start(method, request)

    def _compact(self) -> None:
        revision = max(1, self._revision - self._rng.choice((0, 0, 1, 3, 10)))
        self._start(Method.COMPACT, rpc.CompactionRequest(revision=revision))

    def _learn(self, operation: Operation) -> None:
        response = operation.response
        self._revision = max(self._revision, response.header.revision)
        match operation.method:
            case Method.RANGE if not operation.request.revision:
                for kv in response.kvs:
                    self._seen[kv.key] = _Seen(kv.mod_revision, kv.value)
            case Method.PUT:
                key, value = operation.request.key, operation.request.value
                self._seen[key] = _Seen(response.header.revision, value)
            case Method.GRANT:
                self._leases.append(response.ID)
            case Method.KEEP_ALIVE if not response.TTL:
                self._leases = [each for each in self._leases if each != response.ID]
