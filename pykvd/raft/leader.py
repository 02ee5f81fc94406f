"""What a leader does besides replicating: commit, change members, prove that it leads.

Sections 5.3 and 5.4.2 on commitment, 6 on membership, 8 and thesis 6.4 on reads, thesis 3.10 on
the transfer of leadership.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from pykvd.raft import confchange, quorum
from pykvd.raft.errors import ConfChangeError, MessageDecodeError, ProposalDropped
from pykvd.raft.log import entry_size
from pykvd.raft.membership import ConfChange
from pykvd.raft.message import Message, MessageKind
from pykvd.raft.replication import Replication
from pykvd.raft.role import RoleState
from pykvd.raft.types import NONE, Entry, EntryKind, ReadState, Role

if TYPE_CHECKING:
    from pykvd.raft.core import Raft

#: Membership changes of followers that may wait for an earlier one.
MAX_EARLY_CHANGES: Final = 16


class Leader(RoleState):
    """The leader of one term; discarded with it.

    Invariants:

    - `term_start` is the index of this term's first entry. Nothing is committed by counting, no
      read is served and no membership change is begun before it is committed (5.4.2, 8).
    - `pending_conf_index` is at or after the last conf change in the log; while it is not applied
      no other is appended, so at most one is in flight.

    News for the peers is sent when the next Ready is made, so that entries and a commit index
    that come together travel together.
    """

    kind = Role.LEADER

    def __init__(self, raft: Raft) -> None:
        super().__init__(raft)
        self.peers = Replication(raft)
        self.term_start = raft.log.last_index + 1
        self.pending_conf_index = self.term_start
        self.transferee = NONE
        self.uncommitted_bytes = 0
        self._retire_at = 0
        self._heartbeat_elapsed = 0
        self._append_due = False
        self._early_changes: deque[tuple[int, Entry]] = deque()

    def begin_term(self) -> None:
        """Append the empty entry of the term (8) and announce it."""
        self._append(EntryKind.NORMAL, b"")

    def tick(self) -> None:
        """Heartbeats, and with `check_quorum` the proof that a majority still answers."""
        raft = self.raft
        raft.election_elapsed += 1
        self._heartbeat_elapsed += 1
        if raft.election_elapsed >= raft.config.election_ticks:
            raft.election_elapsed = 0
            if raft.config.check_quorum and not self._hears_from_majority():
                raft.logger.warning("%x steps down: it does not hear from a majority", raft.id)
                raft.become_follower(raft.term, NONE)
                return
            if self.transferee:
                raft.logger.info("%x gives up transfer to %x", raft.id, self.transferee)
                self.transferee = NONE
        if self._heartbeat_elapsed >= raft.config.heartbeat_ticks:
            self._heartbeat()

    def _hears_from_majority(self) -> bool:
        return self.raft.vote_result(self.peers.take_active()) is quorum.VoteResult.WON

    def _heartbeat(self) -> None:
        self._heartbeat_elapsed = 0
        self.peers.broadcast_heartbeat(self.raft.reads.context)

    def step(self, message: Message) -> None:
        """Dispatch by kind; there is no other leader of this term to hear from (5.2)."""
        handler = _HANDLERS.get(message.kind)
        if handler is not None:
            handler(self, message)

    # Commitment

    def _append(self, kind: EntryKind, data: bytes) -> None:
        log = self.raft.log
        entry = Entry(self.raft.term, log.last_index + 1, kind, data)
        log.append(entry)
        self.uncommitted_bytes += entry_size(entry)
        self._append_due = self.peers.has_peers

    def persisted(self) -> None:
        """Count this member for what its disk holds now, and no sooner."""
        if self.peers.count_own_log():
            self._maybe_commit()

    def _maybe_commit(self) -> None:
        """Commit what a majority holds durably, if it is of this term (5.3, 5.4.2)."""
        log = self.raft.log
        index = quorum.committed_index(self.raft.conf, self.peers.match)
        if index <= log.commit or not self._may_commit(index):
            return
        size = sum(map(entry_size, log.slice(log.commit + 1, index + 1)))
        self.uncommitted_bytes = max(0, self.uncommitted_bytes - size)
        log.commit_to(index)
        self._append_due = self.peers.has_peers
        if self._retire_at and index >= self._retire_at:
            self._retire()

    def _may_commit(self, index: int) -> bool:
        """Only entries of the current term are committed by counting replicas (figure 8)."""
        return index >= self.term_start

    def _handle_append_response(self, message: Message) -> None:
        if self.peers.handle_append_response(message):
            self._maybe_commit()
            self._maybe_hand_over(message.sender)

    def has_work(self) -> bool:
        """Whether peers are to be told something, or reads to begin."""
        return self._append_due or self._can_start_reads()

    def prepare_ready(self) -> None:
        """Send what the peers lack, and ask them to confirm the waiting reads."""
        if self._append_due:
            self._append_due = False
            self.peers.broadcast_news()
        if self._can_start_reads():
            self._start_reads()

    # Proposals

    def propose(self, kind: EntryKind, data: bytes, /) -> None:
        """Append an entry, or raise `ProposalDropped` or `ConfChangeError`."""
        limit = self.raft.config.max_uncommitted_bytes
        if self.transferee:
            raise ProposalDropped("leadership transfer in progress")
        if self.uncommitted_bytes and self.uncommitted_bytes + len(data) > limit:
            raise ProposalDropped("too much uncommitted data")
        if kind is EntryKind.CONF_CHANGE:
            self._check_conf_change(data)
            self.pending_conf_index = self.raft.log.last_index + 1
        self._append(kind, data)

    @property
    def _changing(self) -> bool:
        """Whether a membership change, or the start of the term, is not applied here yet."""
        return self.pending_conf_index > self.raft.log.applied

    def _check_conf_change(self, data: bytes) -> None:
        if self._changing:
            raise ProposalDropped("another membership change is not applied yet")
        if self._retire_at:
            # Whom it removes may be gone before those who stay know that it is removed.
            raise ProposalDropped("this leader votes no more: the next one changes the membership")
        confchange.apply_change(self.raft.conf, ConfChange.decode(data))

    def _handle_propose(self, message: Message) -> None:
        for entry in message.entries:
            early = entry.kind is EntryKind.CONF_CHANGE and self._changing
            if early and len(self._early_changes) < MAX_EARLY_CHANGES:
                # A follower that has applied the change before cannot know that we have not.
                self._early_changes.append((message.sender, entry))
            else:
                self._propose_for(message.sender, entry)

    def _propose_for(self, sender: int, entry: Entry) -> None:
        try:
            self.propose(entry.kind, entry.data)
        except (ProposalDropped, ConfChangeError, MessageDecodeError) as error:
            self.raft.logger.info("%x drops proposal from %x: %s", self.raft.id, sender, error)

    # Membership (6)

    def conf_applied(self) -> None:
        """Track the new configuration; prepare to step down if we have no vote in it.

        A leader without a vote goes on, not counting itself (thesis 4.2.2), until the others have
        committed one more entry. Each append of that entry carries the news that the change is
        committed, so by then a majority of the new configuration knows that it is in force.
        """
        raft = self.raft
        self.peers.follow_configuration()
        if self.transferee not in raft.conf.voters:
            self.transferee = NONE
        if raft.conf.is_voter(raft.id):
            self._retire_at = 0
        elif not self._retire_at:
            self._append(EntryKind.NORMAL, b"")
            self._retire_at = raft.log.last_index
        self.peers.greet_new_members()
        self._maybe_commit()
        self._confirm_reads()

    def _retire(self) -> None:
        """Leave the cluster to the others, naming a successor that need not wait (thesis 3.10)."""
        raft = self.raft
        successor = max(raft.conf.voters, key=lambda node: (self.peers.match(node), -node))
        raft.logger.info("%x steps down: it votes no more; %x is to lead", raft.id, successor)
        self.peers.broadcast_append()
        self._send_timeout_now(successor)
        raft.become_follower(raft.term, NONE)

    def applied(self) -> None:
        """Leave a joint configuration once it is applied, if it asks for that (6).

        Then it is the turn of the next membership change that came too early.
        """
        raft = self.raft
        if raft.conf.auto_leave and raft.log.applied >= self.pending_conf_index:
            self.pending_conf_index = raft.log.last_index + 1
            raft.logger.info("%x proposes to leave the joint configuration", raft.id)
            self._append(EntryKind.CONF_CHANGE, ConfChange().encode())
        while self._early_changes and not self._changing:
            self._propose_for(*self._early_changes.popleft())

    # Leadership transfer (thesis 3.10)

    def transfer_leader(self, target: int, /) -> None:
        """Bring `target` up to date and have it campaign; proposals wait meanwhile."""
        raft = self.raft
        if target not in raft.conf.voters:
            raise ProposalDropped(f"{target} is not a voter")
        if target in (raft.id, self.transferee):
            return
        raft.logger.info("%x starts transfer to %x", raft.id, target)
        self.transferee = target
        raft.election_elapsed = 0
        self.peers.send_all(target)
        self._maybe_hand_over(target)

    def _maybe_hand_over(self, peer: int) -> None:
        if peer == self.transferee != NONE and self.peers.match(peer) == self.raft.log.last_index:
            self.raft.logger.info("%x asks %x to campaign", self.raft.id, peer)
            self._send_timeout_now(peer)

    def _send_timeout_now(self, peer: int) -> None:
        raft = self.raft
        raft.send(Message(MessageKind.TIMEOUT_NOW, to=peer, sender=raft.id, term=raft.term))

    def _handle_transfer_leader(self, message: Message) -> None:
        try:
            self.transfer_leader(message.index)
        except ProposalDropped as error:
            self.raft.logger.info("%x drops transfer: %s", self.raft.id, error)

    # Reads (thesis 6.4)

    def _can_start_reads(self) -> bool:
        """Whether reads wait, and the commit index is that of all earlier terms (step 1)."""
        return bool(self.raft.reads.waiting) and self.raft.log.commit >= self.term_start

    def _start_reads(self) -> None:
        """Make one round of all waiting reads (steps 2 and 3)."""
        raft = self.raft
        number = raft.reads.start_round(raft.log.commit)
        raft.reads.acknowledge(raft.id, number)
        self._confirm_reads()
        if raft.reads.context:
            self._heartbeat()

    def _handle_heartbeat_response(self, message: Message) -> None:
        self.peers.handle_heartbeat_response(message.sender)
        number = self.raft.reads.round_of(message.context)
        if number:
            self.raft.reads.acknowledge(message.sender, number)
            self._confirm_reads()

    def _confirm_reads(self) -> None:
        raft = self.raft
        number = quorum.committed_index(raft.conf, raft.reads.acknowledged)
        for confirmed in raft.reads.confirm(number):
            for request in confirmed.requests:
                self._answer_read(request.sender, request.context, confirmed.index)

    def _answer_read(self, sender: int, context: bytes, index: int) -> None:
        raft = self.raft
        if sender == raft.id:
            raft.read_states.append(ReadState(index, context))
            return
        raft.send(
            Message(
                MessageKind.READ_INDEX_RESPONSE,
                to=sender,
                sender=raft.id,
                term=raft.term,
                index=index,
                context=context,
            )
        )

    def _handle_read_index(self, message: Message) -> None:
        self.raft.reads.add(message.sender, message.context)


_HANDLERS = {
    MessageKind.PROPOSE: Leader._handle_propose,
    MessageKind.APPEND_RESPONSE: Leader._handle_append_response,
    MessageKind.HEARTBEAT_RESPONSE: Leader._handle_heartbeat_response,
    MessageKind.READ_INDEX: Leader._handle_read_index,
    MessageKind.TRANSFER_LEADER: Leader._handle_transfer_leader,
}
