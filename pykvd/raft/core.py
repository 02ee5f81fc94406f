"""The state that every member has in every role, and the rules that do not depend on the role.

`Raft` holds figure 2's state, the configuration, the election timer and the messages to send. It
applies the rules on terms (5.1), grants votes (5.2, 5.4.1) and moves between the roles of
figure 4. What a role does with a message or a tick is in `follower`, `candidate` and `leader`.

The core decides and never waits: messages collect in `messages` (may be sent at once) and
`persisted_messages` (promises, which must not leave before the state they speak of is durable).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft import confchange, quorum
from pykvd.raft.candidate import Candidate
from pykvd.raft.errors import InvariantError
from pykvd.raft.follower import Follower
from pykvd.raft.leader import Leader
from pykvd.raft.message import CAMPAIGN_TRANSFER, Message, MessageKind
from pykvd.raft.read_only import ReadOnly
from pykvd.raft.role import FROM_LEADER, RoleState
from pykvd.raft.types import (
    NONE,
    EntryKind,
    HardState,
    Logger,
    ReadState,
    Role,
    SoftState,
)

if TYPE_CHECKING:
    import random

    from pykvd.raft.config import RaftConfig
    from pykvd.raft.log import RaftLog
    from pykvd.raft.membership import ConfChange, ConfState

_FORWARDED = frozenset({MessageKind.PROPOSE, MessageKind.READ_INDEX})
_VOTE_REQUESTS = frozenset({MessageKind.VOTE, MessageKind.PRE_VOTE})
_VOTE_RESPONSES = frozenset({MessageKind.VOTE_RESPONSE, MessageKind.PRE_VOTE_RESPONSE})
_PROMISES = frozenset({MessageKind.VOTE_RESPONSE, MessageKind.APPEND_RESPONSE})


class Raft:
    """One member.

    Invariants: `term` never falls; `vote` changes at most once in a term, from NONE; `leader` is
    NONE or the one leader of `term`; `role` is replaced, never reused, at each transition.
    """

    def __init__(
        self,
        config: RaftConfig,
        hard_state: HardState,
        conf: ConfState,
        log: RaftLog,
        rng: random.Random,
        logger: Logger,
    ) -> None:
        self.config = config
        self.id = config.id
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.persisted_vote = (self.term, self.vote)
        self.leader = NONE
        self.conf = conf
        self.conf_at_applied = conf
        self.log = log
        self.rng = rng
        self.logger = logger
        self.reads = ReadOnly(self.id, rng.getrandbits(64))
        self.messages: list[Message] = []
        self.persisted_messages: list[Message] = []
        self.read_states: list[ReadState] = []
        self.election_elapsed = 0
        self.randomized_election_timeout = 0
        self.role: RoleState = Follower(self)
        self._reset_election_timer()

    # State

    def hard_state(self) -> HardState:
        """What must be persisted besides the log."""
        return HardState(self.term, self.vote, self.log.commit)

    def soft_state(self) -> SoftState:
        """What is worth reporting."""
        return SoftState(self.leader, self.role.kind)

    @property
    def promotable(self) -> bool:
        """Whether this member may campaign: a voter, with its state in place."""
        return self.log.snapshot is None and self.conf.is_voter(self.id)

    # Messages

    def send(self, message: Message) -> None:
        """Queue `message`, after the next write if it promises something."""
        kind = message.kind
        if kind is MessageKind.VOTE or (kind in _PROMISES and not message.reject):
            # A candidate that forgot its vote could campaign twice in one term, with two logs.
            self.persisted_messages.append(message)
        else:
            self.messages.append(message)

    # Transitions (figure 4)

    def _reset_election_timer(self) -> None:
        ticks = self.config.election_ticks
        self.election_elapsed = 0
        self.randomized_election_timeout = ticks + self.rng.randrange(ticks)

    def _enter(self, term: int, leader: int) -> None:
        if term != self.term:
            self.term = term
            self.vote = NONE
        self.leader = leader
        self.reads.reset()
        self._reset_election_timer()

    def become_follower(self, term: int, leader: int) -> None:
        """Follow `leader` (NONE if not known yet) in `term`."""
        self._enter(term, leader)
        self.role = Follower(self)
        self.logger.info("%x became follower at term %d", self.id, term)

    def follow(self, leader: int) -> None:
        """Note that `leader` leads this term; the election timer starts over."""
        self.election_elapsed = 0
        if self.leader != leader:
            self.leader = leader
            self.reads.reset()

    def become_pre_candidate(self) -> None:
        """Ask around before campaigning; neither term nor vote change (thesis 9.6)."""
        self._enter(self.term, NONE)
        self.role = Candidate(self, pre_vote=True, transfer=False)
        self.logger.info("%x became pre-candidate at term %d", self.id, self.term)

    def become_candidate(self, *, transfer: bool) -> None:
        """Vote for oneself in a new term (5.2)."""
        self._enter(self.term + 1, NONE)
        self.vote = self.id
        self.role = Candidate(self, pre_vote=False, transfer=transfer)
        self.logger.info("%x became candidate at term %d", self.id, self.term)

    def become_leader(self) -> None:
        """Lead the term of the election just won."""
        self._enter(self.term, self.id)
        leader = Leader(self)
        self.role = leader
        self.logger.info("%x became leader at term %d", self.id, self.term)
        leader.begin_term()

    # Elections

    def tick_election(self) -> None:
        """A tick of a member that is not leader (5.2)."""
        self.election_elapsed += 1
        if self.promotable and self.election_elapsed >= self.randomized_election_timeout:
            self.campaign()

    def campaign(self, *, transfer: bool = False) -> None:
        """Start an election, unless that would be unsafe or without sense.

        With `transfer` the leader asked for it, so there is no pre-vote (thesis 3.10).
        """
        self.election_elapsed = 0
        if self.role.kind is Role.LEADER:
            return
        if not self.promotable:
            self.logger.warning("%x is not a voter and cannot campaign", self.id)
            return
        if self.has_unapplied_conf_change():
            # It would be elected by a configuration that is already history.
            self.logger.warning("%x cannot campaign: conf change not applied", self.id)
            return
        if self.config.pre_vote and not transfer:
            self.become_pre_candidate()
        else:
            self.become_candidate(transfer=transfer)
        candidate = self.role
        assert isinstance(candidate, Candidate)
        candidate.request_votes()

    def has_unapplied_conf_change(self) -> bool:
        """Whether the configuration in use is known to be outdated."""
        log = self.log
        pending = log.slice(max(log.applied, log.offset) + 1, log.commit + 1)
        return any(entry.kind is EntryKind.CONF_CHANGE for entry in pending)

    # Messages in

    def step(self, message: Message) -> None:
        """Take a message from another member: rules on terms first, then votes, then the role."""
        if message.kind not in _FORWARDED and not self._settle_term(message):
            return
        if message.kind in _VOTE_REQUESTS:
            self._handle_vote_request(message)
            return
        if message.kind in _VOTE_RESPONSES and message.reject:
            self._maybe_commit_by_vote(message)
        self.role.step(message)

    def _maybe_commit_by_vote(self, message: Message) -> None:
        """Learn from a refusal what is committed, if our log has it."""
        log = self.log
        if self.role.kind is Role.LEADER or not log.matches(message.commit, message.log_term):
            return
        if log.commit_to(message.commit):
            self.logger.info("%x learns of commit %d by vote", self.id, log.commit)
            if self.role.kind is not Role.FOLLOWER and self.has_unapplied_conf_change():
                self.become_follower(self.term, NONE)

    def _settle_term(self, message: Message) -> bool:
        """Apply "Rules for all servers" of figure 2; False if the message ends here."""
        if message.term > self.term:
            return self._handle_higher_term(message)
        if message.term < self.term:
            self._handle_lower_term(message)
            return False
        return True

    def _handle_higher_term(self, message: Message) -> bool:
        kind = message.kind
        if kind in _VOTE_REQUESTS and self._in_lease and message.context != CAMPAIGN_TRANSFER:
            # Not to be disturbed: removed and partitioned members campaign too (thesis 4.2.3).
            self.logger.info(
                "%x ignores %s from %x at term %d: it hears from leader %x",
                *(self.id, kind.name, message.sender, message.term, self.leader),
            )
            return False
        if kind is MessageKind.PRE_VOTE:
            return True
        if kind is MessageKind.PRE_VOTE_RESPONSE and not message.reject:
            # Granted for a term that nobody has entered yet; ours moves when we campaign.
            return True
        leader = message.sender if kind in FROM_LEADER else NONE
        timer = self.election_elapsed, self.randomized_election_timeout
        follows = self.role.kind is Role.FOLLOWER
        self.become_follower(message.term, leader)
        if follows and kind is MessageKind.VOTE:
            # A candidate that gets no vote of ours must not keep us from campaigning (figure 2).
            self.election_elapsed, self.randomized_election_timeout = timer
        return True

    @property
    def _in_lease(self) -> bool:
        return (
            self.config.check_quorum
            and self.leader != NONE
            and self.election_elapsed < self.config.election_ticks
        )

    def _handle_lower_term(self, message: Message) -> None:
        if message.kind is MessageKind.PRE_VOTE:
            self._answer_vote(message, grant=False)
        elif message.kind in FROM_LEADER and (self.config.check_quorum or self.config.pre_vote):
            # We may be ahead from a failed campaign that nobody answers: the leader must learn
            # of our term, or its messages and our votes would be ignored for ever.
            self.send(
                Message(
                    MessageKind.APPEND_RESPONSE,
                    to=message.sender,
                    sender=self.id,
                    term=self.term,
                    reject=True,
                )
            )

    def _handle_vote_request(self, message: Message) -> None:
        """RequestVote of figure 2; a pre-vote promises nothing (thesis 9.6)."""
        pre_vote = message.kind is MessageKind.PRE_VOTE
        free = (
            self.vote == message.sender
            or (self.vote == NONE and self.leader == NONE)
            or (pre_vote and message.term > self.term)
        )
        # Learners vote too: the candidate's configuration may be newer than ours.
        grant = free and self.log.is_up_to_date(message.index, message.log_term)
        if grant and not pre_vote:
            self.election_elapsed = 0
            self.vote = message.sender
        self._answer_vote(message, grant=grant)

    def _answer_vote(self, message: Message, *, grant: bool) -> None:
        pre_vote = message.kind is MessageKind.PRE_VOTE
        self.logger.info(
            "%x %s %s to %x at term %d",
            *(self.id, "grants" if grant else "refuses", message.kind.name),
            *(message.sender, message.term),
        )
        self.send(
            Message(
                MessageKind.PRE_VOTE_RESPONSE if pre_vote else MessageKind.VOTE_RESPONSE,
                to=message.sender,
                sender=self.id,
                term=message.term if grant else self.term,
                reject=not grant,
                commit=0 if grant else self.log.commit,
                log_term=0 if grant else self.log.term(self.log.commit) or 0,
            )
        )

    # Storage and state machine

    def persisted(self, number: int) -> None:
        """Readys up to `number` are durable: count them, and run what waited for that."""
        writes = self.log.finish_writes(number)
        if not writes:
            return
        for write in writes:
            if write.snapshot is not None and self.log.snapshot is None:
                self._change_conf(write.snapshot.conf_state)
                self.conf_at_applied = self.conf
        self.persisted_vote = (writes[-1].term, writes[-1].vote)
        self.role.persisted()

    def _change_conf(self, conf: ConfState) -> None:
        if conf == self.conf:
            return
        self.conf = conf
        self.logger.info("%x switched to configuration %s", self.id, conf)
        self.role.conf_applied()

    def apply_conf_change(self, change: ConfChange) -> None:
        """Switch to the configuration that `change`, committed and being applied, leads to."""
        first = self.log.entries[0] if self.log.entries else None
        if not self.conf.voters and first is not None and first.kind is not EntryKind.CONF_CHANGE:
            # A change to a configuration that we were never told would make us think that we are
            # the whole cluster.
            raise InvariantError("the log has a membership change, but no configuration before it")
        self._change_conf(confchange.apply_change(self.conf, change))

    def applied_to(self, index: int) -> None:
        """The state machine and the configuration stand at `index`."""
        self.log.applied_to(index)
        self.conf_at_applied = self.conf
        self.role.applied()

    def vote_result(self, votes: dict[int, bool]) -> quorum.VoteResult:
        """How an election with these votes stands."""
        return quorum.vote_result(self.conf, votes)
