"""Users by the common name of their certificate."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from pykvd.pb import auth_pb2
from pykvd.pb import rpc_pb2 as rpc
from tests.harness import Client, Failure, methods
from tests.harness.certificates import Authority, Pair
from tests.harness.rpc import OPTIONS
from tests.integration.auth.accounts import ANN, FLAGS, OWN, as_ann, enable_auth, grant_role
from tests.integration.tls.processes import SecureServer, key_flags, secure

DENIED = Failure("PERMISSION_DENIED", "etcdserver: permission denied")
USER_EMPTY = Failure("INVALID_ARGUMENT", "etcdserver: user name is empty")
NO_USER = Failure("FAILED_PRECONDITION", "etcdserver: user name not found")
WITHOUT_PASSWORD = "carol"


@dataclass(frozen=True)
class Certified:
    """A server that wants certificates, and those of its users."""

    server: SecureServer
    ca: Authority
    pairs: dict[str, Pair]

    @contextmanager
    def client(self, name: str) -> Iterator[Client]:
        """A connection with the certificate of that common name."""
        pair = self.pairs[name]
        credentials = grpc.ssl_channel_credentials(
            self.ca.file.read_bytes(), pair.key.read_bytes(), pair.cert.read_bytes()
        )
        with Client(self.server.endpoint) as client:
            client.channel.close()
            client.channel = grpc.secure_channel(self.server.endpoint, credentials, OPTIONS)
            yield client


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certified]:
    """`root`, `ann` and a user without password; `stranger` is no user."""
    ca = Authority(tmp_path_factory.mktemp("papers"))
    names = ("root", ANN, WITHOUT_PASSWORD, "stranger")
    pairs = {name: ca.issue(name, common_name=name) for name in names}
    pairs["nameless"] = ca.issue("nameless", common_name="")
    flags = [*FLAGS, *key_flags(ca.issue("server")), "--client-cert-auth"]
    with secure(*flags, f"--trusted-ca-file={ca.file}") as server:
        certified = Certified(server, ca, pairs)
        with certified.client("root") as client:
            enable_auth(client)
            options = auth_pb2.UserAddOptions(no_password=True)
            request = rpc.AuthUserAddRequest(name=WITHOUT_PASSWORD, options=options)
            client.call(methods.USER_ADD, request)
            grant_role(client, WITHOUT_PASSWORD, "app")
        yield certified


def put(client: Client, key: bytes, *metadata: tuple[str, str]) -> Failure | None:
    answer = client.attempt(methods.PUT, rpc.PutRequest(key=key), metadata)
    return answer if isinstance(answer, Failure) else None


@pytest.mark.parametrize("name", [ANN, WITHOUT_PASSWORD])
def test_a_certificate_has_the_rights_of_its_user(certified: Certified, name: str) -> None:
    with certified.client(name) as client:
        assert put(client, OWN) is None
        assert put(client, b"other") == DENIED
        assert client.attempt(methods.USER_LIST) == DENIED


def test_the_certificate_of_root(certified: Certified) -> None:
    with certified.client("root") as client:
        assert put(client, b"other") is None
        assert ANN in client.call(methods.USER_LIST).users


def test_a_name_that_is_no_user(certified: Certified) -> None:
    with certified.client("stranger") as client:
        assert put(client, OWN) == DENIED
        assert client.attempt(methods.USER_LIST) == NO_USER
        assert not isinstance(client.attempt(methods.STATUS), Failure)


def test_a_certificate_without_a_name(certified: Certified) -> None:
    with certified.client("nameless") as client:
        assert put(client, OWN) == USER_EMPTY


def test_a_token_wins(certified: Certified) -> None:
    with certified.client("root") as client:
        ((name, token),) = as_ann(client)
        assert put(client, b"other", (name, str(token))) == DENIED
        invalid = Failure("UNAUTHENTICATED", "etcdserver: invalid auth token")
        assert put(client, OWN, ("token", "none")) == invalid


def test_a_gateways_certificate_is_nobodys(certified: Certified) -> None:
    with certified.client("root") as client:
        assert put(client, OWN, ("grpcgateway-accept", "*/*")) == USER_EMPTY


def test_the_json_gateway_looks_at_tokens_alone(certified: Certified) -> None:
    body = {"key": "YXBwLw=="}
    assert _post(certified, "/v3/kv/range", body) == (400, USER_EMPTY.text)
    with certified.client("root") as client:
        ((_, token),) = as_ann(client)
    status, _ = _post(certified, "/v3/kv/range", body, str(token))
    assert status == 200


def _post(
    certified: Certified, path: str, body: dict[str, str], token: str = ""
) -> tuple[int, str]:
    """By HTTP with the certificate of root; the status, and the message of a failure."""
    context = ssl.create_default_context(cafile=str(certified.ca.file))
    pair = certified.pairs["root"]
    context.load_cert_chain(Path(pair.cert), Path(pair.key))
    headers = {"Authorization": token} if token else {}
    request = urllib.request.Request(
        certified.server.url + path, json.dumps(body).encode(), headers=headers
    )
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as reply:
            return reply.status, ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["message"]
