"""Put with auth on, by a user whose role has ten grants."""

from google.protobuf.message import Message

from benchmarks.closed_loop import CallSource, ClosedLoop, Outcome, Share, close_all
from benchmarks.connection import Connection, call, connect
from benchmarks.headers import Method
from benchmarks.messages import Template, framed
from benchmarks.workload import Workload, throughput_row
from benchmarks.workloads.put import KEY_FORMAT, VALUE
from pykvd.pb import auth_pb2, rpc_pb2

_USER, _PASSWORD = "writer", "pw"
_GRANTS = 10
_KEY_COUNT = 100_000


async def enable_auth(port: int) -> None:
    """Add root and the user, and turn auth on."""
    connection = await connect(port)
    try:
        for name in ("root", _USER):
            user = rpc_pb2.AuthUserAddRequest(name=name, password=_PASSWORD)
            user.options.no_password = False  # etcd 3.4 needs the field
            await _ask(connection, port, "UserAdd", user)
        await _ask(connection, port, "RoleAdd", rpc_pb2.AuthRoleAddRequest(name="writers"))
        for number in range(_GRANTS):
            await _ask(connection, port, "RoleGrantPermission", _grant(number))
        for name, role in (("root", "root"), (_USER, "writers")):
            request = rpc_pb2.AuthUserGrantRoleRequest(user=name, role=role)
            await _ask(connection, port, "UserGrantRole", request)
        await _ask(connection, port, "AuthEnable", rpc_pb2.AuthEnableRequest())
    finally:
        close_all([connection])


def _grant(number: int) -> rpc_pb2.AuthRoleGrantPermissionRequest:
    """A tenth of the keys each, by their number's first digit."""
    digits = KEY_FORMAT % (number * _KEY_COUNT // _GRANTS)
    after = KEY_FORMAT % ((number + 1) * _KEY_COUNT // _GRANTS)
    permission = auth_pb2.Permission(
        permType=auth_pb2.Permission.READWRITE, key=digits, range_end=after
    )
    return rpc_pb2.AuthRoleGrantPermissionRequest(name="writers", perm=permission)


async def _ask(connection: Connection, port: int, name: str, request: Message) -> bytes:
    method = Method(f"/etcdserverpb.Auth/{name}", f"127.0.0.1:{port}")
    return await call(connection, method, framed(request))


async def _log_in(port: int) -> str:
    connection = await connect(port)
    try:
        request = rpc_pb2.AuthenticateRequest(name=_USER, password=_PASSWORD)
        reply = await _ask(connection, port, "Authenticate", request)
    finally:
        close_all([connection])
    return rpc_pb2.AuthenticateResponse.FromString(reply).token


async def put_with_token(share: Share) -> Outcome:
    """Puts to random keys, by 100 callers, each with the user's token."""
    token = await _log_in(share.port)

    def source(share: Share) -> CallSource:
        method = Method("/etcdserverpb.KV/Put", share.authority, token=token)
        placeholder = KEY_FORMAT % 0
        template = Template(rpc_pb2.PutRequest(key=placeholder, value=VALUE), placeholder)
        random = share.random.random
        return lambda: (method, template.fill(KEY_FORMAT % (random() * _KEY_COUNT)))

    return await ClosedLoop(100, 10, source)(share)


AUTH_WORKLOADS = (
    Workload(
        throughput_row("auth-put-100", "Put 256 B with auth on, ten grants, 100 callers"),
        put_with_token,
        prepare=enable_auth,
    ),
)
