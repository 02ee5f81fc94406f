"""Batches of commands: applied, and answered where somebody waits for them here."""

from collections.abc import Sequence
from time import perf_counter

from pykvd.errors import RpcError
from pykvd.logs import get_logger
from pykvd.node.apply import Applier
from pykvd.node.audit import Audit
from pykvd.node.commands import Command, decode_batch_head, decode_commands
from pykvd.node.meter import Meter
from pykvd.node.proposals import Proposal, Proposals

_log = get_logger("node")


class Batches:
    """Takes the data of committed entries to the state machine."""

    def __init__(
        self, applier: Applier, proposals: Proposals, *, meter: Meter, audit: Audit
    ) -> None:
        self._applier = applier
        self._store = applier.store
        self._proposals = proposals
        self._meter = meter
        self._audit = audit

    def apply(self, index: int, data: bytes) -> int:
        """Apply the batch of the entry at `index`; the member whose clients wait for it."""
        applier, before = self._applier, self._store.revision
        applier.auth_commands.index = index
        batch, time_ns = decode_batch_head(data)
        flight = self._proposals.take(batch)
        started = perf_counter()
        if flight is None:
            count, failed = self._apply_unasked(data)
        else:
            count, failed = len(flight.proposals), self._apply_and_answer(flight.proposals)
        self._meter.batch_applied(count, failed, perf_counter() - started, flight)
        if self._store.revision != before:
            applier.changed(time_ns, before)
        return batch.origin

    def _apply_unasked(self, data: bytes) -> tuple[int, int]:
        """Apply a batch that nobody here waits for; counts commands, and Puts that failed."""
        count = failed = 0
        for command, request, caller in decode_commands(data):
            count += 1
            try:
                self._applier.apply(command, request, caller)
            except RpcError as error:
                failed += command is Command.PUT
                _log.debug("refused while applying", error=str(error))
        return count, failed

    def _apply_and_answer(self, proposals: Sequence[Proposal]) -> int:
        """Apply a batch and answer its callers; counts the Puts that failed."""
        apply, failed = self._applier.apply, 0
        for proposal in proposals:
            try:
                response = apply(proposal.command, proposal.request, proposal.caller)
            except RpcError as error:
                failed += proposal.command is Command.PUT
                self._refuse(proposal, error)
            else:
                proposal.responder.reply(response)
        return failed

    def _refuse(self, proposal: Proposal, error: RpcError) -> None:
        peer = getattr(proposal.responder, "peer", "")
        self._audit.refused(proposal.command.name.lower(), proposal.caller, peer, error)
        proposal.responder.fail(error.code, error.message)
