"""Users and tokens through the gateway: the same checks as over gRPC."""

from collections.abc import Iterator

import pytest

from tests.harness import PYKVD, Server, running
from tests.integration.http.serving import Answer, call, get

KEY, OTHER = "YQ==", "eg=="


def auth(server: Server, path: str, value: object = None, token: str = "") -> Answer:
    headers = {"Authorization": token} if token else {}
    return call(server.endpoint, f"/v3/{path}", {} if value is None else value, **headers)


def login(server: Server, name: str, password: str) -> str:
    answer = auth(server, "auth/authenticate", {"name": name, "password": password})
    assert answer.status == 200
    token: str = answer.json["token"]
    return token


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(PYKVD, ["--bcrypt-cost=4"]) as server:
        permission = {"permType": "READWRITE", "key": KEY}
        for path, value in (
            ("user/add", {"name": "root", "password": "pw"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("role/add", {"name": "r1"}),
            ("role/grant", {"name": "r1", "perm": permission}),
            ("user/add", {"name": "u1", "password": "p1"}),
            ("user/grant", {"user": "u1", "role": "r1"}),
        ):
            if value.get("role") == "root":
                auth(server, "auth/role/add", {"name": "root"})
            assert auth(server, f"auth/{path}", value).status == 200
        assert auth(server, "auth/enable").status == 200
        yield server


def test_tokens(server: Server) -> None:
    token = login(server, "u1", "p1")
    assert auth(server, "kv/put", {"key": KEY}, token).status == 200
    denied = auth(server, "kv/put", {"key": OTHER}, token)
    assert (denied.status, denied.json["code"]) == (403, 7)
    assert denied.json["message"] == "etcdserver: permission denied"
    other = call(server.endpoint, "/v3/kv/put", {"key": KEY}, Grpc_Metadata_token=token)
    assert other.status == 200


@pytest.mark.parametrize("token", ["Basic dTE6cDE=", "bogus"])
def test_bad_tokens(server: Server, token: str) -> None:
    refused = auth(server, "kv/put", {"key": KEY}, token)
    assert (refused.status, refused.json["code"]) == (401, 16)
    assert refused.headers["www-authenticate"] == "etcdserver: invalid auth token"


def test_no_token(server: Server) -> None:
    refused = auth(server, "kv/put", {"key": KEY})
    assert (refused.status, refused.json["code"]) == (400, 3)
    assert refused.json["message"] == "etcdserver: user name is empty"
    ignored = call(server.endpoint, "/v3/kv/put", {"key": KEY}, token=login(server, "u1", "p1"))
    assert ignored.status == 400


def test_a_wrong_password(server: Server) -> None:
    refused = auth(server, "auth/authenticate", {"name": "u1", "password": "no"})
    assert (refused.status, refused.json["code"]) == (400, 3)


def test_streams_are_checked_too(server: Server) -> None:
    refused = auth(server, "maintenance/snapshot", {}, login(server, "u1", "p1"))
    assert refused.status in {400, 401, 403}
    assert refused.json["error"]["grpc_code"] == refused.json["error"]["code"]
    assert auth(server, "maintenance/snapshot", {}, login(server, "root", "pw")).status == 200


def test_health_needs_no_token(server: Server) -> None:
    for path in ("/health", "/readyz", "/metrics", "/version"):
        assert get(server.endpoint, path).status == 200
