"""What a candidate does: collect votes (5.2), or first the promise of votes (thesis 9.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft.message import CAMPAIGN_TRANSFER, Message, MessageKind
from pykvd.raft.quorum import VoteResult
from pykvd.raft.role import FROM_LEADER, RoleState
from pykvd.raft.types import NONE, Role

if TYPE_CHECKING:
    from pykvd.raft.core import Raft


class Candidate(RoleState):
    """A campaign, real or (`pre_vote`) asked about in advance.

    A candidate's own vote is a promise like any other: it counts when it is durable. A pre-vote
    promises nothing and counts at once.
    """

    def __init__(self, raft: Raft, *, pre_vote: bool, transfer: bool) -> None:
        super().__init__(raft)
        self.kind = Role.PRE_CANDIDATE if pre_vote else Role.CANDIDATE
        self.votes: dict[int, bool] = {}
        self._transfer = transfer

    def request_votes(self) -> None:
        """Ask all voters; a pre-candidate that needs nobody else goes on at once."""
        raft = self.raft
        pre_vote = self.kind is Role.PRE_CANDIDATE
        conf, log = raft.conf, raft.log
        for voter in sorted({*conf.voters, *conf.voters_outgoing}):
            if voter == raft.id:
                continue
            raft.send(
                Message(
                    MessageKind.PRE_VOTE if pre_vote else MessageKind.VOTE,
                    to=voter,
                    sender=raft.id,
                    term=raft.term + 1 if pre_vote else raft.term,
                    index=log.last_index,
                    log_term=log.last_term,
                    context=CAMPAIGN_TRANSFER if self._transfer else b"",
                )
            )
        if pre_vote:
            self._record(raft.id, granted=True)

    def persisted(self) -> None:
        """Count the own vote of this campaign."""
        raft = self.raft
        if self.kind is Role.CANDIDATE and raft.persisted_vote == (raft.term, raft.id):
            self._record(raft.id, granted=True)

    def step(self, message: Message) -> None:
        """Count a vote, or give way to a leader of this term."""
        if message.kind in FROM_LEADER:
            self.raft.become_follower(message.term, message.sender)
            self.raft.role.step(message)
        elif message.kind is self._response_kind:
            self._record(message.sender, granted=not message.reject)

    @property
    def _response_kind(self) -> MessageKind:
        if self.kind is Role.PRE_CANDIDATE:
            return MessageKind.PRE_VOTE_RESPONSE
        return MessageKind.VOTE_RESPONSE

    def _record(self, voter: int, *, granted: bool) -> None:
        raft = self.raft
        if voter in self.votes:
            return
        self.votes[voter] = granted
        result = raft.vote_result(self.votes)
        if result is VoteResult.LOST:
            raft.become_follower(raft.term, NONE)
        elif result is VoteResult.WON and self.kind is Role.PRE_CANDIDATE:
            raft.become_candidate(transfer=False)
            campaign = raft.role
            assert isinstance(campaign, Candidate)
            campaign.request_votes()
        elif result is VoteResult.WON:
            raft.become_leader()
