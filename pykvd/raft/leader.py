"""What a leader does: replicate, commit, and prove that it still leads (5.3, 5.4.2, thesis 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft import confchange, quorum
from pykvd.raft.errors import ConfChangeError, InvariantError, ProposalDropped
from pykvd.raft.inflights import Inflights
from pykvd.raft.log import entry_size
from pykvd.raft.membership import ConfChange
from pykvd.raft.message import Message, MessageKind
from pykvd.raft.progress import Progress, ProgressState
from pykvd.raft.role import RoleState
from pykvd.raft.types import NONE, Entry, EntryKind, ReadState, Role, Snapshot

if TYPE_CHECKING:
    from pykvd.raft.core import Raft


class Leader(RoleState):
    """The leader of one term; discarded with it.

    Invariants:

    - `progress` has exactly the members of the configuration; this member's own `match` is what
      its disk holds, not what its memory holds (thesis 10.2.1).
    - `term_start` is the index of this term's first entry. Nothing is committed by counting, no
      read is served and no membership change is begun before it is committed (5.4.2, 8).
    - `pending_conf_index` is at or after the last conf change in the log; while it is not applied
      no other is appended, so at most one is in flight.
    """

    kind = Role.LEADER

    def __init__(self, raft: Raft) -> None:
        super().__init__(raft)
        self.progress: dict[int, Progress] = {}
        self.term_start = raft.log.last_index + 1
        self.pending_conf_index = self.term_start
        self.transferee = NONE
        self.uncommitted_bytes = 0
        self._heartbeat_elapsed = 0
        self._follow_configuration()

    def begin_term(self) -> None:
        """Append the empty entry of the term (8) and announce it."""
        self._append(EntryKind.NORMAL, b"")

    # Log

    def _append(self, kind: EntryKind, data: bytes) -> None:
        raft, log = self.raft, self.raft.log
        entry = Entry(raft.term, log.last_index + 1, kind, data)
        log.append(entry)
        self.uncommitted_bytes += entry_size(entry)
        if len(self.progress) > 1:
            self.broadcast_append()

    def persisted(self) -> None:
        """Count this member for what its disk holds now, and no sooner."""
        own = self.progress.get(self.raft.id)
        if own is not None and own.maybe_update(self.raft.log.persisted):
            self._commit_and_announce()

    def _commit_and_announce(self) -> bool:
        if not self._maybe_commit():
            return False
        if len(self.progress) > 1:
            self.broadcast_append()
        return True

    def _maybe_commit(self) -> bool:
        """Commit what a majority holds durably, if it is of this term (5.3, 5.4.2)."""
        log, progress = self.raft.log, self.progress
        index = quorum.committed_index(self.raft.conf, lambda node: progress[node].match)
        if index <= log.commit or not self._may_commit(index):
            return False
        committed = log.slice(log.commit + 1, index + 1)
        self.uncommitted_bytes -= min(
            self.uncommitted_bytes, sum(entry_size(entry) for entry in committed)
        )
        return log.commit_to(index)

    def _may_commit(self, index: int) -> bool:
        """Only entries of the current term are committed by counting replicas (figure 8)."""
        return index >= self.term_start

    # Replication

    def broadcast_append(self) -> None:
        """Send every peer what it lacks."""
        for peer in self.progress:
            if peer != self.raft.id:
                self._send_append(peer)

    def _send_append(self, peer: int, *, even_if_empty: bool = True) -> bool:
        """Send one append, or a snapshot; False if there is nothing to send or no room."""
        progress, log = self.progress[peer], self.raft.log
        if progress.paused and progress.state is not ProgressState.REPLICATE:
            return False
        previous_term = log.term(progress.next - 1)
        if previous_term is None:
            return self._send_snapshot(peer)
        entries: list[Entry] = []
        if not progress.paused:
            entries = log.slice(
                progress.next, log.last_index + 1, self.raft.config.max_message_bytes
            )
        if not entries and not even_if_empty:
            return False
        self.raft.send(
            Message(
                MessageKind.APPEND,
                to=peer,
                sender=self.raft.id,
                term=self.raft.term,
                index=progress.next - 1,
                log_term=previous_term,
                commit=log.commit,
                entries=entries,
            )
        )
        progress.sent(progress.next - 1 + len(entries), sum(map(entry_size, entries)))
        return True

    def _send_snapshot(self, peer: int) -> bool:
        progress, raft = self.progress[peer], self.raft
        if not progress.recent_active:
            raft.logger.debug("%d sends no snapshot to %d: it is not active", raft.id, peer)
            return False
        index = raft.log.applied
        term = raft.log.term(index)
        if term is None:
            raise InvariantError(f"no term for applied entry {index}")
        snapshot = Snapshot(index, term, raft.conf_at_applied)
        raft.logger.info("%d sends snapshot at %d to %d", raft.id, index, peer)
        progress.become_snapshot(index)
        raft.send(
            Message(
                MessageKind.SNAPSHOT, to=peer, sender=raft.id, term=raft.term, snapshot=snapshot
            )
        )
        return True

    def _handle_append_response(self, message: Message) -> None:
        progress = self.progress.get(message.sender)
        if progress is None:
            return
        progress.recent_active = True
        if message.reject:
            self._handle_append_rejected(progress, message)
        else:
            self._handle_append_accepted(progress, message)

    def _handle_append_rejected(self, progress: Progress, message: Message) -> None:
        hint = message.hint
        if message.log_term:
            hint = self.raft.log.last_index_not_after(hint, message.log_term).index
        if not progress.maybe_decrement(message.index, hint):
            return
        if progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        self._send_append(message.sender)

    def _handle_append_accepted(self, progress: Progress, message: Message) -> None:
        was_paused = progress.paused
        if not progress.maybe_update(message.index):
            if progress.state is ProgressState.PROBE and progress.match == message.index:
                progress.become_replicate()
            else:
                return
        elif progress.state is ProgressState.PROBE:
            progress.become_replicate()
        elif progress.state is ProgressState.SNAPSHOT:
            # Any snapshot will do that our log goes on from.
            if progress.match >= self.raft.log.offset:
                progress.become_replicate()
        else:
            progress.inflights.free_to(message.index)
        if not self._commit_and_announce() and was_paused:
            self._send_append(message.sender)
        while self._send_append(message.sender, even_if_empty=False):
            pass
        self._maybe_hand_over(message.sender)

    def report_unreachable(self, peer: int) -> None:
        """Appends to `peer` were lost: stop streaming, probe."""
        progress = self.progress.get(peer)
        if progress is not None and progress.state is ProgressState.REPLICATE:
            progress.become_probe()

    def report_snapshot(self, peer: int, *, ok: bool) -> None:
        """The snapshot to `peer` was delivered, or failed; probe at the next heartbeat answer."""
        progress = self.progress.get(peer)
        if progress is None or progress.state is not ProgressState.SNAPSHOT:
            return
        if ok:
            progress.become_probe()
        else:
            progress.snapshot_failed()
        progress.probe_sent = True

    # Leadership

    def tick(self) -> None:
        """Heartbeats, and with `check_quorum` the proof that a majority still answers."""
        raft = self.raft
        raft.election_elapsed += 1
        self._heartbeat_elapsed += 1
        if raft.election_elapsed >= raft.config.election_ticks:
            raft.election_elapsed = 0
            if raft.config.check_quorum and not self._take_quorum_active():
                raft.logger.warning("%d steps down: it does not hear from a majority", raft.id)
                raft.become_follower(raft.term, NONE)
                return
            if self.transferee:
                raft.logger.info("%d gives up transfer to %d", raft.id, self.transferee)
                self.transferee = NONE
        if self._heartbeat_elapsed >= raft.config.heartbeat_ticks:
            self.broadcast_heartbeat()

    def _take_quorum_active(self) -> bool:
        votes = {
            node: progress.recent_active or node == self.raft.id
            for node, progress in self.progress.items()
        }
        for progress in self.progress.values():
            progress.recent_active = False
        return self.raft.vote_result(votes) is quorum.VoteResult.WON

    def broadcast_heartbeat(self) -> None:
        """Tell all that we lead; the answers confirm the reads of the latest round."""
        self._heartbeat_elapsed = 0
        raft, context = self.raft, self.raft.reads.context
        for peer, progress in self.progress.items():
            if peer == raft.id:
                continue
            raft.send(
                Message(
                    MessageKind.HEARTBEAT,
                    to=peer,
                    sender=raft.id,
                    term=raft.term,
                    # Beyond `match` the follower may hold entries that are not ours.
                    commit=min(progress.match, raft.log.commit),
                    context=context,
                )
            )

    def _handle_heartbeat_response(self, message: Message) -> None:
        progress = self.progress.get(message.sender)
        if progress is None:
            return
        progress.recent_active = True
        progress.probe_sent = False
        if progress.match < self.raft.log.last_index or progress.state is ProgressState.PROBE:
            # With all sent and none answered an empty append finds out what was lost.
            self._send_append(message.sender)
        number = self.raft.reads.round_of(message.context)
        if number:
            self.raft.reads.acknowledge(message.sender, number)
            self._confirm_reads()

    # Proposals

    def propose(self, kind: EntryKind, data: bytes, /) -> None:
        """Append an entry, or raise `ProposalDropped` or `ConfChangeError`."""
        raft = self.raft
        if raft.id not in self.progress:
            raise ProposalDropped("this member was removed")
        if self.transferee:
            raise ProposalDropped("leadership transfer in progress")
        if (
            self.uncommitted_bytes
            and self.uncommitted_bytes + len(data) > raft.config.max_uncommitted_bytes
        ):
            raise ProposalDropped("too much uncommitted data")
        if kind is EntryKind.CONF_CHANGE:
            self._check_conf_change(data)
            self.pending_conf_index = raft.log.last_index + 1
        self._append(kind, data)

    def _check_conf_change(self, data: bytes) -> None:
        if self.pending_conf_index > self.raft.log.applied:
            raise ProposalDropped("another membership change is not applied yet")
        confchange.apply_change(self.raft.conf, ConfChange.decode(data))

    def _handle_propose(self, message: Message) -> None:
        for entry in message.entries:
            try:
                self.propose(entry.kind, entry.data)
            except (ProposalDropped, ConfChangeError) as error:
                self.raft.logger.info(
                    "%d drops proposal from %d: %s", self.raft.id, message.sender, error
                )

    # Membership

    def _follow_configuration(self) -> None:
        """Start to track new members, forget removed ones."""
        raft, config, old = self.raft, self.raft.config, self.progress
        self.progress = {}
        for node in raft.conf.members():
            progress = old.get(node)
            if progress is None:
                inflights = Inflights(config.max_inflight_messages, config.max_inflight_bytes)
                progress = Progress(raft.log.last_index + 1, inflights, is_learner=False)
                # A new member gets an election timeout to answer.
                progress.recent_active = bool(old)
            progress.is_learner = not raft.conf.is_voter(node)
            self.progress[node] = progress
        own = self.progress.get(raft.id)
        if own is not None:
            own.become_replicate()
            own.maybe_update(raft.log.persisted)

    def conf_applied(self) -> None:
        """Track the new configuration; step down if it has no place for us."""
        self._follow_configuration()
        raft = self.raft
        if not raft.conf.is_voter(raft.id):
            self._retire()
            return
        if self.transferee not in self.progress:
            self.transferee = NONE
        self._commit_and_announce()
        self.broadcast_append()
        self._confirm_reads()

    def _retire(self) -> None:
        """Leave the cluster to the others (thesis 4.2.2), naming a successor (thesis 3.10).

        The successor needs no timeout, and this member is there to vote for it once more: the
        others may not know yet that the change which removes it is committed.
        """
        raft = self.raft
        voters = [node for node in self.progress if node in raft.conf.voters]
        successor = max(voters, key=lambda node: (self.progress[node].match, -node))
        raft.logger.info("%d steps down: removed; %d is to lead", raft.id, successor)
        self.broadcast_append()
        self._send_timeout_now(successor)
        raft.become_follower(raft.term, NONE)

    def applied(self) -> None:
        """Leave a joint configuration once it is applied, if it asks for that (section 6)."""
        raft = self.raft
        if raft.conf.auto_leave and raft.log.applied >= self.pending_conf_index:
            self.pending_conf_index = raft.log.last_index + 1
            raft.logger.info("%d proposes to leave the joint configuration", raft.id)
            self._append(EntryKind.CONF_CHANGE, ConfChange().encode())

    # Leadership transfer (thesis 3.10)

    def transfer_leader(self, target: int, /) -> None:
        """Bring `target` up to date and have it campaign; proposals wait meanwhile."""
        raft = self.raft
        progress = self.progress.get(target)
        if progress is None or progress.is_learner:
            raise ProposalDropped(f"{target} is not a voter")
        if target in (raft.id, self.transferee):
            return
        raft.logger.info("%d starts transfer to %d", raft.id, target)
        self.transferee = target
        raft.election_elapsed = 0
        if progress.match < raft.log.last_index:
            progress.probe_sent = False
            self._send_append(target)
        self._maybe_hand_over(target)

    def _maybe_hand_over(self, peer: int) -> None:
        if peer == self.transferee and self.progress[peer].match == self.raft.log.last_index:
            self.raft.logger.info("%d asks %d to campaign", self.raft.id, peer)
            self._send_timeout_now(peer)

    def _send_timeout_now(self, peer: int) -> None:
        raft = self.raft
        raft.send(Message(MessageKind.TIMEOUT_NOW, to=peer, sender=raft.id, term=raft.term))

    def _handle_transfer_leader(self, message: Message) -> None:
        try:
            self.transfer_leader(message.index)
        except ProposalDropped as error:
            self.raft.logger.info("%d drops transfer: %s", self.raft.id, error)

    # Reads (thesis 6.4)

    def can_start_reads(self) -> bool:
        """Whether the commit index is known to be that of all earlier terms (step 1 of 6.4)."""
        return self.raft.log.commit >= self.term_start

    def start_reads(self) -> None:
        """One round of heartbeats for all waiting reads (steps 2 and 3 of 6.4)."""
        raft = self.raft
        number = raft.reads.start_round(raft.log.commit)
        raft.reads.acknowledge(raft.id, number)
        self._confirm_reads()
        if raft.reads.context:
            self.broadcast_heartbeat()

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

    def step(self, message: Message) -> None:
        """Dispatch by kind; there is no other leader of this term to hear from (5.2)."""
        handler = _HANDLERS.get(message.kind)
        if handler is not None:
            handler(self, message)


_HANDLERS = {
    MessageKind.PROPOSE: Leader._handle_propose,
    MessageKind.APPEND_RESPONSE: Leader._handle_append_response,
    MessageKind.HEARTBEAT_RESPONSE: Leader._handle_heartbeat_response,
    MessageKind.READ_INDEX: Leader._handle_read_index,
    MessageKind.TRANSFER_LEADER: Leader._handle_transfer_leader,
}
