"""The Lease service."""

import asyncio
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from itertools import chain

from pykvd.api.access import Access, Caller
from pykvd.api.decode import decode
from pykvd.api.tasks import CallTasks
from pykvd.api.turns import Assembly, Turns, may_go_on
from pykvd.errors import Failure, RpcError
from pykvd.mvcc.ranges import STEP
from pykvd.mvcc.record import varint
from pykvd.node.commands import Command
from pykvd.node.node import Node
from pykvd.node.quota import Quota
from pykvd.node.responder import FutureResponder, Responder
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import Call, Stream, StreamHandler, StreamReceiver, UnaryHandler

#: The questions that members ask the leader.
TIME_TO_LIVE = "lease-time-to-live"
KEEP_ALIVE = "lease-keep-alive"
#: etcd's bookkeeping cost of a lease against the quota, in bytes.
LEASE_COST = 64


class LeaseIds:
    """Ids for leases that the client leaves to the server: member, milliseconds, counter."""

    def __init__(self, member_id: int) -> None:
        milliseconds = time.time_ns() // 1_000_000 & (1 << 40) - 1
        self._next = (member_id & 0xFFFF) << 48 | milliseconds << 8

    def __call__(self) -> int:
        """A new positive id."""
        self._next += 1
        return self._next & (1 << 63) - 1 or self()


