"""The unary methods of the API: path, request class, reply class."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from pykvd.pb import health_pb2, rpc_pb2, v3election_pb2, v3lock_pb2

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True)
class Method(Generic[Request, Reply]):
    """One unary RPC."""

    path: str
    request: type[Request]
    reply: type[Reply]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def _method(path: str, request: type[Request], reply: type[Reply]) -> Method[Request, Reply]:
    return Method(f"/{path}", request, reply)


RANGE = _method("etcdserverpb.KV/Range", rpc_pb2.RangeRequest, rpc_pb2.RangeResponse)
PUT = _method("etcdserverpb.KV/Put", rpc_pb2.PutRequest, rpc_pb2.PutResponse)
DELETE = _method(
    "etcdserverpb.KV/DeleteRange", rpc_pb2.DeleteRangeRequest, rpc_pb2.DeleteRangeResponse
)
TXN = _method("etcdserverpb.KV/Txn", rpc_pb2.TxnRequest, rpc_pb2.TxnResponse)
COMPACT = _method("etcdserverpb.KV/Compact", rpc_pb2.CompactionRequest, rpc_pb2.CompactionResponse)

GRANT = _method(
    "etcdserverpb.Lease/LeaseGrant", rpc_pb2.LeaseGrantRequest, rpc_pb2.LeaseGrantResponse
)
REVOKE = _method(
    "etcdserverpb.Lease/LeaseRevoke", rpc_pb2.LeaseRevokeRequest, rpc_pb2.LeaseRevokeResponse
)
TIME_TO_LIVE = _method(
    "etcdserverpb.Lease/LeaseTimeToLive",
    rpc_pb2.LeaseTimeToLiveRequest,
    rpc_pb2.LeaseTimeToLiveResponse,
)
LEASES = _method(
    "etcdserverpb.Lease/LeaseLeases", rpc_pb2.LeaseLeasesRequest, rpc_pb2.LeaseLeasesResponse
)

MEMBER_ADD = _method(
    "etcdserverpb.Cluster/MemberAdd", rpc_pb2.MemberAddRequest, rpc_pb2.MemberAddResponse
)
MEMBER_REMOVE = _method(
    "etcdserverpb.Cluster/MemberRemove", rpc_pb2.MemberRemoveRequest, rpc_pb2.MemberRemoveResponse
)
MEMBER_UPDATE = _method(
    "etcdserverpb.Cluster/MemberUpdate", rpc_pb2.MemberUpdateRequest, rpc_pb2.MemberUpdateResponse
)
MEMBER_LIST = _method(
    "etcdserverpb.Cluster/MemberList", rpc_pb2.MemberListRequest, rpc_pb2.MemberListResponse
)
MEMBER_PROMOTE = _method(
    "etcdserverpb.Cluster/MemberPromote",
    rpc_pb2.MemberPromoteRequest,
    rpc_pb2.MemberPromoteResponse,
)

ALARM = _method("etcdserverpb.Maintenance/Alarm", rpc_pb2.AlarmRequest, rpc_pb2.AlarmResponse)
STATUS = _method("etcdserverpb.Maintenance/Status", rpc_pb2.StatusRequest, rpc_pb2.StatusResponse)
DEFRAGMENT = _method(
    "etcdserverpb.Maintenance/Defragment", rpc_pb2.DefragmentRequest, rpc_pb2.DefragmentResponse
)
HASH = _method("etcdserverpb.Maintenance/Hash", rpc_pb2.HashRequest, rpc_pb2.HashResponse)
HASH_KV = _method("etcdserverpb.Maintenance/HashKV", rpc_pb2.HashKVRequest, rpc_pb2.HashKVResponse)
MOVE_LEADER = _method(
    "etcdserverpb.Maintenance/MoveLeader", rpc_pb2.MoveLeaderRequest, rpc_pb2.MoveLeaderResponse
)
DOWNGRADE = _method(
    "etcdserverpb.Maintenance/Downgrade", rpc_pb2.DowngradeRequest, rpc_pb2.DowngradeResponse
)

AUTH_ENABLE = _method(
    "etcdserverpb.Auth/AuthEnable", rpc_pb2.AuthEnableRequest, rpc_pb2.AuthEnableResponse
)
AUTH_DISABLE = _method(
    "etcdserverpb.Auth/AuthDisable", rpc_pb2.AuthDisableRequest, rpc_pb2.AuthDisableResponse
)
AUTH_STATUS = _method(
    "etcdserverpb.Auth/AuthStatus", rpc_pb2.AuthStatusRequest, rpc_pb2.AuthStatusResponse
)
AUTHENTICATE = _method(
    "etcdserverpb.Auth/Authenticate", rpc_pb2.AuthenticateRequest, rpc_pb2.AuthenticateResponse
)
USER_ADD = _method(
    "etcdserverpb.Auth/UserAdd", rpc_pb2.AuthUserAddRequest, rpc_pb2.AuthUserAddResponse
)
USER_GET = _method(
    "etcdserverpb.Auth/UserGet", rpc_pb2.AuthUserGetRequest, rpc_pb2.AuthUserGetResponse
)
USER_LIST = _method(
    "etcdserverpb.Auth/UserList", rpc_pb2.AuthUserListRequest, rpc_pb2.AuthUserListResponse
)
USER_DELETE = _method(
    "etcdserverpb.Auth/UserDelete", rpc_pb2.AuthUserDeleteRequest, rpc_pb2.AuthUserDeleteResponse
)
USER_CHANGE_PASSWORD = _method(
    "etcdserverpb.Auth/UserChangePassword",
    rpc_pb2.AuthUserChangePasswordRequest,
    rpc_pb2.AuthUserChangePasswordResponse,
)
USER_GRANT_ROLE = _method(
    "etcdserverpb.Auth/UserGrantRole",
    rpc_pb2.AuthUserGrantRoleRequest,
    rpc_pb2.AuthUserGrantRoleResponse,
)
USER_REVOKE_ROLE = _method(
    "etcdserverpb.Auth/UserRevokeRole",
    rpc_pb2.AuthUserRevokeRoleRequest,
    rpc_pb2.AuthUserRevokeRoleResponse,
)
ROLE_ADD = _method(
    "etcdserverpb.Auth/RoleAdd", rpc_pb2.AuthRoleAddRequest, rpc_pb2.AuthRoleAddResponse
)
ROLE_GET = _method(
    "etcdserverpb.Auth/RoleGet", rpc_pb2.AuthRoleGetRequest, rpc_pb2.AuthRoleGetResponse
)
ROLE_LIST = _method(
    "etcdserverpb.Auth/RoleList", rpc_pb2.AuthRoleListRequest, rpc_pb2.AuthRoleListResponse
)
ROLE_DELETE = _method(
    "etcdserverpb.Auth/RoleDelete", rpc_pb2.AuthRoleDeleteRequest, rpc_pb2.AuthRoleDeleteResponse
)
ROLE_GRANT = _method(
    "etcdserverpb.Auth/RoleGrantPermission",
    rpc_pb2.AuthRoleGrantPermissionRequest,
    rpc_pb2.AuthRoleGrantPermissionResponse,
)
ROLE_REVOKE = _method(
    "etcdserverpb.Auth/RoleRevokePermission",
    rpc_pb2.AuthRoleRevokePermissionRequest,
    rpc_pb2.AuthRoleRevokePermissionResponse,
)

LOCK = _method("v3lockpb.Lock/Lock", v3lock_pb2.LockRequest, v3lock_pb2.LockResponse)
UNLOCK = _method("v3lockpb.Lock/Unlock", v3lock_pb2.UnlockRequest, v3lock_pb2.UnlockResponse)
CAMPAIGN = _method(
    "v3electionpb.Election/Campaign",
    v3election_pb2.CampaignRequest,
    v3election_pb2.CampaignResponse,
)
PROCLAIM = _method(
    "v3electionpb.Election/Proclaim",
    v3election_pb2.ProclaimRequest,
    v3election_pb2.ProclaimResponse,
)
LEADER = _method(
    "v3electionpb.Election/Leader", v3election_pb2.LeaderRequest, v3election_pb2.LeaderResponse
)
RESIGN = _method(
    "v3electionpb.Election/Resign", v3election_pb2.ResignRequest, v3election_pb2.ResignResponse
)

HEALTH = _method(
    "grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
)
