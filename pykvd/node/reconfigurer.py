"""Changes of the membership: proposed one at a time, checked again when they are applied."""

import asyncio
import time

from pykvd.cluster.membership import Action, Member, MemberChange
from pykvd.errors import Failure
from pykvd.node.apply import Applier
from pykvd.node.driver import RaftDriver
from pykvd.node.responder import FutureResponder
from pykvd.raft import (
    ConfChange,
    ConfChangeError,
    ConfChangeKind,
    ConfChangeSingle,
    ConfState,
    ProposalDropped,
)

_KINDS = {
    Action.REMOVE: ConfChangeKind.REMOVE,
    Action.UPDATE: ConfChangeKind.UPDATE,
    Action.PROMOTE: ConfChangeKind.ADD_VOTER,
}


class Reconfigurer:
    """Proposes and applies membership changes. `retry` seconds pass between attempts."""

    def __init__(
        self, driver: RaftDriver, applier: Applier, member_id: int, *, timeout: float, retry: float
    ) -> None:
        self._driver = driver
        self._raft = driver.raft
        self._applier = applier
        self._member_id = member_id
        self._timeout = timeout
        self._retry = retry
        self._sequence = time.time_ns()
        self._waiting: dict[int, FutureResponder] = {}

    async def change(self, action: Action, member: Member) -> None:
        """Change the membership through the log. Raises RpcError.

        While an earlier change is not applied yet, this one waits for it.
        """
        self._sequence += 1
        change = MemberChange(action, member, self._member_id, self._sequence)
        responder = self._waiting[change.sequence] = FutureResponder()
        try:
            async with asyncio.timeout(self._timeout):
                await self._propose(change)
                await responder.future
        except TimeoutError:
            raise Failure.TIMEOUT.error() from None
        except ConfChangeError:
            raise Failure.NOT_ENOUGH_STARTED.error() from None
        finally:
            self._waiting.pop(change.sequence, None)

    async def _propose(self, change: MemberChange) -> None:
        proposal = as_conf_change(change)
        while True:
            try:
                self._raft.propose_conf_change(proposal)
            except ProposalDropped:
                await asyncio.sleep(self._retry)
                continue
            self._driver.process()
            return

    def apply(self, raft_change: ConfChange) -> tuple[ConfState, MemberChange | None]:
        """Apply a committed change; returns the configuration and what was really changed.

        A change that cannot be made any more is replaced by an empty one, on all members alike.
        """
        change = MemberChange.decode(raft_change.context) if raft_change.context else None
        refusal = self._applier.change_member(change) if change else None
        state = self._raft.apply_conf_change(ConfChange() if refusal else raft_change)
        if change and change.origin == self._member_id:
            self._answer(change, refusal)
        return state, None if refusal else change

    def _answer(self, change: MemberChange, refusal: Failure | None) -> None:
        responder = self._waiting.pop(change.sequence, None)
        if responder is None:
            return
        if refusal:
            responder.fail(refusal.code, refusal.text)
        else:
            responder.reply(b"")

    def stop(self) -> None:
        """Fail what waits."""
        for responder in self._waiting.values():
            responder.fail(Failure.STOPPED.code, Failure.STOPPED.text)


def as_conf_change(change: MemberChange) -> ConfChange:
    """What Raft makes of a membership change, with all that apply needs of it."""
    kind = _KINDS.get(change.action)
    if kind is None:
        learner = change.member.is_learner
        kind = ConfChangeKind.ADD_LEARNER if learner else ConfChangeKind.ADD_VOTER
    return ConfChange((ConfChangeSingle(kind, change.member.id),), context=change.encode())
