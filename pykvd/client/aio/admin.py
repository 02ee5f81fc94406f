"""Calls for operators: members, maintenance, users and roles.

`endpoint` names the member that is asked; without one it is any.
"""

# A timeout here bounds the call itself, also at the server.
# ruff: noqa: ASYNC109

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pykvd.client import calls, requests
from pykvd.client.snapshots import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykvd.client.aio.runner import Runner
    from pykvd.client.arguments import Data
    from pykvd.client.calls import AlarmKind, PermissionKind
    from pykvd.client.engine import Engine
    from pykvd.client.values import (
        Alarm,
        AuthStatus,
        HashResult,
        Member,
        Permission,
        Status,
    )


class Cluster:
    """The members of the cluster; `AsyncClient.cluster`."""

    def __init__(self, runner: Runner, engine: Engine) -> None:
        self._runner = runner
        self._engine = engine

    async def members(
        self, *, linearizable: bool = True, timeout: float | None = None
    ) -> list[Member]:
        """All members; `linearizable=False` asks one for what it knows, also without a leader."""
        return await self._runner.run(
            calls.members(self._engine, timeout, linearizable=linearizable)
        )

    async def add(
        self, peer_urls: Iterable[str], *, learner: bool = False, timeout: float | None = None
    ) -> Member:
        """Let a member join; start it afterwards."""
        return await self._runner.run(
            calls.add_member(self._engine, peer_urls, timeout, learner=learner)
        )

    async def remove(self, member_id: int, *, timeout: float | None = None) -> list[Member]:
        """Remove a member; those that are left."""
        return await self._runner.run(calls.remove_member(self._engine, member_id, timeout))

    async def update(
        self, member_id: int, peer_urls: Iterable[str], *, timeout: float | None = None
    ) -> list[Member]:
        """Change the peer URLs of a member."""
        return await self._runner.run(
            calls.update_member(self._engine, member_id, peer_urls, timeout)
        )

    async def promote(self, member_id: int, *, timeout: float | None = None) -> list[Member]:
        """Make a learner a voter."""
        return await self._runner.run(calls.promote_member(self._engine, member_id, timeout))


