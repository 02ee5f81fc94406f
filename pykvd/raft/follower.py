"""What a follower does: take entries, snapshots and heartbeats, and forward requests (5.3, 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft.errors import ProposalDropped
from pykvd.raft.message import Message, MessageKind
from pykvd.raft.role import RoleState
from pykvd.raft.types import NONE, Entry, EntryId, EntryKind, ReadState, Role, Snapshot

if TYPE_CHECKING:
    from pykvd.raft.core import Raft


class Follower(RoleState):
    """The passive role; also that of learners and of members not yet in any configuration."""

    kind = Role.FOLLOWER

    def __init__(self, raft: Raft) -> None:
        super().__init__(raft)
        self._read_retry_elapsed = 0
        self._campaign_when_applied = False

    def tick(self) -> None:
        """Count towards an election, and ask again for reads whose answer may be lost."""
        self.raft.tick_election()
        if self.raft.role is self and self.raft.reads.context:
            self._read_retry_elapsed += 1
            if self._read_retry_elapsed >= self.raft.config.heartbeat_ticks:
                self._ask_for_read_index()

    def step(self, message: Message) -> None:
        """Dispatch by kind; answers to an earlier role are dropped."""
        handler = _HANDLERS.get(message.kind)
        if handler is not None:
            handler(self, message)

    # From the leader

    def _handle_append(self, message: Message) -> None:
        raft, log = self.raft, self.raft.log
        raft.follow(message.sender)
        if message.index < log.commit:
            # Delayed: all that it can carry of use is behind us.
            self._accept(log.commit)
            return
        previous = EntryId(message.index, message.log_term)
        last = log.maybe_append(previous, message.entries, message.commit)
        if last is not None:
            self._accept(last)
        else:
            self._reject(message)

    def _handle_commit(self, message: Message) -> None:
        raft, log = self.raft, self.raft.log
        raft.follow(message.sender)
        if message.index < log.commit:
            return
        if log.matches(message.index, message.log_term):
            log.commit_to(min(message.commit, message.index))
        else:
            self._reject(message)

    def _accept(self, index: int) -> None:
        raft = self.raft
        raft.send(
            Message(
                MessageKind.APPEND_RESPONSE,
                to=raft.leader,
                sender=raft.id,
                term=raft.term,
                index=index,
            )
        )

    def _reject(self, message: Message) -> None:
        raft = self.raft
        raft.logger.debug(
            "%x rejects append after %d of term %d from %x",
            *(raft.id, message.index, message.log_term, message.sender),
        )
        hint = raft.log.last_index_not_after(message.index, message.log_term)
        raft.send(
            Message(
                MessageKind.APPEND_RESPONSE,
                to=message.sender,
                sender=raft.id,
                term=raft.term,
                index=message.index,
                reject=True,
                hint=hint.index,
                log_term=hint.term,
            )
        )

    def _handle_heartbeat(self, message: Message) -> None:
        raft = self.raft
        raft.follow(message.sender)
        raft.log.commit_to(message.commit)
        raft.send(
            Message(
                MessageKind.HEARTBEAT_RESPONSE,
                to=message.sender,
                sender=raft.id,
                term=raft.term,
                context=message.context,
            )
        )

    def _handle_snapshot(self, message: Message) -> None:
        raft, snapshot = self.raft, message.snapshot
        raft.follow(message.sender)
        if snapshot is None:
            return
        if self._restore(snapshot):
            raft.logger.info("%x restores snapshot at %d", raft.id, snapshot.index)
        else:
            raft.logger.info("%x ignores snapshot at %d", raft.id, snapshot.index)
        self._accept(raft.log.commit)

    def _restore(self, snapshot: Snapshot) -> bool:
        """Install `snapshot` unless the log already has what it has (figure 13)."""
        raft, log = self.raft, self.raft.log
        if snapshot.index <= log.commit:
            return False
        if log.matches(snapshot.index, snapshot.term):
            log.commit_to(snapshot.index)
            return False
        if raft.id not in snapshot.conf_state.members():
            raft.logger.warning("%x is not in the snapshot's configuration", raft.id)
            return False
        log.restore(snapshot)
        return True

    def _handle_timeout_now(self, message: Message) -> None:
        self.raft.logger.info("%x is asked by %x to campaign", self.raft.id, message.sender)
        # A leader that leaves names its successor just when the change that removes it commits.
        self._campaign_when_applied = self.raft.has_unapplied_conf_change()
        if not self._campaign_when_applied:
            self.raft.campaign(transfer=True)

    def applied(self) -> None:
        """Take up a campaign that had to wait for a membership change."""
        if self._campaign_when_applied and not self.raft.has_unapplied_conf_change():
            self._campaign_when_applied = False
            self.raft.campaign(transfer=True)

    # To the leader

    def propose(self, kind: EntryKind, data: bytes, /) -> None:
        """Forward to the leader; it may still be dropped there or on the way."""
        self._forward(MessageKind.PROPOSE, entries=(Entry(0, 0, kind, data),))

    def _forward(
        self,
        kind: MessageKind,
        *,
        term: int = 0,
        index: int = 0,
        entries: tuple[Entry, ...] = (),
        context: bytes = b"",
    ) -> None:
        raft = self.raft
        if raft.leader == NONE:
            raise ProposalDropped("no leader")
        raft.send(
            Message(
                kind,
                to=raft.leader,
                sender=raft.id,
                term=term,
                index=index,
                entries=entries,
                context=context,
            )
        )

    def transfer_leader(self, target: int, /) -> None:
        """Pass the wish on."""
        self._forward(MessageKind.TRANSFER_LEADER, term=self.raft.term, index=target)

    # Reads

    def has_work(self) -> bool:
        """Whether reads wait and there is a leader to ask."""
        return bool(self.raft.reads.waiting) and self.raft.leader != NONE

    def prepare_ready(self) -> None:
        """Ask the leader once for all waiting reads."""
        if self.has_work():
            self.raft.reads.start_round(0)
            self._ask_for_read_index()

    def _ask_for_read_index(self) -> None:
        self._read_retry_elapsed = 0
        self._forward(MessageKind.READ_INDEX, context=self.raft.reads.context)

    def _handle_read_index_response(self, message: Message) -> None:
        raft = self.raft
        number = raft.reads.round_of(message.context)
        for confirmed in raft.reads.confirm(number):
            raft.read_states += [
                ReadState(message.index, request.context) for request in confirmed.requests
            ]


_HANDLERS = {
    MessageKind.APPEND: Follower._handle_append,
    MessageKind.COMMIT: Follower._handle_commit,
    MessageKind.HEARTBEAT: Follower._handle_heartbeat,
    MessageKind.SNAPSHOT: Follower._handle_snapshot,
    MessageKind.TIMEOUT_NOW: Follower._handle_timeout_now,
    MessageKind.READ_INDEX_RESPONSE: Follower._handle_read_index_response,
}