class LeaseService:
    """LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive, LeaseLeases."""

    def __init__(self, node: Node, quota: Quota, access: Access) -> None:
        self._node = node
        self._access = access
        self._permissions = node.applier.permissions
        self._quota = quota
        self._lessor = node.lessor
        self._new_id = LeaseIds(node.member_id)
        self._now = asyncio.get_running_loop().time
        self._tasks = CallTasks()
        self._turns = Turns()
        node.answers[TIME_TO_LIVE] = self._answer_time_to_live
        node.answers[KEEP_ALIVE] = self._answer_keep_alive

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's unary methods by path."""
        return {
            "/etcdserverpb.Lease/LeaseGrant": self.grant,
            "/etcdserverpb.Lease/LeaseRevoke": self.revoke,
            "/etcdserverpb.Lease/LeaseTimeToLive": self.time_to_live,
            "/etcdserverpb.Lease/LeaseLeases": self.leases,
        }

    def streams(self) -> dict[str, StreamHandler]:
        """The service's streaming methods by path."""
        return {"/etcdserverpb.Lease/LeaseKeepAlive": self.keep_alive}

    def grant(self, call: Call, payload: bytes) -> None:
        """Propose a lease; id 0 is replaced by one of ours."""
        request = decode(rpc.LeaseGrantRequest, payload)
        self._quota.check(LEASE_COST)
        caller = self._access.require_user(call, "lease_grant")
        while request.ID == 0 or (not payload and request.ID in self._lessor.leases):
            request.ID, payload = self._new_id(), b""
        payload = payload or request.SerializeToString()
        self._node.check_size(payload, caller)
        self._node.propose(Command.LEASE_GRANT, payload, request, call, caller=caller)

    def revoke(self, call: Call, payload: bytes) -> None:
        """Propose the end of a lease."""
        request = decode(rpc.LeaseRevokeRequest, payload)
        caller = self._access.require_user(call, "lease_revoke")
        self._node.propose(Command.LEASE_REVOKE, payload, request, call, caller=caller)

    def time_to_live(self, call: Call, payload: bytes) -> bytes | None:
        """Tell the remaining seconds of a lease, and its keys if asked; the leader knows them."""
        request = decode(rpc.LeaseTimeToLiveRequest, payload)
        self._access.require_user(call, "lease_time_to_live")
        if request.keys:
            self._permit_reads(call, "lease_time_to_live", [request.ID])
        leads = self._node.is_leader
        if leads and request.ID in self._lessor.leases:
            return self._header() + self._time_to_live(payload)

        async def ask() -> None:
            if leads:
                answer = await self._answer_time_to_live(payload)
            else:
                answer = await self._node.ask_leader(TIME_TO_LIVE, payload)
            # It may name keys that were not attached yet when rights were looked at before.
            keys = rpc.LeaseTimeToLiveResponse.FromString(answer).keys
            check = self._permissions.check_reads
            self._access.permit(call, "lease_time_to_live", check, keys)
            call.reply(self._header() + answer)

        self._tasks.run(call, ask())
        return None

    def _permit_reads(self, call: Call, action: str, lease_ids: Iterable[int]) -> None:
        check = self._permissions.check_lease_reads
        self._access.permit(call, action, check, lease_ids)

    async def _answer_time_to_live(self, payload: bytes) -> bytes:
        self._check_leads()
        await self.look_again(decode(rpc.LeaseTimeToLiveRequest, payload).ID)
        return self._time_to_live(payload)

    async def look_again(self, lease_id: int) -> None:
        """Before a lease is said to be gone, or there by a new leader, apply what is committed.

        A leader whose disk is slow applies a grant later than the follower that answered it; a new
        leader may have a revoke of the last one's before it.
        """
        if lease_id not in self._lessor.leases or not self._node.keeps_leases:
            await self._node.read_barrier()

    async def _answer_keep_alive(self, payload: bytes) -> bytes:
        """Renew for another member: a LeaseKeepAliveRequest in, the new TTL in decimal out."""
        self._check_leads()
        lease_id = decode(rpc.LeaseKeepAliveRequest, payload).ID
        await self.look_again(lease_id)
        responder = FutureResponder()
        renew(self._node, lease_id, responder)
        return await responder.future

    def _check_leads(self) -> None:
        if not self._node.is_leader:
            raise Failure.NO_LEADER.error()

    def _time_to_live(self, payload: bytes) -> bytes:
        request = decode(rpc.LeaseTimeToLiveRequest, payload)
        response = rpc.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
        lease = self._lessor.leases.get(request.ID)
        if lease:
            response.TTL = self._lessor.remaining(request.ID, self._now())
            response.grantedTTL = lease.ttl
            if request.keys:
                response.keys.extend(sorted(lease.keys))
        return response.SerializeToString()

    def leases(self, call: Call, _payload: bytes) -> bytes | None:
        """List all leases, those that end first in front."""
        caller = self._access.require_user(call, "lease_leases")
        steps = self._list(call, list(self._lessor.leases), self._lessor.by_expiry(STEP))
        if len(self._lessor.leases) <= STEP and not self._node.auth.enabled:
            return self._header() + b"".join(chain.from_iterable(steps))
        self._tasks.run(call, self._answer_in_turns(call, caller, steps))
        return None

    def _list(
        self, call: Call, lease_ids: list[int], by_expiry: Iterator[list[int]]
    ) -> Generator[list[bytes], None, None]:
        """The leases of a LeaseLeasesResponse, in bounded steps, if the caller may know them."""
        for start in range(0, len(lease_ids), STEP):
            for keys in self._unsure_reads(call, lease_ids[start : start + STEP]):
                yield from self._check_reads(call, list(keys))
            yield []
        for some in by_expiry:
            yield [_status(lease_id) for lease_id in some]

    def _unsure_reads(self, call: Call, lease_ids: list[int]) -> list[set[bytes]]:
        found: list[set[bytes]] = []
        self._access.permit(
            call,
            "lease_leases",
            lambda caller: found.extend(self._permissions.unsure_reads(caller, lease_ids)),
        )
        return found

    def _check_reads(self, call: Call, keys: list[bytes]) -> Iterator[list[bytes]]:
        check = self._permissions.check_reads
        for start in range(0, len(keys), STEP):
            self._access.permit(call, "lease_leases", check, keys[start : start + STEP])
            yield []

    async def _answer_in_turns(
        self, call: Call, caller: Caller, steps: Generator[list[bytes], None, None]
    ) -> None:
        answer = Assembly()
        answer.add([self._header()])
        await self._turns.run(steps, answer.add, lambda: may_go_on(self._access, call, caller))
        call.reply(answer.finish())

    def keep_alive(self, stream: Stream) -> StreamReceiver:
        """Renew leases as the client asks, one answer a request."""
        return _KeepAlive(self._node, self, self._access, stream)

    def _header(self) -> bytes:
        return self._node.header(self._node.store.revision)


def _status(lease_id: int) -> bytes:
    """A LeaseStatus in its response."""
    body = b"\x08" + varint(lease_id)
    return b"\x12" + varint(len(body)) + body


