"""What can go wrong in the Raft core, by whose fault it is.

`ProposalDropped` and `ConfChangeError` are ordinary refusals: the node is unchanged and the caller
may try again. `MessageDecodeError` blames a peer. `InvariantError` means that this member's state
contradicts the protocol (lost disk contents, a bug): nobody may catch it and go on.
"""

from __future__ import annotations


class RaftError(Exception):
    """Base of every error that the Raft core raises on purpose."""


class ConfigError(RaftError, ValueError):
    """A `RaftConfig` whose fields contradict each other or are out of range."""


class ProposalDropped(RaftError):  # noqa: N818 - the name that Raft implementations use
    """The proposal, read or transfer was not taken and leaves no trace; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"proposal dropped: {reason}")
        self.reason = reason


class ConfChangeError(RaftError, ValueError):
    """A membership change that the current configuration does not allow."""


class MessageDecodeError(RaftError, ValueError):
    """Bytes that are not the encoding of a message, a configuration or a change."""


class InvariantError(RaftError):
    """The state of this member breaks a rule of the protocol; stop the member, do not guess."""