class Maintenance:
    """What keeps members healthy; `AsyncClient.maintenance`."""

    def __init__(self, runner: Runner, engine: Engine) -> None:
        self._runner = runner
        self._engine = engine

    async def status(self, endpoint: str | None = None, *, timeout: float | None = None) -> Status:
        """What a member says about itself."""
        return await self._runner.run(calls.status(self._engine, endpoint, timeout))

    async def defragment(
        self, endpoint: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Let a member give disk space back."""
        await self._runner.run(calls.defragment(self._engine, endpoint, timeout))

    async def hash_kv(
        self, revision: int = 0, endpoint: str | None = None, *, timeout: float | None = None
    ) -> HashResult:
        """The hash of a member's history up to a revision (0: the present one)."""
        return await self._runner.run(calls.hash_kv(self._engine, revision, endpoint, timeout))

    async def hash(self, endpoint: str | None = None, *, timeout: float | None = None) -> int:
        """The hash of a member's whole store."""
        return await self._runner.run(calls.hash_(self._engine, endpoint, timeout))

    async def move_leader(
        self, target: int, endpoint: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Hand the leadership to a member; `endpoint` has to be the leader's."""
        await self._runner.run(calls.move_leader(self._engine, target, endpoint, timeout))

    async def alarms(self, *, timeout: float | None = None) -> list[Alarm]:
        """The active alarms."""
        return await self._runner.run(calls.alarms(self._engine, timeout))

    async def arm(
        self, member_id: int, kind: AlarmKind = "NOSPACE", *, timeout: float | None = None
    ) -> list[Alarm]:
        """Raise an alarm."""
        return await self._runner.run(calls.arm(self._engine, member_id, kind, timeout))

    async def disarm(
        self, member_id: int, kind: AlarmKind = "NOSPACE", *, timeout: float | None = None
    ) -> list[Alarm]:
        """Take an alarm back; the ones that were."""
        return await self._runner.run(calls.disarm(self._engine, member_id, kind, timeout))

    def snapshot(
        self, endpoint: str | None = None, *, timeout: float | None = None
    ) -> SnapshotReader:
        """A snapshot of a member's store, in pieces; `timeout` is for each of them."""
        return SnapshotReader(self._runner, Snapshot(self._engine, endpoint, timeout))


class SnapshotReader:
    """Iterates the pieces of a snapshot file; the end is reached only if its checksum is right."""

    def __init__(self, runner: Runner, snapshot: Snapshot) -> None:
        self._runner = runner
        self._snapshot = snapshot

    def close(self) -> None:
        """Give it up."""
        self._runner.end(self._snapshot.close)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._runner.run(self._snapshot.next())
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Auth:
    """Users, roles and what they may do; `AsyncClient.auth`."""

    def __init__(self, runner: Runner, engine: Engine) -> None:
        self._runner = runner
        self._engine = engine

    async def status(self, *, timeout: float | None = None) -> AuthStatus:
        """Whether logins are asked for."""
        return await self._runner.run(calls.auth_status(self._engine, timeout))

    async def enable(self, *, timeout: float | None = None) -> None:
        """Ask for logins from now on; needs a user `root` with the role `root`."""
        await self._runner.run(calls.enable_auth(self._engine, timeout))

    async def disable(self, *, timeout: float | None = None) -> None:
        """Ask for logins no longer."""
        await self._runner.run(calls.disable_auth(self._engine, timeout))

    async def add_user(
        self, name: str, password: str | None = None, *, timeout: float | None = None
    ) -> None:
        """A user; without a password only TLS certificates with its name log in."""
        await self._runner.run(calls.add_user(self._engine, name, password, timeout))

    async def delete_user(self, name: str, *, timeout: float | None = None) -> None:
        """Delete a user."""
        await self._runner.run(calls.delete_user(self._engine, name, timeout))

    async def users(self, *, timeout: float | None = None) -> list[str]:
        """The names of all users."""
        return await self._runner.run(calls.users(self._engine, timeout))

    async def user_roles(self, name: str, *, timeout: float | None = None) -> list[str]:
        """The roles of a user."""
        return await self._runner.run(calls.user_roles(self._engine, name, timeout))

    async def change_password(
        self, name: str, password: str, *, timeout: float | None = None
    ) -> None:
        """Give a user another password."""
        await self._runner.run(calls.change_password(self._engine, name, password, timeout))

    async def grant_role(self, name: str, role: str, *, timeout: float | None = None) -> None:
        """Give a user a role."""
        await self._runner.run(calls.grant_role(self._engine, name, role, timeout))

    async def revoke_role(self, name: str, role: str, *, timeout: float | None = None) -> None:
        """Take a role from a user."""
        await self._runner.run(calls.revoke_role(self._engine, name, role, timeout))

    async def add_role(self, role: str, *, timeout: float | None = None) -> None:
        """A role that allows nothing yet."""
        await self._runner.run(calls.add_role(self._engine, role, timeout))

    async def delete_role(self, role: str, *, timeout: float | None = None) -> None:
        """Delete a role."""
        await self._runner.run(calls.delete_role(self._engine, role, timeout))

    async def roles(self, *, timeout: float | None = None) -> list[str]:
        """The names of all roles."""
        return await self._runner.run(calls.roles(self._engine, timeout))

    async def permissions(self, role: str, *, timeout: float | None = None) -> list[Permission]:
        """What a role allows."""
        return await self._runner.run(calls.permissions(self._engine, role, timeout))

    async def grant_permission(
        self,
        role: str,
        kind: PermissionKind,
        key: Data,
        end: Data | None = None,
        *,
        prefix: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Let a role `read`, `write` or `readwrite` a key, a range or a prefix."""
        span = requests.span(key, end, prefix=prefix)
        await self._runner.run(calls.grant_permission(self._engine, role, kind, span, timeout))

    async def revoke_permission(
        self,
        role: str,
        key: Data,
        end: Data | None = None,
        *,
        prefix: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Take back what was granted for exactly this key, range or prefix."""
        span = requests.span(key, end, prefix=prefix)
        await self._runner.run(calls.revoke_permission(self._engine, role, span, timeout))
