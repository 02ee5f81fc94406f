"""Calls for operators: members, maintenance, users and roles.

`endpoint` names the member that is asked; without one it is any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pykvd.client import calls, requests
from pykvd.client.snapshots import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykvd.client.arguments import Data
    from pykvd.client.calls import AlarmKind, PermissionKind
    from pykvd.client.engine import Engine
    from pykvd.client.sync.runner import Runner
    from pykvd.client.values import (
        Alarm,
        AuthStatus,
        HashResult,
        Member,
        Permission,
        Status,
    )


class Cluster:
    """The members of the cluster; `Client.cluster`."""

    def __init__(self, runner: Runner, engine: Engine) -> None:
        self._runner = runner
        self._engine = engine

    def members(self, *, linearizable: bool = True, timeout: float | None = None) -> list[Member]:
        """All members; `linearizable=False` asks one for what it knows, also without a leader."""
        return self._runner.run(calls.members(self._engine, timeout, linearizable=linearizable))

    def add(
        self, peer_urls: Iterable[str], *, learner: bool = False, timeout: float | None = None
    ) -> Member:
        """Let a member join; start it afterwards."""
        return self._runner.run(calls.add_member(self._engine, peer_urls, timeout, learner=learner))

    def remove(self, member_id: int, *, timeout: float | None = None) -> list[Member]:
        """Remove a member; those that are left."""
        return self._runner.run(calls.remove_member(self._engine, member_id, timeout))

    def update(
        self, member_id: int, peer_urls: Iterable[str], *, timeout: float | None = None
    ) -> list[Member]:
        """Change the peer URLs of a member."""
        return self._runner.run(calls.update_member(self._engine, member_id, peer_urls, timeout))

    def promote(self, member_id: int, *, timeout: float | None = None) -> list[Member]:
        """Make a learner a voter."""
        return self._runner.run(calls.promote_member(self._engine, member_id, timeout))


class Maintenance:
    """What keeps members healthy; `Client.maintenance`."""

    def __init__(self, runner: Runner, engine: Engine) -> None:
        self._runner = runner
        self._engine = engine

    def status(self, endpoint: str | None = None, *, timeout: float | None = None) -> Status:
        """What a member says about itself."""
        return self._runner.run(calls.status(self._engine, endpoint, timeout))

    def defragment(self, endpoint: str | None = None, *, timeout: float | None = None) -> None:
        """Let a member give disk space back."""
        self._runner.run(calls.defragment(self._engine, endpoint, timeout))

    def hash_kv(
        self, revision: int = 0, endpoint: str | None = None, *, timeout: float | None = None
    ) -> HashResult:
        """The hash of a member's history up to a revision (0: the present one)."""
        return self._runner.run(calls.hash_kv(self._engine, revision, endpoint, timeout))

    def hash(self, endpoint: str | None = None, *, timeout: float | None = None) -> int:
        """The hash of a member's whole store."""
        return self._runner.run(calls.hash_(self._engine, endpoint, timeout))

    def move_leader(
        self, target: int, endpoint: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Hand the leadership to a member; `endpoint` has to be the leader's."""
        self._runner.run(calls.move_leader(self._engine, target, endpoint, timeout))

    def alarms(self, *, timeout: float | None = None) -> list[Alarm]:
        """The active alarms."""
        return self._runner.run(calls.alarms(self._engine, timeout))

    def arm(
        self, member_id: int, kind: AlarmKind = "NOSPACE", *, timeout: float | None = None
    ) -> list[Alarm]:
        """Raise an alarm."""
        return self._runner.run(calls.arm(self._engine, member_id, kind, timeout))

    def disarm(
        self, member_id: int, kind: AlarmKind = "NOSPACE", *, timeout: float | None = None
    ) -> list[Alarm]:
        """Take an alarm back; the ones that were."""
        return self._runner.run(calls.disarm(self._engine, member_id, kind, timeout))

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

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        piece = self._runner.run(self._snapshot.next())
        if piece is None:
            raise StopIteration
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Auth:
    """Users, roles and what they may do; `Client.auth`."""

    def __init__(self, runner: Runner, engine: Engine) -> None:
        self._runner = runner
        self._engine = engine

    def status(self, *, timeout: float | None = None) -> AuthStatus:
        """Whether logins are asked for."""
        return self._runner.run(calls.auth_status(self._engine, timeout))

    def enable(self, *, timeout: float | None = None) -> None:
        """Ask for logins from now on; needs a user `root` with the role `root`."""
        self._runner.run(calls.enable_auth(self._engine, timeout))

    def disable(self, *, timeout: float | None = None) -> None:
        """Ask for logins no longer."""
        self._runner.run(calls.disable_auth(self._engine, timeout))

    def add_user(
        self, name: str, password: str | None = None, *, timeout: float | None = None
    ) -> None:
        """A user; without a password only TLS certificates with its name log in."""
        self._runner.run(calls.add_user(self._engine, name, password, timeout))

    def delete_user(self, name: str, *, timeout: float | None = None) -> None:
        """Delete a user."""
        self._runner.run(calls.delete_user(self._engine, name, timeout))

    def users(self, *, timeout: float | None = None) -> list[str]:
        """The names of all users."""
        return self._runner.run(calls.users(self._engine, timeout))

    def user_roles(self, name: str, *, timeout: float | None = None) -> list[str]:
        """The roles of a user."""
        return self._runner.run(calls.user_roles(self._engine, name, timeout))

    def change_password(self, name: str, password: str, *, timeout: float | None = None) -> None:
        """Give a user another password."""
        self._runner.run(calls.change_password(self._engine, name, password, timeout))

    def grant_role(self, name: str, role: str, *, timeout: float | None = None) -> None:
        """Give a user a role."""
        self._runner.run(calls.grant_role(self._engine, name, role, timeout))

    def revoke_role(self, name: str, role: str, *, timeout: float | None = None) -> None:
        """Take a role from a user."""
        self._runner.run(calls.revoke_role(self._engine, name, role, timeout))

    def add_role(self, role: str, *, timeout: float | None = None) -> None:
        """A role that allows nothing yet."""
        self._runner.run(calls.add_role(self._engine, role, timeout))

    def delete_role(self, role: str, *, timeout: float | None = None) -> None:
        """Delete a role."""
        self._runner.run(calls.delete_role(self._engine, role, timeout))

    def roles(self, *, timeout: float | None = None) -> list[str]:
        """The names of all roles."""
        return self._runner.run(calls.roles(self._engine, timeout))

    def permissions(self, role: str, *, timeout: float | None = None) -> list[Permission]:
        """What a role allows."""
        return self._runner.run(calls.permissions(self._engine, role, timeout))

    def grant_permission(
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
        self._runner.run(calls.grant_permission(self._engine, role, kind, span, timeout))

    def revoke_permission(
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
        self._runner.run(calls.revoke_permission(self._engine, role, span, timeout))
