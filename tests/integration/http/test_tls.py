"""HTTP on a TLS port: curl with either version, certificates, long and large bodies."""

import base64
import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.harness.certificates import CLIENT, Authority
from tests.integration.tls.processes import SecureServer, key_flags, secure

VERSIONS = ("--http1.1", "--http2")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def server(ca: Authority) -> Iterator[SecureServer]:
    with secure(*key_flags(ca.issue("server")), "--host-whitelist=never.example") as server:
        yield server


def curl(server: SecureServer, ca: Authority, path: str, *flags: str, body: bytes = b"") -> str:
    command = ["curl", "-sS", "-m", "20", "--cacert", str(ca.file), *flags]
    run = subprocess.run(
        [*command, f"{server.url}{path}"], input=body, capture_output=True, timeout=30, check=False
    )
    assert run.returncode in {0, 28}, run.stderr
    return run.stdout.decode()


@pytest.mark.parametrize("version", VERSIONS)
def test_endpoints(server: SecureServer, ca: Authority, version: str) -> None:
    answer = curl(server, ca, "/health", version, "-i")
    protocol = "HTTP/2" if version == "--http2" else "HTTP/1.1"
    assert answer.startswith(f"{protocol} 200")
    assert "access-control-allow-origin: *" in answer.lower()
    assert answer.endswith('{"health":"true","reason":""}')
    assert "etcd_server_has_leader 1" in curl(server, ca, "/metrics", version)
    assert curl(server, ca, "/nope", version) == "404 page not found\n"
    redirected = curl(server, ca, "//version", version, "-L", "--path-as-is")
    assert json.loads(redirected)["etcdserver"]
    assert curl(server, ca, "/version", version, "-I").split()[1] == "405"
    assert curl(server, ca, "/x", version, "-X", "OPTIONS", "-i").split()[1] == "200"


@pytest.mark.parametrize("version", VERSIONS)
def test_gateway(server: SecureServer, ca: Authority, version: str) -> None:
    value = base64.b64encode(bytes(600_000)).decode()
    put = json.dumps({"key": "dGxz", "value": value}).encode()
    answer = curl(server, ca, "/v3/kv/put", version, "-d", "@-", body=put)
    assert json.loads(answer)["header"]["revision"]
    found = curl(server, ca, "/v3/kv/range", version, "-d", '{"key":"dGxz"}')
    assert json.loads(found)["kvs"][0]["value"] == value
    refused = curl(server, ca, "/v3/kv/put", version, "-d", "{}", "-i")
    assert refused.split()[1] == "400"
    assert "key is not provided" in refused
    huge = json.dumps({"key": "dGxz", "value": value * 8}).encode()
    refused = curl(server, ca, "/v3/kv/put", version, "-d", "@-", "-i", body=huge)
    assert " 429" in refused


@pytest.mark.parametrize("version", VERSIONS)
def test_streams(server: SecureServer, ca: Authority, version: str) -> None:
    lease = json.loads(curl(server, ca, "/v3/lease/grant", version, "-d", '{"TTL":100}'))["ID"]
    kept = curl(server, ca, "/v3/lease/keepalive", version, "-d", json.dumps({"ID": lease}))
    assert json.loads(kept)["result"]["TTL"] == "100"
    watched = curl(
        server, ca, "/v3/watch", version, "-N", "-m", "1", "-d", '{"create_request":{"key":"dw=="}}'
    )
    assert json.loads(watched)["result"]["created"] is True
    lines = curl(server, ca, "/v3/maintenance/snapshot", version, "-d", "").splitlines()
    assert len(base64.b64decode(json.loads(lines[-1])["result"]["blob"])) == 32


@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificates(ca: Authority, version: str) -> None:
    pair = ca.issue(f"alice{version}", usages=(CLIENT,))
    flags = [*key_flags(ca.issue(f"server{version}")), "--client-cert-auth"]
    with secure(*flags, f"--trusted-ca-file={ca.file}") as server:
        shown = ["--cert", str(pair.cert), "--key", str(pair.key)]
        assert json.loads(curl(server, ca, "/health", version, *shown))["health"] == "true"
