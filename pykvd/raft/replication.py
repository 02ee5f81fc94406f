"""How a leader brings the logs of its peers in line with its own (5.3, 7).

`Replication` owns the progress of every member and sends appends, snapshots and heartbeats. It
reports what was learned; what that commits is for `leader` to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft.errors import InvariantError
from pykvd.raft.inflights import Inflights
from pykvd.raft.log import entry_size
from pykvd.raft.message import Message, MessageKind
from pykvd.raft.progress import Progress, ProgressState
from pykvd.raft.types import Snapshot

if TYPE_CHECKING:
    from pykvd.raft.core import Raft
    from pykvd.raft.types import Entry


class Replication:
    """The flow of one leader's log to its peers.

    Invariant: `progress` has exactly the members of the configuration, sorted. This member's own
    `match` is what its disk holds, not what its memory holds (thesis 10.2.1).
    """

    def __init__(self, raft: Raft) -> None:
        self.raft = raft
        self.progress: dict[int, Progress] = {}
        self.has_peers = False
        self.follow_configuration()

    def follow_configuration(self) -> None:
        """Start to track new members, forget removed ones."""
        raft, config, old = self.raft, self.raft.config, self.progress
        self.progress = {}
        for node in raft.conf.members():
            progress = old.get(node)
            if progress is None:
                inflights = Inflights(config.max_inflight_messages, config.max_inflight_bytes)
                progress = Progress(raft.log.last_index + 1, inflights)
                # A member that joins during the term gets an election timeout to answer.
                progress.recent_active = bool(old)
                if node == raft.id:
                    progress.become_replicate()
            progress.is_learner = not raft.conf.is_voter(node)
            self.progress[node] = progress
        self.has_peers = any(node != raft.id for node in self.progress)
        self.count_own_log()

    def greet_new_members(self) -> None:
        """Begin to probe the members that a change of configuration has just added."""
        for peer, progress in self.progress.items():
            if progress.match == 0 and peer != self.raft.id:
                self.send_append(peer, even_if_empty=True)

    def count_own_log(self) -> bool:
        """Take note of what the own disk holds; False if that is nothing new."""
        own = self.progress.get(self.raft.id)
        return own is not None and own.maybe_update(self.raft.log.persisted)

    def match(self, node: int) -> int:
        """Up to where the log of `node` is known to equal ours, durably."""
        return self.progress[node].match

    # Appends

    def broadcast_append(self) -> None:
        """Send every peer the entries that it lacks, or at least the commit index."""
        for peer in self.progress:
            if peer != self.raft.id and self.send_append(peer, even_if_empty=True):
                self.send_all(peer)

    def broadcast_news(self) -> None:
        """Send every peer the entries that it lacks, or just the commit index."""
        for peer, progress in self.progress.items():
            if peer == self.raft.id:
                continue
            if progress.state is ProgressState.REPLICATE and (
                progress.next > self.raft.log.last_index
            ):
                self._send(peer, MessageKind.COMMIT, [])
            elif self.send_append(peer, even_if_empty=True):
                self.send_all(peer)

    def send_all(self, peer: int) -> None:
        """Send `peer` as many entries as the window allows."""
        while self.send_append(peer):
            pass

    def send_append(self, peer: int, *, even_if_empty: bool = False) -> bool:
        """Send one append, or a snapshot; False if there is nothing to send or no room."""
        progress, log = self.progress[peer], self.raft.log
        if progress.paused:
            return False
        if not even_if_empty and progress.next > log.last_index:
            return False
        if log.term(progress.next - 1) is None:
            return self._send_snapshot(peer)
        limit = self.raft.config.max_message_bytes
        self._append(peer, log.slice(progress.next, log.last_index + 1, limit))
        return True

    def _append(self, peer: int, entries: list[Entry]) -> None:
        progress = self.progress[peer]
        self._send(peer, MessageKind.APPEND, entries)
        progress.sent(progress.next - 1 + len(entries), sum(map(entry_size, entries)))

    def _send(self, peer: int, kind: MessageKind, entries: list[Entry]) -> None:
        raft = self.raft
        previous = self.progress[peer].next - 1
        raft.send(
            Message(
                kind,
                to=peer,
                sender=raft.id,
                term=raft.term,
                index=previous,
                log_term=raft.log.term(previous) or 0,
                commit=raft.log.commit,
                entries=entries,
            )
        )

    def _send_snapshot(self, peer: int) -> bool:
        progress, raft = self.progress[peer], self.raft
        if not progress.recent_active:
            raft.logger.debug("%x sends no snapshot to %x: it is not active", raft.id, peer)
            return False
        index = raft.log.applied
        term = raft.log.term(index)
        if term is None:
            raise InvariantError(f"no term for applied entry {index}")
        raft.logger.info("%x sends snapshot at %d to %x", raft.id, index, peer)
        progress.become_snapshot(index)
        raft.send(
            Message(
                MessageKind.SNAPSHOT,
                to=peer,
                sender=raft.id,
                term=raft.term,
                snapshot=Snapshot(index, term, raft.conf_at_applied),
            )
        )
        return True

    # Answers

    def handle_append_response(self, message: Message) -> bool:
        """Learn from an answer to an append; whether the sender's match advanced."""
        progress = self.progress.get(message.sender)
        if progress is None:
            return False
        progress.recent_active = True
        if message.reject:
            self._back_off(progress, message)
            return False
        was_paused = progress.paused
        advanced = self._advance(progress, message.index)
        # Whoever was not sent appends may have missed the commit index too.
        if not was_paused or self.send_append(message.sender, even_if_empty=True):
            self.send_all(message.sender)
        return advanced

    def _back_off(self, progress: Progress, message: Message) -> None:
        """Find where the logs part, a term at a time (5.3, last paragraphs)."""
        hint = message.hint
        if message.log_term:
            hint = self.raft.log.last_index_not_after(hint, message.log_term).index
        if not progress.maybe_decrement(message.index, hint):
            return
        if progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        self.send_append(message.sender, even_if_empty=True)

    def _advance(self, progress: Progress, index: int) -> bool:
        advanced = progress.maybe_update(index)
        if progress.state is ProgressState.PROBE:
            if index == progress.match:
                progress.become_replicate()
        elif progress.state is ProgressState.SNAPSHOT:
            # Any snapshot will do that our log goes on from; the driver may have sent a newer.
            if progress.match >= min(progress.pending_snapshot, self.raft.log.offset):
                progress.become_replicate()
        else:
            progress.inflights.free_to(index)
        return advanced

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
        if not ok:
            progress.pending_snapshot = 0
        progress.become_probe()
        progress.probe_sent = True

    # Heartbeats

    def broadcast_heartbeat(self, context: bytes) -> None:
        """Tell all that we lead; the answers confirm the round of reads `context`."""
        raft = self.raft
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

    def handle_heartbeat_response(self, peer: int) -> None:
        """`peer` is there: send what it lacks, or find out what was lost."""
        progress = self.progress.get(peer)
        if progress is None:
            return
        progress.recent_active = True
        progress.probe_sent = False
        if progress.match >= self.raft.log.last_index and (
            progress.state is not ProgressState.PROBE
        ):
            return
        if not self.send_append(peer, even_if_empty=True) and (
            progress.state is ProgressState.REPLICATE
        ):
            # The window is full. If all of it was lost, only the refusal of an append after it
            # will tell us.
            self._append(peer, [])

    def take_active(self) -> dict[int, bool]:
        """Who answered since the last call, this member included."""
        active = {
            node: progress.recent_active or node == self.raft.id
            for node, progress in self.progress.items()
        }
        for progress in self.progress.values():
            progress.recent_active = False
        return active
