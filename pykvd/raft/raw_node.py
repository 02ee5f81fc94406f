"""`RawNode`: one member of a Raft cluster as a pure state machine.

Ticks, messages and requests go in; `ready()` says what to write, send and apply. Nothing here
reads a clock, waits, or does input or output, and equal inputs (with an equal `rng`) give equal
outputs. Not thread-safe: one thread or task owns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft.core import Raft
from pykvd.raft.errors import InvariantError, ProposalDropped
from pykvd.raft.leader import Leader
from pykvd.raft.log import RaftLog
from pykvd.raft.ready import Ready, Status
from pykvd.raft.types import NONE, Entry, EntryId, EntryKind, HardState, Logger, SoftState

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from pykvd.raft.config import RaftConfig
    from pykvd.raft.membership import ConfChange, ConfState
    from pykvd.raft.message import Message
    from pykvd.raft.types import Role


class _NullLogger:
    """Discards everything."""

    def debug(self, msg: str, /, *args: object) -> None: ...
    def info(self, msg: str, /, *args: object) -> None: ...
    def warning(self, msg: str, /, *args: object) -> None: ...


class RawNode:
    """One member, restored from what its disk holds.

    `hard_state` and `entries` are as persisted; the log starts after `snapshot_id` (index, term),
    (0, 0) for a full log. `applied` is where the state machine stands, at or after `snapshot_id`,
    and `conf_state` the configuration there. Entries after it that are committed are handed out
    again.

    A cluster begins in one of two ways, the same on all first members: with `conf_state` as given
    after an agreed `snapshot_id` that is not (0, 0), so that later members are sent a snapshot; or
    with an empty `conf_state` and a first, committed CONF_CHANGE entry that adds them all.

    `rng` must not repeat itself when a member restarts. Raises `InvariantError` when the
    parts contradict each other, which means that the disk lost something.
    """

    def __init__(
        self,
        config: RaftConfig,
        *,
        hard_state: HardState,
        conf_state: ConfState,
        snapshot_id: tuple[int, int],
        entries: Iterable[Entry],
        applied: int,
        rng: random.Random,
        logger: Logger | None = None,
    ) -> None:
        log = RaftLog(EntryId(*snapshot_id), entries, commit=hard_state.commit, applied=applied)
        current = hard_state
        if hard_state.term < log.last_term:
            # A crash tore the hard state off the Ready that brought these entries. Nothing of
            # that Ready was promised to anybody, a vote in its term least of all.
            current = HardState(log.last_term, NONE, hard_state.commit)
        self._raft = Raft(config, current, conf_state, log, rng, logger or _NullLogger())
        self._number = 0
        self._soft_state = SoftState()
        self._term = hard_state.term
        self._vote = hard_state.vote
        self._commit = log.commit

    # Inputs

    def tick(self) -> None:
        """Let one tick pass: elections, heartbeats, retries."""
        self._raft.role.tick()

    def step(self, message: Message) -> None:
        """Take a message from another member; messages for somebody else are ignored."""
        if message.to == self._raft.id and message.sender != self._raft.id:
            self._raft.step(message)

    def campaign(self) -> None:
        """Try to become leader now; the only voter succeeds as soon as its vote is persisted."""
        self._raft.campaign()

    def propose(self, data: bytes) -> None:
        """Append `data` to the replicated log, through the leader.

        Raises `ProposalDropped` without a leader, while leadership is transferred, or with too
        much uncommitted. No error is no promise: only the committed entry is.
        """
        self._raft.role.propose(EntryKind.NORMAL, data)

    def propose_conf_change(self, change: ConfChange) -> None:
        """Append a membership change, through the leader.

        Raises `ProposalDropped` as `propose`, and while another change (or the first entry of a
        new leader's term) is not applied; `ConfChangeError` if the configuration forbids it.
        """
        self._raft.role.propose(EntryKind.CONF_CHANGE, change.encode())

    def read_index(self, context: bytes) -> None:
        """Ask up to where the log must be applied to serve a linearizable read.

        The answer is a `ReadState` with `context` in some later Ready. All reads between two
        Readys share one round. Raises `ProposalDropped` without a leader; after that the read
        outlives changes of leader, but not a restart.
        """
        if self._raft.leader == NONE:
            raise ProposalDropped("no leader")
        self._raft.reads.add(self._raft.id, context)

    def transfer_leader(self, target: int) -> None:
        """Ask that `target` be leader; watch the soft state for the result.

        Given up after an election timeout. Raises `ProposalDropped` without a leader, or on the
        leader if `target` is not a voter.
        """
        self._raft.role.transfer_leader(target)

    def report_unreachable(self, peer: int) -> None:
        """Messages to `peer` were probably lost."""
        role = self._raft.role
        if isinstance(role, Leader):
            role.peers.report_unreachable(peer)

    def report_snapshot(self, peer: int, ok: bool) -> None:
        """The snapshot of a SNAPSHOT message arrived at `peer`, or never will.

        Must be called for every SNAPSHOT message: nothing else is sent to `peer` until then.
        """
        role = self._raft.role
        if isinstance(role, Leader):
            role.peers.report_snapshot(peer, ok=ok)

    # Outputs

    def has_ready(self) -> bool:
        """Whether `ready()` would hand out anything."""
        raft = self._raft
        log = raft.log
        return bool(
            log.handed_out != log.last_index
            or raft.messages
            or raft.persisted_messages
            or log.commit != self._commit
            or (log.applying < log.commit and log.applying < log.persisted)
            or raft.read_states
            or raft.term != self._term
            or raft.vote != self._vote
            or log.unwritten_snapshot() is not None
            or self._soft_state_changed()
            or raft.role.has_work()
        )

    def _soft_state_changed(self) -> bool:
        raft, soft = self._raft, self._soft_state
        return raft.leader != soft.leader or raft.role.kind is not soft.role

    def ready(self) -> Ready:
        """Hand out everything new since the last call; see `Ready` for what to do with it."""
        raft, log = self._raft, self._raft.log
        raft.role.prepare_ready()
        self._number += 1
        soft_state = None
        if self._soft_state_changed():
            soft_state = self._soft_state = raft.soft_state()
        vote_changed = raft.term != self._term or raft.vote != self._vote
        hard_state = None
        if vote_changed or log.commit != self._commit:
            hard_state = raft.hard_state()
            self._term, self._vote, self._commit = raft.term, raft.vote, log.commit
        entries = log.unwritten()
        snapshot = log.unwritten_snapshot()
        must_sync = bool(entries) or vote_changed or snapshot is not None
        if must_sync:
            log.begin_write(self._number, raft.term, raft.vote)
        committed = log.unapplied(raft.config.max_committed_bytes)
        if committed:
            log.applying = committed[-1].index
        ready = Ready(
            self._number,
            soft_state,
            hard_state,
            entries,
            snapshot,
            raft.messages,
            raft.persisted_messages,
            committed,
            raft.read_states,
            must_sync,
        )
        raft.messages, raft.persisted_messages, raft.read_states = [], [], []
        return ready

    # Confirmations

    def persisted(self, ready_number: int) -> None:
        """Everything to write of Readys up to `ready_number` is durable.

        Only now does this member count its own entries and its own vote.
        """
        if ready_number > self._number:
            raise InvariantError(f"Ready {ready_number} was never handed out")
        self._raft.persisted(ready_number)

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """Switch to the configuration that a committed CONF_CHANGE entry leads to.

        To be called when the entry is applied, before `applied_to` of it. A driver that refuses
        the change applies an empty `ConfChange` in its place (which all members must then do).
        """
        self._raft.apply_conf_change(change)
        return self._raft.conf

    def applied_to(self, index: int) -> None:
        """The state machine has applied all entries up to `index`."""
        self._raft.applied_to(index)

    def compact(self, index: int) -> None:
        """Forget entries up to `index`, which must be applied (section 7).

        Followers that need them will be sent a snapshot. A driver that is sending one keeps the
        entries after it (`Status.progress`), or the follower will need another.
        """
        self._raft.log.compact(index)

    @property
    def leader(self) -> int:
        """The leader of the current term, or NONE if it is not known."""
        return self._raft.leader

    @property
    def role(self) -> Role:
        """What this member is at the moment."""
        return self._raft.role.kind

    @property
    def term(self) -> int:
        """The current term."""
        return self._raft.term

    def status(self) -> Status:
        """A copy of the interesting state."""
        raft, log, role = self._raft, self._raft.log, self._raft.role
        leader = role if isinstance(role, Leader) else None
        return Status(
            id=raft.id,
            term=raft.term,
            vote=raft.vote,
            leader=raft.leader,
            role=role.kind,
            commit=log.commit,
            applied=log.applied,
            persisted=log.persisted,
            first_index=log.offset + 1,
            last_index=log.last_index,
            conf_state=raft.conf,
            transferee=leader.transferee if leader else NONE,
            pending_reads=raft.reads.pending,
            progress={node: p.status() for node, p in leader.peers.progress.items()}
            if leader
            else {},
        )
