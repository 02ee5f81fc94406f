"""Links between members that can be cut, for clusters that are tested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykvd.errors import Code, RpcError
from pykvd.peer import PeerNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from pykvd.raft import Message


class CuttableNetwork(PeerNetwork):
    """Drops what goes to the members in `cut`; a cut between two members is made on both sides.

    Connections stay open, as in a network that loses packets, so a healed link works at once.
    """

    def __init__(self, cut: AbstractSet[int], **rest: Any) -> None:
        super().__init__(**rest)
        self._cut = cut

    def send(self, messages: Sequence[Message], *, at_once: bool = False) -> None:
        """As `PeerNetwork.send`."""
        kept = [message for message in messages if message.to not in self._cut]
        super().send(kept, at_once=at_once)

    async def send_snapshot(self, message: Message, path: Path) -> None:
        """As `PeerNetwork.send_snapshot`; one that is under way is not cut."""
        if message.to in self._cut:
            self._handler.snapshot_sent(message.to, False)
        else:
            await super().send_snapshot(message, path)

    async def call(self, peer_id: int, kind: str, payload: bytes, timeout: float) -> bytes:  # noqa: ASYNC109 - the contract's name
        """As `PeerNetwork.call`."""
        if peer_id in self._cut:
            raise RpcError(Code.UNAVAILABLE, f"peer {peer_id:x} is cut off")
        return await super().call(peer_id, kind, payload, timeout)

    def connected_since(self, peer_id: int) -> float | None:
        """As `PeerNetwork.connected_since`."""
        return None if peer_id in self._cut else super().connected_since(peer_id)
