"""The settings of one member's Raft core."""

from __future__ import annotations

from dataclasses import dataclass

from pykvd.raft.errors import ConfigError
from pykvd.raft.types import NONE


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Settings that stay the same while the member runs.

    Times are in ticks, whose length the driver chooses. Raises `ConfigError` on values that cannot
    work; members of one cluster should agree on all but `id`.
    """

    id: int
    """This node; not 0."""
    election_ticks: int = 10
    """A follower that has not heard of a leader for so long campaigns, after a random delay of up
    to as much again (5.2). A leader without a majority for so long steps down (`check_quorum`)."""
    heartbeat_ticks: int = 1
    """How often a leader sends heartbeats; well below `election_ticks`."""
    pre_vote: bool = True
    """Ask whether an election could be won before disturbing the cluster with it (thesis 9.6)."""
    check_quorum: bool = True
    """A leader cut off from a majority steps down, and members that hear from a leader ignore
    requests for votes (thesis 4.2.3 and 6.2)."""
    max_inflight_messages: int = 256
    """Appends with entries that may be on their way to one follower (thesis 10.2.1)."""
    max_inflight_bytes: int = 64 << 20
    """The same limit in bytes of entry data; one message may exceed it."""
    max_message_bytes: int = 1 << 20
    """Entry data in one append; a single larger entry still travels, alone."""
    max_committed_bytes: int = 256 << 10
    """Entry data handed out to be applied in one Ready; a single larger entry is, alone."""
    max_uncommitted_bytes: int = 256 << 20
    """Data of proposals that a leader holds uncommitted; more are dropped."""

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        if self.id == NONE:
            raise ConfigError("id must not be 0")
        if self.heartbeat_ticks < 1:
            raise ConfigError("heartbeat_ticks must be at least 1")
        if self.election_ticks <= self.heartbeat_ticks:
            raise ConfigError("election_ticks must be greater than heartbeat_ticks")
        for name in (
            "max_inflight_messages",
            "max_inflight_bytes",
            "max_message_bytes",
            "max_committed_bytes",
            "max_uncommitted_bytes",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1")
