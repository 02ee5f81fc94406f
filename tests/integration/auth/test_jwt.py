"""JSON web tokens: signed here, judged anywhere that has the key, of one auth revision."""

from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import PYKVD, Client, Failure, methods, running
from tests.integration.auth.accounts import (
    ANN,
    ANN_PASSWORD,
    FLAGS,
    OWN,
    as_ann,
    as_root,
    enable_auth,
)
from tests.unit.auth.keys import pair

OLD = Failure("INVALID_ARGUMENT", "etcdserver: revision of auth store is old")
INVALID = Failure("UNAUTHENTICATED", "etcdserver: invalid auth token")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a pair of keys for ES256."""
    home = tmp_path_factory.mktemp("keys")
    for name, content in zip(("private", "public"), pair("ES256"), strict=True):
        (home / name).write_bytes(content)
    return home


@pytest.fixture
def client(keys: Path) -> Iterator[Client]:
    """A server that signs, with auth on."""
    option = f"--auth-token=jwt,sign-method=ES256,priv-key={keys}/private,ttl=10m"
    with running(PYKVD, (*FLAGS, option)) as server, Client(server.endpoint) as client:
        enable_auth(client)
        yield client


def put(client: Client, who: tuple[tuple[str, str | bytes], ...]) -> Failure | None:
    answer = client.attempt(methods.PUT, rpc.PutRequest(key=OWN), who)
    return answer if isinstance(answer, Failure) else None


def test_a_token_is_of_one_revision(client: Client) -> None:
    ann, root = as_ann(client), as_root(client)
    claims = jwt.decode(str(ann[0][1]), options={"verify_signature": False})
    assert (claims["username"], claims["revision"]) == (ANN, 8)
    assert put(client, ann) is None
    client.call(methods.ROLE_ADD, rpc.AuthRoleAddRequest(name="new"), root)
    assert put(client, ann) == OLD
    assert put(client, root) == OLD
    read = rpc.RangeRequest(key=OWN)
    assert client.attempt(methods.RANGE, read, ann) == OLD
    # What needs no right on keys does not look at the revision.
    assert not isinstance(client.attempt(methods.STATUS, None, ann), Failure)
    assert not isinstance(
        client.attempt(methods.GRANT, rpc.LeaseGrantRequest(TTL=60), ann), Failure
    )
    client.call(methods.ROLE_ADD, rpc.AuthRoleAddRequest(name="newer"), root)
    assert put(client, as_ann(client)) is None


def test_tokens_that_are_none(client: Client, keys: Path) -> None:
    good = {"username": ANN, "revision": 8}
    private = (keys / "private").read_bytes()
    assert put(client, (("token", jwt.encode(good, private, algorithm="ES256")),)) is None
    other = pair("ES384")[0]
    for token in (
        jwt.encode({**good, "exp": 1}, private, algorithm="ES256"),
        jwt.encode(good, other, algorithm="ES384"),
        jwt.encode(good, "", algorithm="none"),
        jwt.encode({"username": ANN}, private, algorithm="ES256"),
        jwt.encode(good, "s" * 40, algorithm="HS256"),
        str(as_ann(client)[0][1])[:-9],
        "AAAAAAAAAAAAAAAA.1",
    ):
        assert put(client, (("token", token),)) == INVALID, token
    nobody = jwt.encode({**good, "username": "nobody"}, private, algorithm="ES256")
    assert put(client, (("token", nobody),)) == Failure(
        "PERMISSION_DENIED", "etcdserver: permission denied"
    )


def test_a_token_is_good_after_a_restart(keys: Path) -> None:
    option = f"--auth-token=jwt,sign-method=ES256,priv-key={keys}/private"
    with running(PYKVD, (*FLAGS, option)) as server:
        with Client(server.endpoint) as client:
            enable_auth(client)
            ann = as_ann(client)
        server.stop()
        server.start()
        with Client(server.endpoint) as client:
            assert put(client, ann) is None


def test_a_member_that_can_only_check(keys: Path) -> None:
    option = f"--auth-token=jwt,sign-method=ES256,pub-key={keys}/public"
    with running(PYKVD, (*FLAGS, option)) as server, Client(server.endpoint) as client:
        enable_auth(client)
        login = rpc.AuthenticateRequest(name=ANN, password=ANN_PASSWORD)
        assert client.attempt(methods.AUTHENTICATE, login) == Failure(
            "UNKNOWN", "auth: token signing attempted with verify-only key"
        )
        claims = {"username": ANN, "revision": 8}
        token = jwt.encode(claims, (keys / "private").read_bytes(), algorithm="ES256")
        assert put(client, (("token", token),)) is None
