"""Proposals: gathered for a turn of the loop, made one raft entry, matched with its application."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from google.protobuf.message import Message

from pykvd.auth.identity import Identity
from pykvd.errors import Code, Failure
from pykvd.node.commands import BatchId, Command, encode_batch, sign
from pykvd.node.driver import RaftDriver
from pykvd.node.responder import FutureResponder, Responder
from pykvd.raft import NONE, ProposalDropped

#: Batches on their way at a time; a second one keeps the disks busy while the first is applied.
MAX_IN_FLIGHT = 2
#: Requests in one entry: it has to fit a message between members, and other work in between.
ENTRY_BYTES_MAX = 8 << 20


class Proposal(NamedTuple):
    """A command on its way."""

    command: Command
    payload: bytes
    request: Message
    responder: Responder
    as_leader: bool = False
    caller: Identity | None = None


class Flight(NamedTuple):
    """A batch on its way; the times are on the loop's clock."""

    begun: float
    """When its first command was proposed."""
    sent: float
    """When Raft was given the batch."""
    proposals: list[Proposal]


class Proposals:
    """What was proposed and is not applied yet. Every proposal is answered within `timeout`."""

    def __init__(self, driver: RaftDriver, member_id: int, timeout: float) -> None:
        self._driver = driver
        self._raft = driver.raft
        self._member_id = member_id
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        # Beyond those of the time before a restart, whose entries may still be in the log.
        self._sequence = time.time_ns()
        self._batch: list[Proposal] = []
        self._batch_deadline = 0.0
        self._flush_armed = False
        #: Batches up to this one do not hold up new ones any more.
        self._settled = self._sequence
        self._waiting: dict[int, Flight] = {}
        self._stopped = False
        #: Proposals that were answered with a failure before they were applied.
        self.failed = 0

    @property
    def pending(self) -> int:
        """Proposals that wait to be applied."""
        return len(self._batch) + sum(len(each.proposals) for each in self._waiting.values())

    def deadline(self) -> float:
        """When what begins now has to be done, on the loop's clock."""
        return self._loop.time() + self._timeout

    def propose(
        self,
        command: Command,
        payload: bytes,
        request: Message,
        responder: Responder,
        *,
        as_leader: bool = False,
        caller: Identity | None = None,
    ) -> None:
        """Have a command replicated and applied; the responder is told the outcome.

        With `as_leader` it fails if this member ceases to lead before the log has it. Rights are
        those of `caller` when it is applied.
        """
        if self._stopped:
            raise Failure.STOPPED.error()
        if not self._batch:
            self._batch_deadline = self.deadline()
        self._batch.append(Proposal(command, payload, request, responder, as_leader, caller))
        if not self._flush_armed:
            self.arm()

    async def execute(
        self, command: Command, request: Message, caller: Identity | None = None
    ) -> bytes:
        """Propose and wait; returns the serialized response. Raises RpcError."""
        responder = FutureResponder()
        self.propose(command, request.SerializeToString(), request, responder, caller=caller)
        return await responder.future

    def arm(self) -> None:
        """Have what is gathered proposed at the end of the turn."""
        if self._batch and not self._flush_armed:
            self._flush_armed = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_armed = False
        if not self._batch or self._stopped or self._raft.leader == NONE:
            return
        if self._sequence - self._settled >= MAX_IN_FLIGHT:
            return
        batch, self._batch = _split(self._batch)
        self._sequence += 1
        commands = [sign(each.command, each.payload, each.caller) for each in batch]
        data = encode_batch(BatchId(self._member_id, self._sequence), time.time_ns(), commands)
        try:
            self._raft.propose(data)
        except ProposalDropped:
            self._sequence -= 1
            self._batch = batch + self._batch
            return
        begun = self._batch_deadline - self._timeout
        self._waiting[self._sequence] = Flight(begun, self._loop.time(), batch)
        self._driver.process()

    def take(self, batch: BatchId) -> Flight | None:
        """The proposals of a batch that is being applied, if they are ours and still wait."""
        if batch.origin != self._member_id:
            return None
        # Batches before this one are applied too, or lost on their way to the leader.
        self._settled = max(self._settled, batch.sequence)
        return self._waiting.pop(batch.sequence, None)

    def tick(self, now: float) -> None:
        """Answer those whose time is over; try again to propose the others."""
        sent_before = now - self._timeout
        late = [number for number, each in self._waiting.items() if each.sent < sent_before]
        for number in late:
            self._settled = max(self._settled, number)
            self._fail(self._waiting.pop(number).proposals, Failure.TIMEOUT)
        self._flush()
        if self._batch and self._batch_deadline < now:
            # Never proposed, for want of a leader: etcd reports its own deadline then.
            self.failed += len(self._batch)
            _fail(self._batch, Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            self._batch = []

    def leader_changed(self) -> None:
        """What is on its way may be lost: nothing new shall wait for it."""
        self._settled = self._sequence
        self.arm()

    def overtaken(self) -> None:
        """A snapshot stands for entries now; which of ours are among them, nobody will say."""
        waiting, self._waiting = self._waiting, {}
        self._settled = self._sequence
        for flight in waiting.values():
            self._fail(flight.proposals, Failure.TIMEOUT)
        self.arm()

    def drop_duties(self) -> None:
        """Forget what only a leader may ask for: the next one judges anew, on its own clock."""
        duties = [proposal for proposal in self._batch if proposal.as_leader]
        self._batch = [proposal for proposal in self._batch if not proposal.as_leader]
        self._fail(duties, Failure.NOT_LEADER)

    def stop(self) -> None:
        """Fail everything that waits, and take nothing more."""
        self._stopped = True
        waiting = [each for flight in self._waiting.values() for each in flight.proposals]
        waiting += self._batch
        self._waiting, self._batch = {}, []
        self._fail(waiting, Failure.STOPPED)

    def _fail(self, proposals: Sequence[Proposal], failure: Failure) -> None:
        self.failed += len(proposals)
        _fail(proposals, failure.code, failure.text)


def _split(proposals: list[Proposal]) -> tuple[list[Proposal], list[Proposal]]:
    """What the next entry holds, at least one proposal, and what has to wait."""
    size = 0
    for position, proposal in enumerate(proposals):
        size += len(proposal.payload)
        if size > ENTRY_BYTES_MAX and position:
            return proposals[:position], proposals[position:]
    return proposals, []


def _fail(proposals: Sequence[Proposal], code: int, text: str) -> None:
    for proposal in proposals:
        proposal.responder.fail(code, text)
