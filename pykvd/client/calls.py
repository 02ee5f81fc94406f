"""The calls of the KV, Cluster, Maintenance and Auth services as plans.

One function a call, named as the clients' methods. Arguments are checked when the plan is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pykvd.client import arguments, methods
from pykvd.client.steps import mapped
from pykvd.client.values import (
    Alarm,
    AuthStatus,
    DeleteResult,
    HashResult,
    KeyValue,
    Member,
    Permission,
    PutResult,
    RangeResult,
    Status,
)
from pykvd.pb import auth_pb2
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan

AlarmKind = Literal["NOSPACE", "CORRUPT"]
PermissionKind = Literal["read", "write", "readwrite"]

_ALARMS: Final = {"NOSPACE": rpc.NOSPACE, "CORRUPT": rpc.CORRUPT}
_PERMISSIONS: Final = {
    "read": auth_pb2.Permission.READ,
    "write": auth_pb2.Permission.WRITE,
    "readwrite": auth_pb2.Permission.READWRITE,
}


def _nothing(_: object) -> None:
    """Of an answer that says nothing."""


# KV.


def get(engine: Engine, request: rpc.RangeRequest, timeout: float | None) -> Plan[KeyValue | None]:
    """The one key of a range."""
    return mapped(
        engine.call(methods.RANGE, request, timeout),
        lambda found: KeyValue.of(found.kvs[0]) if found.kvs else None,
    )


def range_(engine: Engine, request: rpc.RangeRequest, timeout: float | None) -> Plan[RangeResult]:
    """A range."""
    return mapped(engine.call(methods.RANGE, request, timeout), RangeResult.of)


def put(engine: Engine, request: rpc.PutRequest, timeout: float | None) -> Plan[PutResult]:
    """A put."""
    return mapped(engine.call(methods.PUT, request, timeout), PutResult.of)


def delete(
    engine: Engine, request: rpc.DeleteRangeRequest, timeout: float | None
) -> Plan[DeleteResult]:
    """A deletion."""
    return mapped(engine.call(methods.DELETE, request, timeout), DeleteResult.of)


def compact(engine: Engine, revision: int, timeout: float | None, *, physical: bool) -> Plan[None]:
    """Forget the history before a revision."""
    number = arguments.integer("revision", revision)
    request = rpc.CompactionRequest(revision=number, physical=arguments.flag("physical", physical))
    return mapped(engine.call(methods.COMPACT, request, timeout), _nothing)


class Scan:
    """A range in pages, all of the same revision."""

    def __init__(
        self, engine: Engine, request: rpc.RangeRequest, page_size: int, timeout: float | None
    ) -> None:
        self._engine = engine
        self._request = request
        self._request.limit = arguments.integer("page_size", page_size, 1)
        self._timeout = timeout
        self.done = False

    def page(self) -> Plan[list[KeyValue]]:
        """The next page; `done` after the last one."""
        request = self._request
        found = yield from range_(self._engine, request, self._timeout)
        if not request.revision:
            request.revision = found.revision
        self.done = not found.more
        if found.kvs:
            request.key = found.kvs[-1].key + b"\0"
        return found.kvs


# Cluster.


def members(engine: Engine, timeout: float | None, *, linearizable: bool) -> Plan[list[Member]]:
    """All members."""
    request = rpc.MemberListRequest(linearizable=arguments.flag("linearizable", linearizable))
    return mapped(engine.call(methods.MEMBER_LIST, request, timeout), _members)


def add_member(
    engine: Engine, peer_urls: Iterable[str], timeout: float | None, *, learner: bool
) -> Plan[Member]:
    """Let a member join; it is started afterwards."""
    request = rpc.MemberAddRequest(
        peerURLs=_urls(peer_urls), isLearner=arguments.flag("learner", learner)
    )
    return mapped(
        engine.call(methods.MEMBER_ADD, request, timeout), lambda done: Member.of(done.member)
    )


def remove_member(engine: Engine, member_id: int, timeout: float | None) -> Plan[list[Member]]:
    """Remove a member; those that are left."""
    request = rpc.MemberRemoveRequest(ID=_member_id(member_id))
    return mapped(engine.call(methods.MEMBER_REMOVE, request, timeout), _members)


def update_member(
    engine: Engine, member_id: int, peer_urls: Iterable[str], timeout: float | None
) -> Plan[list[Member]]:
    """Change a member's peer URLs; all members."""
    request = rpc.MemberUpdateRequest(ID=_member_id(member_id), peerURLs=_urls(peer_urls))
    return mapped(engine.call(methods.MEMBER_UPDATE, request, timeout), _members)


