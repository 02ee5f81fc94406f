"""What a node needs of the other members' side: a place to send messages, files and questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pykvd.raft import Message


class Network(Protocol):
    """The links to the other members (`pykvd.peer.PeerNetwork`)."""

    removed: set[int]

    def set_peer(self, member_id: int, urls: Sequence[str]) -> None:
        """Reach a member at these URLs from now on."""

    def remove_peer(self, member_id: int) -> None:
        """Stop talking to a member."""

    def send(self, messages: Sequence[Message], *, at_once: bool = False) -> None:
        """Send without waiting; what cannot be delivered is lost, as Raft allows.

        At the end of the turn, unless `at_once`; a COMMIT may be held back for a moment.
        """

    def hurry(self, peer_id: int) -> None:
        """The member waits for what was sent to it: hold nothing back."""

    async def send_snapshot(self, message: Message, path: Path) -> None:
        """Send a SNAPSHOT message and its file."""

    async def call(self, peer_id: int, kind: str, payload: bytes, timeout: float) -> bytes:  # noqa: ASYNC109
        """Ask one member something; raises RpcError."""

    def connected_since(self, peer_id: int) -> float | None:
        """Since when, on the loop's clock, the member has been reachable; None if it is not."""
