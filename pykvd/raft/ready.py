"""What a member must do next (`Ready`), and what it can tell about itself (`Status`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pykvd.raft.membership import ConfState
    from pykvd.raft.message import Message
    from pykvd.raft.progress import ProgressStatus
    from pykvd.raft.types import Entry, HardState, ReadState, Role, Snapshot, SoftState


class Ready(NamedTuple):
    """Everything new since the last Ready. Readys are handled in the order of `number`.

    The driver of a member does the following; steps of different Readys may overlap as long as
    each kind of step keeps the order of the numbers (asynchronous storage, thesis 10.2.1):

    1. Send `messages`, at once. A leader's appends leave before its own disk has the entries.
    2. Write `snapshot`, then `entries`, then `hard_state`; sync if `must_sync`. An entry whose
       index was written before replaces that one and all after it.
    3. When that and the same of all earlier Readys is durable, call `persisted(number)`, then send
       `persisted_messages`. A Ready with nothing to write is durable when those before it are;
       one without `must_sync` as soon as it is written. (Losing a commit index is harmless.)
    4. Apply `committed_entries`, calling `apply_conf_change` for each CONF_CHANGE entry, then
       `applied_to`. This does not wait for steps 2 and 3 of this Ready, because the entries were
       persisted by earlier ones: committed entries are handed out only once this member's own
       disk has them, so that a state machine is never ahead of the log that must rebuild it.
       (A quorum alone would make it safe to *answer*; the member's own disk makes it safe to
       *restart*.)
    5. Serve each of `read_states` when its index is applied.
    """

    number: int
    """Counts from 1."""
    soft_state: SoftState | None
    """Role and leader, when they changed."""
    hard_state: HardState | None
    """Term, vote and commit index, when one changed."""
    entries: Sequence[Entry]
    """To append to the log on disk."""
    snapshot: Snapshot | None
    """To install before `entries`; it replaces log and state machine."""
    messages: Sequence[Message]
    """To send at once."""
    persisted_messages: Sequence[Message]
    """Promises (votes, acknowledged appends): to send after `persisted(number)`."""
    committed_entries: Sequence[Entry]
    """To apply, in order; each entry is handed out exactly once."""
    read_states: Sequence[ReadState]
    """Reads that may be served."""
    must_sync: bool
    """Whether there are entries, a snapshot, or a new term or vote, to make durable."""


class Status(NamedTuple):
    """A member at one moment, for reports and decisions of the driver."""

    id: int
    term: int
    vote: int
    leader: int
    role: Role
    commit: int
    applied: int
    persisted: int
    first_index: int
    """The oldest entry that is not compacted; `last_index + 1` if there is none."""
    last_index: int
    conf_state: ConfState
    transferee: int
    """Whom the leader is handing over to, or NONE."""
    pending_reads: int
    progress: Mapping[int, ProgressStatus]
    """By member, on the leader only."""
