"""Messages between members, with what each field means for each kind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from pykvd.raft.types import NONE, Entry, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence


class MessageKind(IntEnum):
    """What a message asks or answers, and the `Message` fields that it uses.

    Every message carries `to`, `sender` and the sender's `term`, but for PROPOSE and READ_INDEX,
    which a follower forwards for its client and whose term is 0. Fields not named are at their
    defaults.
    """

    PROPOSE = 0
    """Client data on its way to the leader: `entries` with term and index 0."""
    APPEND = 1
    """AppendEntries (figure 2): `entries` follow the entry (`index`, `log_term`); `commit`."""
    APPEND_RESPONSE = 2
    """Accepted: the log matches the leader's and is durable up to `index`.
    Rejected (`reject`): no entry matches (`index`, `log_term` of the request). The leader's log
    can match only at or below `hint`, whose term here is `log_term` (5.3, last paragraphs)."""
    VOTE = 3
    """RequestVote (figure 2): the candidate's last entry is (`index`, `log_term`). `context` is
    `CAMPAIGN_TRANSFER` if the leader asked for this election (thesis 4.2.3)."""
    VOTE_RESPONSE = 4
    """The vote is given unless `reject`. Whoever refuses tells what it knows to be committed: the
    entry (`commit`, `log_term`). A candidate that has that entry may need to know (thesis 4.2.2:
    the change that removed the last leader may be committed, and only that leader knows)."""
    PRE_VOTE = 5
    """Would you vote for me? As VOTE; `term` is the one that the sender would campaign in
    (thesis 9.6)."""
    PRE_VOTE_RESPONSE = 6
    """Yes, with the term that was asked for; or `reject` with the responder's own,
    and `commit` and `log_term` as in VOTE_RESPONSE."""
    HEARTBEAT = 7
    """I am still leader. The receiver's log is known to match up to `commit`, which is committed.
    `context` names the round of reads that the response confirms (thesis 6.4)."""
    HEARTBEAT_RESPONSE = 8
    """You are; `context` as received."""
    SNAPSHOT = 9
    """InstallSnapshot (section 7): `snapshot`. Its data may travel apart from the message, which
    must then reach `step` after the data has arrived. The sending driver may put a later state of
    its own in place (index, term and configuration as of that state), if its log still has all
    entries after it."""
    READ_INDEX = 10
    """A follower asks for a read index; `context` names its round of reads."""
    READ_INDEX_RESPONSE = 11
    """Reads of the round `context` may be served when `index` is applied."""
    TRANSFER_LEADER = 12
    """A follower forwards the wish that the node in `index` be leader."""
    TIMEOUT_NOW = 13
    """Campaign at once, without a pre-vote (thesis 3.10)."""
    COMMIT = 14
    """An APPEND without entries to a follower that was sent them all: only `commit` is news, so it
    is not answered, unless it is refused (`APPEND_RESPONSE` with `reject`)."""


CAMPAIGN_TRANSFER = b"transfer"
"""The `context` of a VOTE that must not be ignored in favour of the leader that asked for it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; see `MessageKind` for the fields that each kind uses."""

    kind: MessageKind
    to: int
    sender: int
    term: int = 0
    index: int = 0
    log_term: int = 0
    commit: int = 0
    entries: Sequence[Entry] = ()
    snapshot: Snapshot | None = None
    reject: bool = False
    hint: int = NONE
    context: bytes = b""
