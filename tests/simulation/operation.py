"""What a client asked, when, and what it was told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message


class Method(Enum):
    """A method of the API."""

    RANGE = "range"
    PUT = "put"
    DELETE_RANGE = "delete"
    TXN = "txn"
    COMPACT = "compact"
    GRANT = "grant"
    REVOKE = "revoke"
    KEEP_ALIVE = "keepalive"


class Outcome(Enum):
    """What the client knows in the end."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """It certainly had no effect."""
    UNKNOWN = "unknown"
    """It timed out or failed on the way: it may have, or may yet have, an effect."""


@dataclass(slots=True)
class Operation:
    """One request; values that it puts begin with its number, so that they are unique."""

    number: int
    client: int
    member: int
    method: Method
    request: Any
    invoked: float
    returned: float = float("inf")
    outcome: Outcome = Outcome.UNKNOWN
    response: Any = None
    error: str = ""
    revision: int = 0
    """Where the check of the history found its effect."""

    @property
    def header_revision(self) -> int:
        """The revision that the answer speaks of."""
        revision: int = self.response.header.revision
        return revision

    def __str__(self) -> str:
        text = _words(self.request)
        return f"c{self.client} #{self.number} {self.method.value} {text}"


def _words(message: Message) -> str:
    return " ".join(str(message).split())[:120]
