"""What `Raft` asks of the role that it plays (figure 4), and what a role does by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft.errors import ProposalDropped
from pykvd.raft.message import Message, MessageKind

if TYPE_CHECKING:
    from pykvd.raft.core import Raft
    from pykvd.raft.types import EntryKind, Role

FROM_LEADER = frozenset(
    {MessageKind.APPEND, MessageKind.COMMIT, MessageKind.HEARTBEAT, MessageKind.SNAPSHOT}
)
"""Messages that only the leader of their term sends."""


class RoleState:
    """A member in one role for one stay in it; made anew at each transition.

    The defaults are those of a member that neither leads nor knows a leader.
    """

    kind: Role

    def __init__(self, raft: Raft) -> None:
        self.raft = raft

    def tick(self) -> None:
        """One tick passed; by default a step towards an election (5.2)."""
        self.raft.tick_election()

    def step(self, message: Message) -> None:
        """Take a message of this term that is not a request for a vote."""
        raise NotImplementedError

    def persisted(self) -> None:
        """`raft.log.persisted` or `raft.persisted_vote` advanced."""

    def propose(self, _kind: EntryKind, _data: bytes, /) -> None:
        """Append an entry, or forward it to the leader, or raise `ProposalDropped`."""
        raise ProposalDropped("no leader")

    def transfer_leader(self, _target: int, /) -> None:
        """Work towards `target` as the leader, or raise `ProposalDropped`."""
        raise ProposalDropped("no leader")

    def has_work(self) -> bool:
        """Whether `prepare_ready` would queue messages or answer reads."""
        return False

    def prepare_ready(self) -> None:
        """Do what is done once for all that came since the last Ready."""

    def conf_applied(self) -> None:
        """The configuration changed."""

    def applied(self) -> None:
        """The state machine advanced."""
