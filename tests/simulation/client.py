"""Clients: each does one random operation after the other, on whichever member it likes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pykvd.errors import Code, RpcError
from pykvd.pb import rpc_pb2 as rpc
from tests.simulation.operation import Method, Operation, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.simulation.member import Process
    from tests.simulation.world import World

TIMEOUT_SECONDS = 2.0
"""A client gives up after this and goes on with something else."""
TTL_SECONDS = (2, 3, 6)
UNKNOWN_OUTCOMES = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.UNKNOWN, Code.CANCELLED}
"""Codes of failures after which a write may have happened."""
RESPONSES: dict[Method, Any] = {
    Method.RANGE: rpc.RangeResponse,
    Method.PUT: rpc.PutResponse,
    Method.DELETE_RANGE: rpc.DeleteRangeResponse,
    Method.TXN: rpc.TxnResponse,
    Method.COMPACT: rpc.CompactionResponse,
    Method.GRANT: rpc.LeaseGrantResponse,
    Method.REVOKE: rpc.LeaseRevokeResponse,
    Method.KEEP_ALIVE: rpc.LeaseKeepAliveResponse,
}


class ClientCall:
    """`pykvd.transport.Call` and, for keep-alives, `Stream`: the first answer counts."""

    def __init__(self, answered: Callable[[int, str, bytes], None]) -> None:
        self.on_done: Callable[[], None] | None = None
        self.done = False
        self.metadata: Mapping[str, str | bytes] = {}
        self.deadline: float | None = None
        self.peer = "127.0.0.1:1"
        self.common_name = ""
        self.buffered = 0
        self.congested = False
        self._answered = answered

    def reply(self, message: bytes) -> None:
        """Answer OK."""
        self._answer(Code.OK, "", message)

    send = reply

    def fail(self, code: int, message: str) -> None:
        """Answer with an error."""
        self._answer(code, message, b"")

    def finish(self, code: int = 0, message: str = "") -> None:
        """End a stream."""
        self._answer(code or Code.CANCELLED, message, b"")

    def give_up(self) -> None:
        """The client does not wait any more."""
        self.done = True
        if self.on_done:
            self.on_done()

    def _answer(self, code: int, text: str, message: bytes) -> None:
        if not self.done:
            self.done = True
            self._answered(code, text, message)

    def send_headers(self) -> None:
        """Nothing to see."""

    def send_shared(self, framed: bytes) -> None:
        """Not for calls like these."""

    def pause_reading(self) -> None:
        """Nothing more is sent."""

    def resume_reading(self) -> None:
        """Nothing more is sent."""


@dataclass(slots=True)
class _Seen:
    """What a client last saw of a key."""

    mod_revision: int = 0
    value: bytes = b""


class Client:
    """One client, one operation at a time; the history is the world's."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._rng = world.rng_for(f"client {number}")
        self._number = number
        self._seen: dict[bytes, _Seen] = {}
        self._revision = 1
        self._leases: list[int] = []
        weights = {
            "put": self._put,
            "get": self._get,
            "delete": self._delete,
            "txn": self._txn,
            "lease": self._lease,
            "compact": self._compact,
        }
        plan = world.plan
        self._choices = list(weights.values())
        self._weights = [plan.weights.get(name, 1.0) for name in weights]
        self._weights[-1] = 0.3 if plan.compaction else 0.0

    def begin(self) -> None:
        """Work until the world stops it."""
        self._world.scheduler.after(1.0, self._pause)

    def _pause(self) -> None:
        delay = self._rng.expovariate(1 / self._world.plan.think_seconds)
        self._world.scheduler.after(delay, self._next)

    def _next(self) -> None:
        if self._world.scheduler.now < self._world.plan.seconds:
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

    def _maybe(self, probability: float) -> bool:
        return self._rng.random() < probability

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

    def _compact(self) -> None:
        revision = max(1, self._revision - self._rng.choice((0, 0, 1, 3, 10)))
        self._start(Method.COMPACT, rpc.CompactionRequest(revision=revision))

    # Doing it

    def _start(self, method: Method, request: Any) -> None:
        self.start(self._choose_member(), method, request)

    def start(self, process: Process, method: Method, request: Any) -> Operation:
        """Have a member do something; the operation tells what came of it."""
        world = self._world
        operation = Operation(
            world.take_number(), self._number, process.id, method, request, world.scheduler.now
        )
        world.history.append(operation)
        world.note("%s -> m%d", operation, process.id)
        call = ClientCall(
            lambda *answer: world.scheduler.after(
                self._delay(), lambda: self._answered(operation, *answer)
            )
        )
        world.scheduler.after(self._delay(), lambda: self._arrive(operation, process, call))
        world.scheduler.after(TIMEOUT_SECONDS, lambda: self._timed_out(operation, call))
        return operation

    def _choose_member(self) -> Process:
        """Any; where the connection is refused, clients mostly go on to the next."""
        members = list(self._world.members.values())
        self._rng.shuffle(members)
        return next((each for each in members if each.serving or self._maybe(0.05)), members[0])

    def _delay(self) -> float:
        conditions = self._world.network.conditions
        return conditions.delay + self._rng.random() * conditions.jitter

    def _arrive(self, operation: Operation, process: Process, call: ClientCall) -> None:
        if not process.serving:
            call.fail(Code.ABORTED, "connection refused")
            return
        process.loop.run(lambda: _serve(process, operation, call))

    def _answered(self, operation: Operation, code: int, text: str, message: bytes) -> None:
        if operation.returned <= self._world.scheduler.now:
            return
        operation.error = text
        if code == Code.OK:
            operation.outcome = Outcome.ANSWERED
            operation.response = RESPONSES[operation.method].FromString(message)
            self._learn(operation)
        elif code not in UNKNOWN_OUTCOMES:
            operation.outcome = Outcome.REFUSED
        self._end(operation)

    def _timed_out(self, operation: Operation, call: ClientCall) -> None:
        if operation.returned > self._world.scheduler.now:
            call.done = True
            operation.error = "timed out"
            self._end(operation)

    def _end(self, operation: Operation) -> None:
        world = self._world
        operation.returned = world.scheduler.now
        world.count(f"{operation.method.value} {operation.outcome.value}")
        revision = operation.header_revision if operation.response else 0
        words = operation.error or f"at revision {revision}"
        world.note("c%d #%d %s %s", self._number, operation.number, operation.outcome.value, words)
        self._pause()

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


def _serve(process: Process, operation: Operation, call: ClientCall) -> None:
    """Hand a request to the service that answers it."""
    payload = operation.request.SerializeToString()
    handlers: dict[Method, Callable[[Any, bytes], bytes | None]] = {
        Method.RANGE: process.kv.range,
        Method.PUT: process.kv.put,
        Method.DELETE_RANGE: process.kv.delete_range,
        Method.TXN: process.kv.txn,
        Method.COMPACT: process.kv.compact,
        Method.GRANT: process.lease.grant,
        Method.REVOKE: process.lease.revoke,
        Method.KEEP_ALIVE: partial(_keep_alive, process),
    }
    try:
        answer = handlers[operation.method](call, payload)
    except RpcError as error:
        call.fail(error.code, error.message)
    else:
        if answer is not None:
            call.reply(answer)


def _keep_alive(process: Process, call: Any, payload: bytes) -> None:
    process.lease.keep_alive(call).message_received(payload)
