"""Who a call is of: tokens before certificates, and no certificate of a gateway."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pykvd.api.access import Access
from pykvd.auth.identity import Identity
from pykvd.config import Config
from pykvd.embed import Server
from pykvd.errors import RpcError
from pykvd.node.commands import Command
from pykvd.node.node import Node
from pykvd.pb import rpc_pb2 as rpc


@dataclass
class Call:
    """What `Access` looks at."""

    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    common_name: str = ""
    peer: str = "test"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A member with `root` and `u`; auth is on."""
    server = Server(
        Config(
            data_dir=str(tmp_path / "data"),
            listen_client_urls=(),
            listen_peer_urls=(),
            unsafe_no_fsync=True,
        )
    )
    await server.start()
    node = server._node
    assert node
    for name in ("root", "u"):
        await node.execute(Command.USER_ADD, rpc.AuthUserAddRequest(name=name))
    grant = rpc.AuthUserGrantRoleRequest(user="root", role="root")
    await node.execute(Command.USER_GRANT_ROLE, grant)
    await node.execute(Command.AUTH_ENABLE, rpc.AuthEnableRequest())
    yield node
    await server.stop()


def refusal(access: Access, call: Call) -> str:
    with pytest.raises(RpcError) as refused:
        access.require_user(call, "test")
    return refused.value.message


async def test_certificates_count_where_they_are_required(node: Node) -> None:
    call = Call(common_name="u")
    assert Access(node, client_cert_auth=True).require_user(call, "test") == Identity("u", 4)
    assert refusal(Access(node), call) == "etcdserver: user name is empty"


async def test_a_certificate_without_a_name_is_nobodys(node: Node) -> None:
    access = Access(node, client_cert_auth=True)
    assert refusal(access, Call()) == "etcdserver: user name is empty"


async def test_the_gateways_certificate_is_not_the_callers(node: Node) -> None:
    access = Access(node, client_cert_auth=True)
    call = Call(metadata={"grpcgateway-accept": "*/*"}, common_name="root")
    assert refusal(access, call) == "etcdserver: user name is empty"


async def test_a_token_wins_even_a_bad_one(node: Node) -> None:
    access = Access(node, client_cert_auth=True)
    token = node.applier.tokens.assign("u", "prefix", 1)
    call = Call(metadata={"token": token}, common_name="root")
    assert access.require_user(call, "test") == Identity("u", 4)
    call = Call(metadata={"token": "bad"}, common_name="root")
    assert refusal(access, call) == "etcdserver: invalid auth token"


async def test_a_name_without_a_user(node: Node) -> None:
    access = Access(node, client_cert_auth=True)
    call = Call(common_name="stranger")
    assert access.require_user(call, "test") == Identity("stranger", 4)
    with pytest.raises(RpcError, match="user name not found"):
        access.require_admin(call, "test")
    with pytest.raises(RpcError, match="permission denied"):
        access.permit(call, "test", node.auth.check_read, b"k")


async def test_nothing_is_looked_at_while_auth_is_off(node: Node) -> None:
    access = Access(node, client_cert_auth=True)
    await node.execute(Command.AUTH_DISABLE, rpc.AuthDisableRequest(), Identity("root", 4))
    assert access.require_admin(Call(metadata={"token": "bad"}), "test") is None


async def test_a_change_during_a_long_read_is_noticed(node: Node) -> None:
    access = Access(node, client_cert_auth=True)
    caller = access.require_user(Call(common_name="u"), "test")
    access.recheck(caller)
    request = rpc.AuthRoleAddRequest(name="r")
    await node.execute(Command.ROLE_ADD, request, Identity("root", 4))
    with pytest.raises(RpcError, match="revision of auth store is old"):
        access.recheck(caller)
    access.recheck(None)
