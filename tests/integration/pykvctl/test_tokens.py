"""Commands that last longer than a token: a member forgets all tokens when it is started again."""

import signal
from collections.abc import Iterator

import pytest

from tests.harness import PYKVD, Server, kind_from_environment, running, wait_until
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.runner import run_cli
from tests.integration.pykvctl.test_check import short_load
from tests.integration.pykvctl.test_golden_locks import Live

WAIT_S = 60.0
ROOT = "--user=root:p"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that knows its callers."""
    kind = kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)
    with running(kind, ["--bcrypt-cost=4"]) as started:
        for words in (["user", "add", "root:p"], ["auth", "enable"]):
            assert run_cli(words, environment(started))[2] == 0
        yield started


def restart(server: Server) -> None:
    server.kill()
    server.start()


def put(server: Server, key: str) -> None:
    words = [ROOT, "--command-timeout=10s", "put", key, "v"]
    assert run_cli(words, environment(server)) == (b"OK\n", b"", 0)


def test_a_watch_gets_a_new_token(server: Server) -> None:
    put(server, "k1")
    live = Live([ROOT, "watch", "k", "--prefix", "--rev=1"], environment(server))
    try:
        live.wait_lines(3)
        restart(server)
        put(server, "k2")
        live.wait_lines(6)
    finally:
        live.process.kill()
        assert live.finish().stdout == ["PUT", "k1", "v", "PUT", "k2", "v"]


def test_a_lock_is_kept_and_released_with_a_new_token(server: Server) -> None:
    """Renewals are a stream, the release is a call; both were refused with the old token."""
    live = Live([ROOT, "lock", "--ttl=6", "name"], environment(server))
    try:
        live.wait_lines(2)
        key = live.out.split(b"\n")[0].decode()
        lease = key.rpartition("/")[2]
        restart(server)
        ttl = [ROOT, "--command-timeout=10s", "lease", "timetolive", lease, "-w", "fields"]

        def renewed() -> bool:
            out, _, _ = run_cli(ttl, environment(server))
            return b'"TTL" : 5' in out and b'"GrantedTTL" : 6' in out

        for _ in range(2):
            wait_until(lambda: not renewed(), "some time to pass", WAIT_S, pause=0.1)
            wait_until(renewed, "a renewal", WAIT_S, pause=0.1)
        live.send(signal.SIGINT)
        outcome = live.finish()
        assert outcome.status == 0
        assert run_cli([ROOT, "get", key], environment(server)) == (b"", b"", 0)
    finally:
        if live.process.poll() is None:
            live.process.kill()
            live.finish()


def test_users_and_passwords(server: Server) -> None:
    """All ways to name them, as flags and as variables; a wrong one ends before the command."""
    environ = environment(server)
    put(server, "k")
    found = (b"k\nv\n", b"", 0)
    assert run_cli(["--user=root", "--password=p", "get", "k"], environ) == found
    assert run_cli(["get", "k"], environ | {"ETCDCTL_USER": "root:p"}) == found
    both = {"ETCDCTL_USER": "root", "ETCDCTL_PASSWORD": "p"}
    assert run_cli(["get", "k"], environ | both) == found
    assert run_cli(["--user=root", "get", "k"], environ, b"p\n") == (b"Password: \nk\nv\n", b"", 0)
    for words in (["--user=root:no"], ["--user=nobody:p"], ["--user=root:p", "--password=p"]):
        out, err, status = run_cli([*words, "get", "k"], environ)
        assert (out, status) == (b"", 2)
        text = b"Error: etcdserver: authentication failed, invalid user ID or password\n"
        assert err.endswith(text)
    out, err, status = run_cli(["--password=p", "get", "k"], environ)
    assert (out, status) == (b"", 1)
    assert err.endswith(b"Error: etcdserver: user name is empty\n")


def test_a_load_has_a_token(server: Server) -> None:
    """From a client of its own."""
    assert len(short_load(environment(server) | {"ETCDCTL_USER": "root:p"}).times) == 100
    assert set(short_load(environment(server)).errors) == {"etcdserver: user name is empty"}
