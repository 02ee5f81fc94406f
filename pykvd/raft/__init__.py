"""Raft consensus as a pure state machine: no clock, no input or output, no hidden randomness.

Start reading at `raw_node` (what a member is), `ready` (what its driver must do, in which order)
and `types`. The protocol itself is in `core` (terms, votes, roles), `follower`, `candidate` and
`leader`; `log`, `progress`, `inflights`, `quorum`, `confchange` and `read_only` each hold one idea
of the paper and know no member. `codec` turns messages into bytes and back.
"""

from pykvd.raft.codec import decode_message, encode_message
from pykvd.raft.config import RaftConfig
from pykvd.raft.errors import (
    ConfChangeError,
    ConfigError,
    InvariantError,
    MessageDecodeError,
    ProposalDropped,
    RaftError,
)
from pykvd.raft.membership import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfState,
)
from pykvd.raft.message import Message, MessageKind
from pykvd.raft.progress import ProgressState, ProgressStatus
from pykvd.raft.raw_node import RawNode
from pykvd.raft.ready import Ready, Status
from pykvd.raft.types import (
    NONE,
    Entry,
    EntryKind,
    HardState,
    Logger,
    ReadState,
    Role,
    Snapshot,
    SoftState,
)

__all__ = [
    "NONE",
    "ConfChange",
    "ConfChangeError",
    "ConfChangeKind",
    "ConfChangeSingle",
    "ConfChangeTransition",
    "ConfState",
    "ConfigError",
    "Entry",
    "EntryKind",
    "HardState",
    "InvariantError",
    "Logger",
    "Message",
    "MessageDecodeError",
    "MessageKind",
    "ProgressState",
    "ProgressStatus",
    "ProposalDropped",
    "RaftConfig",
    "RaftError",
    "RawNode",
    "ReadState",
    "Ready",
    "Role",
    "Snapshot",
    "SoftState",
    "Status",
    "decode_message",
    "encode_message",
]
