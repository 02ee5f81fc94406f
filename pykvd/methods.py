"""The methods of the etcd v3 API: path, messages, and which may be called again.

A *repeatable* one may be called again when nobody knows whether it was carried out: it changes
nothing, and answers as if it had not been called before. Clients that know more of a call repeat
others as well (`Method.repeated`).
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from pykvd.pb import rpc_pb2 as rpc

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)


class Method(NamedTuple, Generic[Req, Resp]):
    """One method."""

    path: str
    request: type[Req]
    response: type[Resp]
    repeatable: bool = False

    def repeated(self) -> Method[Req, Resp]:
        """The same for a call that may be repeated."""
        return self._replace(repeatable=True)


def _kv(name: str) -> str:
    return f"/etcdserverpb.KV/{name}"


RANGE = Method(_kv("Range"), rpc.RangeRequest, rpc.RangeResponse, repeatable=True)
PUT = Method(_kv("Put"), rpc.PutRequest, rpc.PutResponse)
DELETE_RANGE = Method(_kv("DeleteRange"), rpc.DeleteRangeRequest, rpc.DeleteRangeResponse)
TXN = Method(_kv("Txn"), rpc.TxnRequest, rpc.TxnResponse)
COMPACT = Method(_kv("Compact"), rpc.CompactionRequest, rpc.CompactionResponse)

WATCH = Method("/etcdserverpb.Watch/Watch", rpc.WatchRequest, rpc.WatchResponse)


def _lease(name: str) -> str:
    return f"/etcdserverpb.Lease/{name}"


LEASE_GRANT = Method(_lease("LeaseGrant"), rpc.LeaseGrantRequest, rpc.LeaseGrantResponse)
LEASE_REVOKE = Method(_lease("LeaseRevoke"), rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse)
LEASE_TIME_TO_LIVE = Method(
    _lease("LeaseTimeToLive"),
    rpc.LeaseTimeToLiveRequest,
    rpc.LeaseTimeToLiveResponse,
    repeatable=True,
)
LEASE_LEASES = Method(
    _lease("LeaseLeases"), rpc.LeaseLeasesRequest, rpc.LeaseLeasesResponse, repeatable=True
)
LEASE_KEEP_ALIVE = Method(
    _lease("LeaseKeepAlive"), rpc.LeaseKeepAliveRequest, rpc.LeaseKeepAliveResponse
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


ALARM = Method(_maintenance("Alarm"), rpc.AlarmRequest, rpc.AlarmResponse)
STATUS = Method(_maintenance("Status"), rpc.StatusRequest, rpc.StatusResponse, repeatable=True)
DEFRAGMENT = Method(_maintenance("Defragment"), rpc.DefragmentRequest, rpc.DefragmentResponse)
HASH = Method(_maintenance("Hash"), rpc.HashRequest, rpc.HashResponse, repeatable=True)
HASH_KV = Method(_maintenance("HashKV"), rpc.HashKVRequest, rpc.HashKVResponse, repeatable=True)
SNAPSHOT = Method(_maintenance("Snapshot"), rpc.SnapshotRequest, rpc.SnapshotResponse)
MOVE_LEADER = Method(_maintenance("MoveLeader"), rpc.MoveLeaderRequest, rpc.MoveLeaderResponse)
DOWNGRADE = Method(_maintenance("Downgrade"), rpc.DowngradeRequest, rpc.DowngradeResponse)


def _auth(name: str) -> str:
    return f"/etcdserverpb.Auth/{name}"


AUTHENTICATE = Method(
    _auth("Authenticate"), rpc.AuthenticateRequest, rpc.AuthenticateResponse, repeatable=True
)
AUTH_ENABLE = Method(_auth("AuthEnable"), rpc.AuthEnableRequest, rpc.AuthEnableResponse)
AUTH_DISABLE = Method(_auth("AuthDisable"), rpc.AuthDisableRequest, rpc.AuthDisableResponse)
AUTH_STATUS = Method(
    _auth("AuthStatus"), rpc.AuthStatusRequest, rpc.AuthStatusResponse, repeatable=True
)
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
ROLE_GRANT_PERMISSION = Method(
    _auth("RoleGrantPermission"),
    rpc.AuthRoleGrantPermissionRequest,
    rpc.AuthRoleGrantPermissionResponse,
)
ROLE_REVOKE_PERMISSION = Method(
    _auth("RoleRevokePermission"),
    rpc.AuthRoleRevokePermissionRequest,
    rpc.AuthRoleRevokePermissionResponse,
)
