"""The values of the Raft core: what a member persists, what it reports, what it hands out.

Section numbers (5.3) are those of "In Search of an Understandable Consensus Algorithm (Extended
Version)" by Ongaro and Ousterhout; "thesis" is Ongaro's "Consensus: Bridging Theory and Practice".
Terms, indexes and node ids are unsigned 64-bit integers; 0 means "none" for each of them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from pykvd.raft.membership import ConfState

NONE: Final = 0
"""The node id, term or index that stands for "nobody", "never" and "before the first entry"."""


class EntryKind(IntEnum):
    """What the data of a log entry is."""

    NORMAL = 0
    """Opaque to Raft. A new leader's first entry is NORMAL with empty data (section 8)."""
    CONF_CHANGE = 1
    """The encoding of a `ConfChange` (section 6)."""


class Entry(NamedTuple):
    """One slot of the replicated log.

    Invariant (log matching, 5.3): two logs that hold an entry with the same index and term hold
    the same entries up to that index.
    """

    term: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    kind: EntryKind
    data: bytes


class EntryId(NamedTuple):
    """The position of an entry, or of the point that a log starts after."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int


class Role(IntEnum):
    """What a member is at the moment (figure 4, and thesis 9.6 for PRE_CANDIDATE)."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class HardState(NamedTuple):
    """The persistent state of figure 2, and the commit index.

    `term` and `vote` must be durable before any message of `Ready.persisted_messages` leaves.
    `commit` may be lost in a crash: it is learned again from the leader.
    """

    term: int = 0
    vote: int = NONE
    commit: int = 0


class SoftState(NamedTuple):
    """What a member believes at the moment; useful to report, never persisted."""

    leader: int = NONE
    role: Role = Role.FOLLOWER


class Snapshot(NamedTuple):
    """A state that replaces the log up to `index` (section 7).

    `data` is opaque to Raft and may be empty when the driver ships the state by other means.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int
    conf_state: ConfState
    data: bytes = b""


class ReadState(NamedTuple):
    """The answer to a `read_index(context)` (thesis 6.4).

    Once the state machine has applied `index`, a read of it is linearizable.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index
    context: bytes


class Logger(Protocol):
    """The part of `logging.Logger` that the core writes to."""

    def debug(self, msg: str, /, *args: object) -> None:
        """Steps of the protocol that are normal and frequent."""

    def info(self, msg: str, /, *args: object) -> None:
        """Changes of role, term, leader or membership."""

    def warning(self, msg: str, /, *args: object) -> None:
        """Requests that were refused and peers that seem lost."""