def renew(node: Node, lease_id: int, responder: Responder) -> None:
    """Renew a lease on the leader; the responder is told the new TTL in decimal, 0 if it is gone.

    A remaining time that was recorded, or is about to be, is first forgotten by the log: a crash
    after the answer must not bring the shorter time back.
    """
    ttl = node.lessor.renew(lease_id, asyncio.get_running_loop().time())
    lease = node.lessor.leases.get(lease_id)
    if not ttl or lease is None or not (lease.remaining or lease.recording):
        responder.reply(b"%d" % ttl)
        return
    checkpoint = rpc.LeaseCheckpoint(ID=lease_id, remaining_TTL=0)
    command = rpc.LeaseCheckpointRequest(checkpoints=[checkpoint])

    class Recorded:
        def reply(self, _message: bytes) -> None:
            responder.reply(b"%d" % (ttl if lease_id in node.lessor.leases else 0))

        def fail(self, code: int, message: str) -> None:
            if message == Failure.NOT_LEADER.text:
                code, message = Failure.NO_LEADER.code, Failure.NO_LEADER.text
            responder.fail(code, message)

    payload = command.SerializeToString()
    # The next leader may record the time that is left on its own clock, which knows nothing of us.
    node.propose(Command.LEASE_CHECKPOINT, payload, command, Recorded(), as_leader=True)


class _KeepAlive:
    """One keep-alive stream. Answers leave in the order of the requests."""

    def __init__(self, node: Node, service: LeaseService, access: Access, stream: Stream) -> None:
        self._node = node
        self._service = service
        self._access = access
        self._stream = stream
        self._renewals: deque[_Renewal] = deque()
        self._half_closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def message_received(self, message: bytes) -> None:
        """Renew here if this member leads, else have the leader do it."""
        request = decode(rpc.LeaseKeepAliveRequest, message)
        header = self._node.header(self._node.store.revision)
        renewal = _Renewal(self, header, request.ID)
        self._renewals.append(renewal)
        self._permit(request.ID)
        if self._node.keeps_leases and request.ID in self._node.lessor.leases:
            renew(self._node, request.ID, renewal)
            return
        work = self._ask_leader(request.ID, message, renewal)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _permit(self, lease_id: int) -> None:
        """Who keeps a lease alive keeps its keys: they must be the caller's to write."""
        self._access.require_user(self._stream, "lease_keep_alive")
        check = self._node.applier.permissions.check_lease_writes
        self._access.permit(self._stream, "lease_keep_alive", check, lease_id)

    async def _ask_leader(self, lease_id: int, message: bytes, renewal: "_Renewal") -> None:
        try:
            if self._node.is_leader:
                await self._service.look_again(lease_id)
                self._permit(lease_id)
                renewal.reply(await self._node.answers[KEEP_ALIVE](message))
            else:
                renewal.reply(await self._node.ask_leader(KEEP_ALIVE, message))
        except RpcError as error:
            renewal.fail(error.code, error.message)

    def send_answers(self) -> None:
        """Send what is answered and has nothing unanswered before it."""
        while self._renewals and self._renewals[0].answer is not None:
            self._stream.send(self._renewals.popleft().answer or b"")
        if self._half_closed and not self._renewals:
            self._stream.finish()

    def refused(self, code: int, message: str) -> None:
        """A renewal failed: that ends the stream."""
        self._stream.finish(code, message)

    def half_closed(self) -> None:
        """No more requests: end the stream after the last answer."""
        self._half_closed = True
        self.send_answers()

    def closed(self) -> None:
        """The client is gone."""
        for task in self._tasks:
            task.cancel()

    def writable(self) -> None:
        """Answers are never held back: there is one a request."""


class _Renewal:
    """A request of a stream and, in the end, its answer."""

    def __init__(self, stream: _KeepAlive, header: bytes, lease_id: int) -> None:
        self.answer: bytes | None = None
        self._stream = stream
        self._header = header
        self._lease_id = lease_id

    def reply(self, ttl: bytes) -> None:
        """Renewed, or gone (0)."""
        identity = b"\x10" + varint(self._lease_id) if self._lease_id else b""
        seconds = b"\x18" + varint(int(ttl)) if int(ttl) else b""
        self.answer = self._header + identity + seconds
        self._stream.send_answers()

    def fail(self, code: int, message: str) -> None:
        """The log or the leader could not be reached in time."""
        self._stream.refused(code, message)
