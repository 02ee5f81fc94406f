"""The calls of the API that the client makes: path, messages, and which may be repeated.

A *repeatable* call may be sent again although it may have been carried out: it changes nothing, or
doing it twice is the same as doing it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from pykvd.pb import rpc_pb2 as rpc

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Req, Resp]):
    """One call of the API."""

    path: str
    request: type[Req]
    response: type[Resp]
    repeatable: bool = False


def _kv(name: str) -> str:
    return f"/etcdserverpb.KV/{name}"


RANGE = Method(_kv("Range"), rpc.RangeRequest, rpc.RangeResponse, repeatable=True)
PUT = Method(_kv("Put"), rpc.PutRequest, rpc.PutResponse)
DELETE = Method(_kv("DeleteRange"), rpc.DeleteRangeRequest, rpc.DeleteRangeResponse)
DELETE_OWN = Method(
    _kv("DeleteRange"), rpc.DeleteRangeRequest, rpc.DeleteRangeResponse, repeatable=True
)
"""Of a key that nobody else makes or deletes."""
TXN = Method(_kv("Txn"), rpc.TxnRequest, rpc.TxnResponse)
REPEATABLE_TXN = Method(_kv("Txn"), rpc.TxnRequest, rpc.TxnResponse, repeatable=True)
"""A transaction that only reads, or after which its conditions hold no more."""
COMPACT = Method(_kv("Compact"), rpc.CompactionRequest, rpc.CompactionResponse)

WATCH = Method("/etcdserverpb.Watch/Watch", rpc.WatchRequest, rpc.WatchResponse)


def _lease(name: str) -> str:
    return f"/etcdserverpb.Lease/{name}"


GRANT = Method(_lease("LeaseGrant"), rpc.LeaseGrantRequest, rpc.LeaseGrantResponse, repeatable=True)
"""Repeated, it leaves at worst a lease that nobody knows and that expires."""
GRANT_ID = Method(_lease("LeaseGrant"), rpc.LeaseGrantRequest, rpc.LeaseGrantResponse)
"""With an id of the caller's choice: repeated, it would find its own lease and fail."""
REVOKE = Method(
    _lease("LeaseRevoke"), rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse, repeatable=True
)
KEEP_ALIVE = Method(
    _lease("LeaseKeepAlive"),
    rpc.LeaseKeepAliveRequest,
    rpc.LeaseKeepAliveResponse,
    repeatable=True,
)
TIME_TO_LIVE = Method(
    _lease("LeaseTimeToLive"),
    rpc.LeaseTimeToLiveRequest,
    rpc.LeaseTimeToLiveResponse,
    repeatable=True,
)
LEASES = Method(
    _lease("LeaseLeases"), rpc.LeaseLeasesRequest, rpc.LeaseLeasesResponse, repeatable=True
)


def _cluster(name: str) -> str:
    return f"/etcdserverpb.Cluster/{name}"


MEMBER_LIST = Method(
    _cluster("MemberList"), rpc.MemberListRequest, rpc.MemberListResponse, repeatable=True
)
MEMBER_ADD = Method(_cluster("MemberAdd"), rpc.MemberAddRequest, rpc.MemberAddResponse)
MEMBER_REMOVE = Method(_cluster("MemberRemove"), rpc.MemberRemoveRequest, rpc.MemberRemoveResponse)
MEMBER_UPDATE = Method(_cluster("MemberUpdate"), rpc.MemberUpdateRequest, rpc.MemberUpdateResponse)
MEMBER_PROMOTE = Method(
    _cluster("MemberPromote"), rpc.MemberPromoteRequest, rpc.MemberPromoteResponse
)


def _maintenance(name: str) -> str:
    return f"/etcdserverpb.Maintenance/{name}"


ALARM = Method(_maintenance("Alarm"), rpc.AlarmRequest, rpc.AlarmResponse, repeatable=True)
STATUS = Method(_maintenance("Status"), rpc.StatusRequest, rpc.StatusResponse, repeatable=True)
DEFRAGMENT = Method(_maintenance("Defragment"), rpc.DefragmentRequest, rpc.DefragmentResponse)
HASH = Method(_maintenance("Hash"), rpc.HashRequest, rpc.HashResponse, repeatable=True)
HASH_KV = Method(_maintenance("HashKV"), rpc.HashKVRequest, rpc.HashKVResponse, repeatable=True)
SNAPSHOT = Method(
    _maintenance("Snapshot"), rpc.SnapshotRequest, rpc.SnapshotResponse, repeatable=True
)
MOVE_LEADER = Method(
    _maintenance("MoveLeader"), rpc.MoveLeaderRequest, rpc.MoveLeaderResponse, repeatable=True
)


def _auth(name: str) -> str:
    return f"/etcdserverpb.Auth/{name}"


AUTHENTICATE = Method(
    _auth("Authenticate"), rpc.AuthenticateRequest, rpc.AuthenticateResponse, repeatable=True
)
AUTH_ENABLE = Method(_auth("AuthEnable"), rpc.AuthEnableRequest, rpc.AuthEnableResponse)
AUTH_DISABLE = Method(_auth("AuthDisable"), rpc.AuthDisableRequest, rpc.AuthDisableResponse)
AUTH_STATUS = Method(_auth("AuthStatus"), rpc.AuthStatusRequest, rpc.AuthStatusResponse)
USER_ADD = Method(_auth("UserAdd"), rpc.AuthUserAddRequest, rpc.AuthUserAddResponse)
USER_GET = Method(
    _auth("UserGet"), rpc.AuthUserGetRequest, rpc.AuthUserGetResponse, repeatable=True
)
USER_LIST = Method(
    _auth("UserList"), rpc.AuthUserListRequest, rpc.AuthUserListResponse, repeatable=True
)
USER_DELETE = Method(_auth("UserDelete"), rpc.AuthUserDeleteRequest, rpc.AuthUserDeleteResponse)
USER_CHANGE_PASSWORD = Method(
    _auth("UserChangePassword"),
    rpc.AuthUserChangePasswordRequest,
    rpc.AuthUserChangePasswordResponse,
)
USER_GRANT_ROLE = Method(
    _auth("UserGrantRole"), rpc.AuthUserGrantRoleRequest, rpc.AuthUserGrantRoleResponse
)
USER_REVOKE_ROLE = Method(
    _auth("UserRevokeRole"), rpc.AuthUserRevokeRoleRequest, rpc.AuthUserRevokeRoleResponse
)
ROLE_ADD = Method(_auth("RoleAdd"), rpc.AuthRoleAddRequest, rpc.AuthRoleAddResponse)
ROLE_GET = Method(
    _auth("RoleGet"), rpc.AuthRoleGetRequest, rpc.AuthRoleGetResponse, repeatable=True
)
ROLE_LIST = Method(
    _auth("RoleList"), rpc.AuthRoleListRequest, rpc.AuthRoleListResponse, repeatable=True
)
ROLE_DELETE = Method(_auth("RoleDelete"), rpc.AuthRoleDeleteRequest, rpc.AuthRoleDeleteResponse)
ROLE_GRANT = Method(
    _auth("RoleGrantPermission"),
    rpc.AuthRoleGrantPermissionRequest,
    rpc.AuthRoleGrantPermissionResponse,
)
ROLE_REVOKE = Method(
    _auth("RoleRevokePermission"),
    rpc.AuthRoleRevokePermissionRequest,
    rpc.AuthRoleRevokePermissionResponse,
)
