"""The Lease service."""

import asyncio
import time

from pykvd.api.decode import decode
from pykvd.errors import Failure
from pykvd.mvcc.record import varint
from pykvd.node.commands import Command
from pykvd.node.node import Node
from pykvd.node.quota import Quota
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import Call, Stream, StreamHandler, StreamReceiver, UnaryHandler

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

    def __init__(self, node: Node, quota: Quota) -> None:
        self._node = node
        self._quota = quota
        self._lessor = node.lessor
        self._new_id = LeaseIds(node.member_id)
        self._now = asyncio.get_running_loop().time

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
        while request.ID == 0 or (not payload and request.ID in self._lessor.leases):
            request.ID, payload = self._new_id(), b""
        payload = payload or request.SerializeToString()
        self._node.check_size(payload)
        self._node.propose(Command.LEASE_GRANT, payload, request, call)

    def revoke(self, call: Call, payload: bytes) -> None:
        """Propose the end of a lease."""
        request = decode(rpc.LeaseRevokeRequest, payload)
        self._node.propose(Command.LEASE_REVOKE, payload, request, call)

    def time_to_live(self, _call: Call, payload: bytes) -> bytes:
        """Tell the remaining seconds of a lease, and its keys if asked."""
        request = decode(rpc.LeaseTimeToLiveRequest, payload)
        response = rpc.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
        lease = self._lessor.leases.get(request.ID)
        if lease:
            response.TTL = self._lessor.remaining(request.ID, self._now())
            response.grantedTTL = lease.ttl
            if request.keys:
                response.keys.extend(sorted(lease.keys))
        return self._header() + response.SerializeToString()

    def leases(self, _call: Call, _payload: bytes) -> bytes:
        """List all leases, those that end first in front."""
        statuses = [rpc.LeaseStatus(ID=lease_id) for lease_id in self._lessor.by_expiry()]
        response = rpc.LeaseLeasesResponse(leases=statuses)
        return self._header() + response.SerializeToString()

    def keep_alive(self, stream: Stream) -> StreamReceiver:
        """Renew leases as the client asks, one answer a request."""
        return _KeepAlive(self._node, stream)

    def _header(self) -> bytes:
        return self._node.header(self._node.store.revision)


class _KeepAlive:
    """One keep-alive stream."""

    def __init__(self, node: Node, stream: Stream) -> None:
        self._node = node
        self._stream = stream
        self._now = asyncio.get_running_loop().time
        self._unanswered = 0
        self._half_closed = False

    def message_received(self, message: bytes) -> None:
        """Renew, or have the log forget a recorded remaining time first."""
        if not self._node.can_read:
            raise Failure.NO_LEADER.error()
        request = decode(rpc.LeaseKeepAliveRequest, message)
        header = self._node.header(self._node.store.revision)
        lease = self._node.lessor.leases.get(request.ID)
        if lease is None or not lease.remaining:
            self._answer(header, request.ID)
            return
        # A crash after the answer must not bring the shorter time back.
        checkpoint = rpc.LeaseCheckpoint(ID=request.ID, remaining_TTL=0)
        command = rpc.LeaseCheckpointRequest(checkpoints=[checkpoint])
        self._unanswered += 1
        self._node.propose(
            Command.LEASE_CHECKPOINT,
            command.SerializeToString(),
            command,
            _Renewal(self, header, request.ID),
        )

    def _answer(self, header: bytes, lease_id: int) -> None:
        ttl = self._node.lessor.renew(lease_id, self._now())
        fields = (b"\x10" + varint(lease_id) if lease_id else b"") + (
            b"\x18" + varint(ttl) if ttl else b""
        )
        self._stream.send(header + fields)

    def recorded(self, header: bytes, lease_id: int) -> None:
        """The log has forgotten the remaining time: renew."""
        self._unanswered -= 1
        self._answer(header, lease_id)
        if self._half_closed and not self._unanswered:
            self._stream.finish()

    def refused(self, code: int, message: str) -> None:
        """The log could not be written in time."""
        self._stream.finish(code, message)

    def half_closed(self) -> None:
        """No more requests: end the stream after the last answer."""
        self._half_closed = True
        if not self._unanswered:
            self._stream.finish()

    def closed(self) -> None:
        """Nothing to clean up."""

    def writable(self) -> None:
        """Answers are never held back: there is one a request."""


class _Renewal:
    """A keep-alive that waits for the log."""

    def __init__(self, stream: _KeepAlive, header: bytes, lease_id: int) -> None:
        self._stream = stream
        self._header = header
        self._lease_id = lease_id

    def reply(self, _message: bytes) -> None:
        """The checkpoint is applied."""
        self._stream.recorded(self._header, self._lease_id)

    def fail(self, code: int, message: str) -> None:
        """It is not."""
        self._stream.refused(code, message)
