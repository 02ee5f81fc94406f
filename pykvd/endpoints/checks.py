"""What the health endpoints look at: alarms, the leader, and reads of this member."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pykvd.errors import RpcError
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from pykvd.node.node import Node

_ONE_KEY: Final = rpc.RangeRequest(key=b"\x00", limit=1, keys_only=True)
_NAMES: Final = {number: name for name, number in rpc.AlarmType.items()}

#: What to do about an alarm, for whoever sees it first.
ADVICE: Final = {
    "NOSPACE": (
        "The database of member {member:x} has reached its quota, and writes are refused. Compact "
        "old revisions, defragment each member, then disarm: pykvctl compact REVISION; pykvctl "
        "defrag --cluster; pykvctl alarm disarm. Or raise --quota-backend-bytes."
    ),
    "CORRUPT": (
        "The data of member {member:x} differs from that of the others, and writes are refused. "
        "Find the odd one with pykvctl endpoint hashkv --cluster, remove it, add it again with an "
        "empty data directory, then disarm: pykvctl alarm disarm."
    ),
}


class CheckError(Exception):
    """A check has failed; the text says why."""


class HealthChecks:
    """The checks of one member. A check returns, or raises CheckError."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.live: dict[str, Callable[[], Awaitable[None]]] = {
            "serializable_read": self.read_locally
        }
        self.ready: dict[str, Callable[[], Awaitable[None]]] = {
            "serializable_read": self.read_locally,
            "linearizable_read": self.read_through_the_leader,
            "non_learner": self.votes,
            "data_corruption": self.is_not_corrupt,
        }

    def alarms(self, exclude: Collection[str] = ()) -> list[tuple[int, str]]:
        """Member and name of each alarm that is up, without those of the names in `exclude`."""
        found = [
            (member, _NAMES.get(kind, "UNKNOWN"))
            for member, kind in sorted(self._node.applier.alarms)
        ]
        return [(member, name) for member, name in found if name not in exclude]

    @property
    def has_leader(self) -> bool:
        """Whether this member knows a leader."""
        return bool(self._node.leader)

    async def read_locally(self) -> None:
        """Read at most one key of this member's own state."""
        try:
            self._node.store.range(_ONE_KEY)
        except Exception as error:  # noqa: BLE001 - whatever keeps us from reading
            raise CheckError(str(error) or type(error).__name__) from None

    async def read_through_the_leader(self) -> None:
        """Read at most one key as it is now in the cluster."""
        try:
            await self._node.read_barrier()
        except RpcError as error:
            raise CheckError(error.message) from None
        await self.read_locally()

    async def votes(self) -> None:
        """A learner is not ready for clients."""
        if self._node.is_learner:
            raise CheckError("not supported for learner")

    async def is_not_corrupt(self) -> None:
        """No member differs from the others."""
        if any(name == "CORRUPT" for _, name in self.alarms()):
            raise CheckError("alarm activated: CORRUPT")


async def run_checks(
    checks: dict[str, Callable[[], Awaitable[None]]],
) -> dict[str, str]:
    """Run checks side by side; why each failed, by name, or the empty text."""

    async def outcome(check: Callable[[], Awaitable[None]]) -> str:
        try:
            await check()
        except CheckError as error:
            return str(error)
        return ""

    outcomes = await asyncio.gather(*(outcome(check) for check in checks.values()))
    return dict(zip(checks, outcomes, strict=True))
