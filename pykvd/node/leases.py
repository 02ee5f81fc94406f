"""The leader's duty for leases: end the expired ones, record how much time the others have left."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from google.protobuf.message import Message

from pykvd.auth.identity import ITSELF, Identity
from pykvd.errors import Code
from pykvd.lease.lessor import Lessor
from pykvd.node.commands import Command
from pykvd.node.responder import NOBODY, Nobody, Responder
from pykvd.pb import rpc_pb2 as rpc

#: etcd's figures: leases revoked in one pass, and seconds between passes.
EXPIRY_BATCH = 500
EXPIRY_INTERVAL = 0.5
#: A lease's remaining time is recorded when it has lost a tenth, and not more often than this.
CHECKPOINT_INTERVAL = 10.0
CHECKPOINT_BATCH = 1000


class Propose(Protocol):
    """`Node.propose`."""

    def __call__(
        self,
        command: Command,
        payload: bytes,
        request: Message,
        responder: Responder,
        *,
        as_leader: bool,
        caller: Identity | None = None,
    ) -> None:
        """Have a command replicated and applied."""


class LeaseKeeper:
    """Proposes revokes and checkpoints while this member leads.

    Not before `keeps()`: until it has applied what earlier leaders did, its clocks may be behind
    renewals that those have answered.
    """

    def __init__(
        self, lessor: Lessor, propose: Propose, keeps: Callable[[], bool], *, retry_after: float
    ) -> None:
        self._lessor = lessor
        self._propose = propose
        self._keeps = keeps
        self._retry_after = retry_after
        self._now = asyncio.get_running_loop().time
        #: Leases that this member found expired.
        self.expired = 0

    def expire(self) -> None:
        """Propose to revoke what has expired, a revision each."""
        if not self._keeps():
            return
        for lease_id in self._lessor.expired(self._now(), EXPIRY_BATCH):
            self.expired += 1
            request = rpc.LeaseRevokeRequest(ID=lease_id)
            payload = request.SerializeToString()
            expiry = _Expiry(self, lease_id)
            self._propose(
                Command.LEASE_REVOKE, payload, request, expiry, as_leader=True, caller=ITSELF
            )

    def retry(self, lease_id: int) -> None:
        """Expire a lease again later: its revoke was not applied."""
        self._lessor.retry(lease_id, self._now() + self._retry_after)

    def checkpoint(self) -> None:
        """Propose to record the remaining time of leases that nobody has renewed for a while."""
        if not self._keeps():
            return
        left = self._lessor.to_checkpoint(self._now(), CHECKPOINT_INTERVAL)
        due = [pair for pair in left if self._has_lost_a_tenth(*pair)]
        if due:
            request = self._checkpoint_request(due[:CHECKPOINT_BATCH])
            payload = request.SerializeToString()
            self._propose(Command.LEASE_CHECKPOINT, payload, request, NOBODY, as_leader=True)

    def _has_lost_a_tenth(self, lease_id: int, remaining: int) -> bool:
        lease = self._lessor.leases[lease_id]
        recorded = lease.remaining or lease.ttl
        return recorded - remaining >= max(CHECKPOINT_INTERVAL, lease.ttl / 10)

    def last_checkpoint(self) -> rpc.LeaseCheckpointRequest:
        """The remaining time of every lease, for a graceful stop."""
        left = self._lessor.to_checkpoint(self._now(), 0.0) if self._keeps() else []
        return self._checkpoint_request(left)

    def _checkpoint_request(self, leases: list[tuple[int, int]]) -> rpc.LeaseCheckpointRequest:
        """A command that records `(id, remaining seconds)`."""
        for lease_id, _ in leases:
            self._lessor.leases[lease_id].recording += 1
        checkpoints = [rpc.LeaseCheckpoint(ID=lease, remaining_TTL=left) for lease, left in leases]
        return rpc.LeaseCheckpointRequest(checkpoints=checkpoints)


class _Expiry(Nobody):
    """Puts an expired lease back if its revoke failed."""

    def __init__(self, keeper: LeaseKeeper, lease_id: int) -> None:
        self._keeper = keeper
        self._lease_id = lease_id

    def fail(self, code: int, message: str) -> None:  # noqa: ARG002
        """Try again later, unless the lease is gone."""
        if code != Code.NOT_FOUND:
            self._keeper.retry(self._lease_id)