def promote_member(engine: Engine, member_id: int, timeout: float | None) -> Plan[list[Member]]:
    """Make a learner a voter; all members."""
    request = rpc.MemberPromoteRequest(ID=_member_id(member_id))
    return mapped(engine.call(methods.MEMBER_PROMOTE, request, timeout), _members)


def _members(
    found: rpc.MemberListResponse
    | rpc.MemberRemoveResponse
    | rpc.MemberUpdateResponse
    | rpc.MemberPromoteResponse,
) -> list[Member]:
    return [Member.of(member) for member in found.members]


def _urls(peer_urls: Iterable[str]) -> list[str]:
    return [arguments.text("peer_urls", url) for url in arguments.several("peer_urls", peer_urls)]


def _member_id(member_id: int) -> int:
    return arguments.integer("member_id", member_id, 0, arguments.UINT64_MAX)


# Maintenance.


def status(engine: Engine, endpoint: str | None, timeout: float | None) -> Plan[Status]:
    """What one member says about itself."""
    return mapped(engine.call(methods.STATUS, rpc.StatusRequest(), timeout, endpoint), Status.of)


def defragment(engine: Engine, endpoint: str | None, timeout: float | None) -> Plan[None]:
    """Let one member give disk space back."""
    request = rpc.DefragmentRequest()
    return mapped(engine.call(methods.DEFRAGMENT, request, timeout, endpoint), _nothing)


def hash_kv(
    engine: Engine, revision: int, endpoint: str | None, timeout: float | None
) -> Plan[HashResult]:
    """The hash of one member's history up to a revision."""
    request = rpc.HashKVRequest(revision=arguments.integer("revision", revision))
    return mapped(
        engine.call(methods.HASH_KV, request, timeout, endpoint),
        lambda done: HashResult(done.hash, done.header.revision, done.compact_revision),
    )


def hash_(engine: Engine, endpoint: str | None, timeout: float | None) -> Plan[int]:
    """The hash of one member's whole store."""
    return mapped(
        engine.call(methods.HASH, rpc.HashRequest(), timeout, endpoint), lambda done: done.hash
    )


def move_leader(
    engine: Engine, target: int, endpoint: str | None, timeout: float | None
) -> Plan[None]:
    """Hand the leadership over; to be asked of the leader."""
    request = rpc.MoveLeaderRequest(
        targetID=arguments.integer("target", target, 0, arguments.UINT64_MAX)
    )
    return mapped(engine.call(methods.MOVE_LEADER, request, timeout, endpoint), _nothing)


def alarms(engine: Engine, timeout: float | None) -> Plan[list[Alarm]]:
    """The active alarms."""
    return _alarm(engine, rpc.AlarmRequest(action=rpc.AlarmRequest.GET), timeout)


def arm(
    engine: Engine, member_id: int, kind: AlarmKind, timeout: float | None
) -> Plan[list[Alarm]]:
    """Raise an alarm."""
    request = rpc.AlarmRequest(
        action=rpc.AlarmRequest.ACTIVATE, memberID=_member_id(member_id), alarm=_alarm_kind(kind)
    )
    return _alarm(engine, request, timeout)


def disarm(
    engine: Engine, member_id: int, kind: AlarmKind, timeout: float | None
) -> Plan[list[Alarm]]:
    """Take an alarm back; those taken back."""
    request = rpc.AlarmRequest(
        action=rpc.AlarmRequest.DEACTIVATE, memberID=_member_id(member_id), alarm=_alarm_kind(kind)
    )
    return _alarm(engine, request, timeout)


def _alarm_kind(kind: AlarmKind) -> rpc.AlarmType:
    return _ALARMS[arguments.choice("kind", kind, _ALARMS)]


def _alarm(engine: Engine, request: rpc.AlarmRequest, timeout: float | None) -> Plan[list[Alarm]]:
    return mapped(
        engine.call(methods.ALARM, request, timeout),
        lambda done: [
            Alarm(alarm.memberID, rpc.AlarmType.Name(alarm.alarm)) for alarm in done.alarms
        ],
    )


# Auth.


def auth_status(engine: Engine, timeout: float | None) -> Plan[AuthStatus]:
    """Whether logins are asked for."""
    return mapped(
        engine.call(methods.AUTH_STATUS, rpc.AuthStatusRequest(), timeout),
        lambda found: AuthStatus(found.enabled, found.authRevision),
    )


def enable_auth(engine: Engine, timeout: float | None) -> Plan[None]:
    """Ask for logins from now on."""
    return mapped(engine.call(methods.AUTH_ENABLE, rpc.AuthEnableRequest(), timeout), _nothing)


def disable_auth(engine: Engine, timeout: float | None) -> Plan[None]:
    """Ask for logins no longer."""
    return mapped(engine.call(methods.AUTH_DISABLE, rpc.AuthDisableRequest(), timeout), _nothing)


