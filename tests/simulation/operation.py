"""What a client asked, when, and what it was told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from pykvd.pb import pykvd_pb2 as pb
from pykvd.pb import rpc_pb2 as rpc

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
    REVISION_AT = "revision at"
    TIMES = "times"
    AUTHENTICATE = "login"
    AUTH_ENABLE = "auth enable"
    AUTH_DISABLE = "auth disable"
    USER_ADD = "user add"
    USER_DELETE = "user delete"
    USER_CHANGE_PASSWORD = "user passwd"
    USER_GRANT_ROLE = "user grant"
    USER_REVOKE_ROLE = "user revoke"
    ROLE_ADD = "role add"
    ROLE_DELETE = "role delete"
    ROLE_GRANT_PERMISSION = "role grant"
    ROLE_REVOKE_PERMISSION = "role revoke"
    ALARM = "alarm"
    DOWNGRADE = "downgrade"
    MOVE_LEADER = "move leader"


class Served(NamedTuple):
    """Where a method is found, and what it answers with."""

    path: str
    response: type[Message]


def _service(name: str, methods: dict[Method, tuple[str, type[Message]]]) -> dict[Method, Served]:
    return {each: Served(f"/{name}/{rest[0]}", rest[1]) for each, rest in methods.items()}


AUTH_CHANGES = {
    Method.AUTH_ENABLE: ("AuthEnable", rpc.AuthEnableResponse),
    Method.AUTH_DISABLE: ("AuthDisable", rpc.AuthDisableResponse),
    Method.USER_ADD: ("UserAdd", rpc.AuthUserAddResponse),
    Method.USER_DELETE: ("UserDelete", rpc.AuthUserDeleteResponse),
    Method.USER_CHANGE_PASSWORD: ("UserChangePassword", rpc.AuthUserChangePasswordResponse),
    Method.USER_GRANT_ROLE: ("UserGrantRole", rpc.AuthUserGrantRoleResponse),
    Method.USER_REVOKE_ROLE: ("UserRevokeRole", rpc.AuthUserRevokeRoleResponse),
    Method.ROLE_ADD: ("RoleAdd", rpc.AuthRoleAddResponse),
    Method.ROLE_DELETE: ("RoleDelete", rpc.AuthRoleDeleteResponse),
    Method.ROLE_GRANT_PERMISSION: ("RoleGrantPermission", rpc.AuthRoleGrantPermissionResponse),
    Method.ROLE_REVOKE_PERMISSION: ("RoleRevokePermission", rpc.AuthRoleRevokePermissionResponse),
}
"""Methods that change users, roles or auth itself: for root alone, while auth is on."""

METHODS: dict[Method, Served] = (
    _service(
        "etcdserverpb.KV",
        {
            Method.RANGE: ("Range", rpc.RangeResponse),
            Method.PUT: ("Put", rpc.PutResponse),
            Method.DELETE_RANGE: ("DeleteRange", rpc.DeleteRangeResponse),
            Method.TXN: ("Txn", rpc.TxnResponse),
            Method.COMPACT: ("Compact", rpc.CompactionResponse),
        },
    )
    | _service(
        "etcdserverpb.Lease",
        {
            Method.GRANT: ("LeaseGrant", rpc.LeaseGrantResponse),
            Method.REVOKE: ("LeaseRevoke", rpc.LeaseRevokeResponse),
            Method.KEEP_ALIVE: ("LeaseKeepAlive", rpc.LeaseKeepAliveResponse),
        },
    )
    | _service(
        "etcdserverpb.Auth",
        AUTH_CHANGES | {Method.AUTHENTICATE: ("Authenticate", rpc.AuthenticateResponse)},
    )
    | _service(
        "etcdserverpb.Maintenance",
        {
            Method.ALARM: ("Alarm", rpc.AlarmResponse),
            Method.DOWNGRADE: ("Downgrade", rpc.DowngradeResponse),
            Method.MOVE_LEADER: ("MoveLeader", rpc.MoveLeaderResponse),
        },
    )
    | _service(
        "pykvdpb.Timeline",
        {
            Method.REVISION_AT: ("RevisionAt", pb.RevisionAtResponse),
            Method.TIMES: ("Times", pb.TimesResponse),
        },
    )
)


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
    user: str = ""
    """Whose token went with it."""
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
        name = f"c{self.client}" + f" as {self.user}" * bool(self.user)
        return f"{name} #{self.number} {self.method.value} {text}"


def _words(message: Message) -> str:
    return " ".join(str(message).split())[:120]
