"""What the peer service needs from the member behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pykvd.raft import Message


class PeerHandler(Protocol):
    """The member, as its peers reach it.

    Everything is called on the loop, and nothing from within a method of `PeerNetwork`.
    """

    def receive(self, messages: Sequence[Message]) -> None:
        """A batch of raft messages, all from one member and in the order of sending."""

    def unreachable(self, peer_id: int) -> None:
        """Messages to this member were probably lost."""

    def removed_from_cluster(self) -> None:
        """A member refused us because we were removed. Called once."""

    def snapshot_sent(self, peer_id: int, ok: bool) -> None:
        """A snapshot was installed by this member, or never will be."""

    async def snapshot_received(self, message: Message, path: Path) -> None:
        """Install a snapshot: the SNAPSHOT message and its complete, synced and verified file.

        The file may be moved away; otherwise it is deleted afterwards. Returning tells the sender
        that all went well; may raise RpcError. Never cancelled by the loss of a connection.
        """

    async def forwarded(self, kind: str, payload: bytes) -> bytes:
        """Serve a call from another member. May raise RpcError; cancelled if the caller leaves."""
        ...

    def members(self) -> Sequence[bytes]:
        """The members, each as `Member.encode()` has it, for one that wants to join."""
        ...