def add_user(engine: Engine, name: str, password: str | None, timeout: float | None) -> Plan[None]:
    """A user; without a password only for TLS certificates."""
    request = rpc.AuthUserAddRequest(name=arguments.text("name", name))
    if password is None:
        request.options.no_password = True
    else:
        request.password = arguments.text("password", password)
    return mapped(engine.call(methods.USER_ADD, request, timeout), _nothing)


def delete_user(engine: Engine, name: str, timeout: float | None) -> Plan[None]:
    """Delete a user."""
    request = rpc.AuthUserDeleteRequest(name=arguments.text("name", name))
    return mapped(engine.call(methods.USER_DELETE, request, timeout), _nothing)


def user_roles(engine: Engine, name: str, timeout: float | None) -> Plan[list[str]]:
    """The roles of a user."""
    request = rpc.AuthUserGetRequest(name=arguments.text("name", name))
    return mapped(engine.call(methods.USER_GET, request, timeout), lambda found: list(found.roles))


def users(engine: Engine, timeout: float | None) -> Plan[list[str]]:
    """The names of all users."""
    return mapped(
        engine.call(methods.USER_LIST, rpc.AuthUserListRequest(), timeout),
        lambda found: list(found.users),
    )


def change_password(engine: Engine, name: str, password: str, timeout: float | None) -> Plan[None]:
    """Give a user another password."""
    request = rpc.AuthUserChangePasswordRequest(
        name=arguments.text("name", name), password=arguments.text("password", password)
    )
    return mapped(engine.call(methods.USER_CHANGE_PASSWORD, request, timeout), _nothing)


def grant_role(engine: Engine, name: str, role: str, timeout: float | None) -> Plan[None]:
    """Give a user a role."""
    request = rpc.AuthUserGrantRoleRequest(
        user=arguments.text("name", name), role=arguments.text("role", role)
    )
    return mapped(engine.call(methods.USER_GRANT_ROLE, request, timeout), _nothing)


def revoke_role(engine: Engine, name: str, role: str, timeout: float | None) -> Plan[None]:
    """Take a role from a user."""
    request = rpc.AuthUserRevokeRoleRequest(
        name=arguments.text("name", name), role=arguments.text("role", role)
    )
    return mapped(engine.call(methods.USER_REVOKE_ROLE, request, timeout), _nothing)


def add_role(engine: Engine, role: str, timeout: float | None) -> Plan[None]:
    """A role that allows nothing yet."""
    request = rpc.AuthRoleAddRequest(name=arguments.text("role", role))
    return mapped(engine.call(methods.ROLE_ADD, request, timeout), _nothing)


def delete_role(engine: Engine, role: str, timeout: float | None) -> Plan[None]:
    """Delete a role."""
    request = rpc.AuthRoleDeleteRequest(role=arguments.text("role", role))
    return mapped(engine.call(methods.ROLE_DELETE, request, timeout), _nothing)


def permissions(engine: Engine, role: str, timeout: float | None) -> Plan[list[Permission]]:
    """What a role allows."""
    request = rpc.AuthRoleGetRequest(role=arguments.text("role", role))
    return mapped(
        engine.call(methods.ROLE_GET, request, timeout),
        lambda found: [_permission(permission) for permission in found.perm],
    )


def roles(engine: Engine, timeout: float | None) -> Plan[list[str]]:
    """The names of all roles."""
    return mapped(
        engine.call(methods.ROLE_LIST, rpc.AuthRoleListRequest(), timeout),
        lambda found: list(found.roles),
    )


def grant_permission(
    engine: Engine,
    role: str,
    kind: PermissionKind,
    span: tuple[bytes, bytes],
    timeout: float | None,
) -> Plan[None]:
    """Let a role read or write a range."""
    allowed = _PERMISSIONS[arguments.choice("kind", kind, _PERMISSIONS)]
    permission = auth_pb2.Permission(permType=allowed, key=span[0], range_end=span[1])
    request = rpc.AuthRoleGrantPermissionRequest(name=arguments.text("role", role), perm=permission)
    return mapped(engine.call(methods.ROLE_GRANT, request, timeout), _nothing)


def revoke_permission(
    engine: Engine, role: str, span: tuple[bytes, bytes], timeout: float | None
) -> Plan[None]:
    """Take back a permission, of exactly this range."""
    request = rpc.AuthRoleRevokePermissionRequest(
        role=arguments.text("role", role), key=span[0], range_end=span[1]
    )
    return mapped(engine.call(methods.ROLE_REVOKE, request, timeout), _nothing)


def _permission(found: auth_pb2.Permission) -> Permission:
    kind = auth_pb2.Permission.Type.Name(found.permType).lower()
    return Permission(kind, found.key, found.range_end)
