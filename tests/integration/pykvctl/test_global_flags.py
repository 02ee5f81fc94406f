"""Global flags and their variables: endpoints, discovery, time limits, keepalive, users."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PYKVD, Server, free_port, kind_from_environment, running
from tests.harness.certificates import Authority
from tests.harness.name_server import Records, asked_here
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.runner import run_cli

FOUND = (b"k\nv\n", b"", 0)
DEAD = "127.0.0.1:1"


@pytest.fixture(scope="module")
def one() -> Iterator[Server]:
    """A server with a pair, which also listens on a Unix socket where that is ours."""
    with running(kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)) as started:
        assert run_cli(["put", "k", "v"], environment(started))[2] == 0
        yield started


def bare(server: Server) -> dict[str, str]:
    """An environment without endpoints."""
    environ = environment(server)
    del environ["ETCDCTL_ENDPOINTS"]
    return environ


# Endpoints


@pytest.mark.parametrize(
    "form",
    [
        "{0}",
        "http://{0}",
        " {0} ",
        "localhost:{1}",
        ":{1}",
        f"{DEAD},{{0}}",
        f"http://{DEAD},{{0}}",
    ],
)
def test_forms_of_endpoints(one: Server, form: str) -> None:
    """Also with a dead one in front: the next is tried."""
    endpoints = form.format(one.endpoint, one.client_port)
    assert run_cli([f"--endpoints={endpoints}", "get", "k"], bare(one)) == FOUND
    environ = bare(one) | {"ETCDCTL_ENDPOINTS": endpoints}
    assert run_cli(["get", "k"], environ) == FOUND


def test_a_flag_given_twice_appends(one: Server) -> None:
    words = [f"--endpoints={DEAD}", f"--endpoints={one.endpoint}", "get", "k"]
    assert run_cli(words, bare(one)) == FOUND


def test_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running(PYKVD, [f"--listen-client-urls=unix://{path}"]) as server:
        words = [f"--endpoints=unix://{path}", "put", "k", "v"]
        assert run_cli(words, bare(server)) == (b"OK\n", b"", 0)
    out, err, status = run_cli([*words, "--command-timeout=200ms"], bare(server))
    assert (out, status) == (b"", 1)
    assert err.endswith(b"Error: context deadline exceeded\n")


def test_fail_over_while_an_endpoint_hangs(one: Server) -> None:
    """A listener that never answers costs the dial timeout, then the next one is asked."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoints = f"127.0.0.1:{silent.getsockname()[1]},{one.endpoint}"
        words = [f"--endpoints={endpoints}", "--dial-timeout=300ms", "get", "k"]
        assert run_cli(words, bare(one)) == FOUND


# Time limits


def test_the_command_timeout_counts_from_the_start() -> None:
    start = time.monotonic()
    words = [f"--endpoints={DEAD}", "--command-timeout=300ms", "get", "k"]
    out, err, status = run_cli(words, {})
    assert (out, status) == (b"", 1)
    assert err.endswith(b"Error: context deadline exceeded\n")
    assert time.monotonic() - start >= 0.3


def test_keepalive_flags_are_accepted(one: Server) -> None:
    words = ["--keepalive-time=1s", "--keepalive-timeout=1s", "--dial-timeout=1s", "get", "k"]
    assert run_cli(words, environment(one)) == FOUND
    environ = environment(one) | {"ETCDCTL_KEEPALIVE_TIME": "1s", "ETCDCTL_DIAL_TIMEOUT": "odd"}
    assert run_cli(["get", "k"], environ) == FOUND


# Discovery


@pytest.fixture
def names() -> Iterator[Records]:
    """The records of a name server that this process asks."""
    with asked_here() as records:
        yield records


def test_endpoints_from_dns(one: Server, names: Records) -> None:
    """They win over the flag; a dead one is passed over."""
    names["_etcd-client._tcp.cluster.test."] = [
        (20, 0, one.client_port, "localhost."),
        (10, 0, 1, "localhost."),
    ]
    words = ["--discovery-srv=cluster.test", f"--endpoints={DEAD}", "get", "k"]
    assert run_cli(words, bare(one)) == FOUND
    environ = bare(one) | {"ETCDCTL_DISCOVERY_SRV": "cluster.test"}
    assert run_cli(["get", "k"], environ) == FOUND
    out, err, _ = run_cli(["-d", "cluster.test", "endpoint", "status", "-w", "fields"], bare(one))
    assert f'"Endpoint" : "http://localhost:{one.client_port}"'.encode() in out
    assert b"Failed to get the status of endpoint http://localhost:1 (" in err


def test_the_service_name_has_a_suffix(one: Server, names: Records) -> None:
    names["_etcd-client-blue._tcp.cluster.test."] = [(0, 0, one.client_port, "localhost.")]
    words = ["--discovery-srv=cluster.test", "--discovery-srv-name=blue", "get", "k"]
    assert run_cli(words, bare(one)) == FOUND


def test_names_without_records(one: Server, names: Records) -> None:
    names.clear()
    out, err, status = run_cli(["--discovery-srv=cluster.test", "get", "k"], bare(one))
    assert (out, status) == (b"", 1)
    assert err.decode() == (
        "Error: dns lookup errors: lookup _etcd-client-ssl._tcp.cluster.test: no such host "
        "and lookup _etcd-client._tcp.cluster.test: no such host\n"
    )


def test_plain_endpoints_from_dns_can_be_refused(one: Server, names: Records) -> None:
    """Then the flag counts."""
    port = one.client_port
    names["_etcd-client._tcp.cluster.test."] = [(0, 0, port, "localhost.")]
    words = ["--discovery-srv=cluster.test", "--insecure-discovery=false", "get", "k"]
    out, err, status = run_cli([*words, f"--endpoints={one.endpoint}"], bare(one))
    assert (out, status) == (b"k\nv\n", 0)
    text = f'ignoring discovered insecure endpoint "http://localhost:{port}"\n'
    assert err.decode() == text


def test_the_certificate_of_a_discovered_server_names_the_domain(
    names: Records, tmp_path: Path
) -> None:
    """With `--insecure-discovery=false` it is the domain that is verified, not the target."""
    authority = Authority(tmp_path)
    pair = authority.issue("server", hosts=("cluster.test",))
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    flags = [
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--cert-file={pair.cert}",
        f"--key-file={pair.key}",
    ]
    names["_etcd-client-ssl._tcp.cluster.test."] = [(0, 0, port, "localhost.")]
    with running(kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD), flags) as server:
        words = ["-d", "cluster.test", f"--cacert={authority.file}", "--command-timeout=2s"]
        strict = [*words, "--insecure-discovery=false", "put", "k", "v"]
        assert run_cli(strict, bare(server)) == (b"OK\n", b"", 0)
        assert run_cli([*words, "put", "k", "v"], bare(server))[2] == 1
