"""Debian's etcdctl against the server: every command that a single node without auth can serve."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Server, wait_until

ETCDCTL = shutil.which("etcdctl")
pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(ETCDCTL is None, reason="etcdctl not installed (Debian: etcd-client)"),
]
TIMEOUT = 60.0
ENVIRONMENT = {**os.environ, "ETCDCTL_API": "3"}


class Etcdctl:
    """Runs etcdctl commands against one server."""

    def __init__(self, server: Server) -> None:
        self.prefix = [ETCDCTL or "etcdctl", f"--endpoints={server.endpoint}"]

    def run(self, *arguments: str, stdin: str = "", status: int = 0) -> str:
        """Standard output of a command that must end with this status."""
        done = subprocess.run(
            [*self.prefix, *arguments],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env=ENVIRONMENT,
        )
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def json(self, *arguments: str) -> Any:
        """The parsed output of a command with `-w json`."""
        return json.loads(self.run(*arguments, "-w", "json"))


@pytest.fixture
def ctl(server: Server) -> Etcdctl:
    return Etcdctl(server)


@pytest.fixture
def followed(server: Server, tmp_path: Path) -> Iterator[Path]:
    """The output of an `etcdctl watch` of prefix `w/`, all history included."""
    command = [ETCDCTL or "etcdctl", f"--endpoints={server.endpoint}"]
    command += ["watch", "--prefix", "w/", "--prev-kv", "--rev=1"]
    output = tmp_path / "watch.out"
    with output.open("wb") as file, subprocess.Popen(command, stdout=file, env=ENVIRONMENT) as run:
        yield output
        run.kill()


def test_put_get_del(ctl: Etcdctl) -> None:
    assert ctl.run("put", "a", "1") == "OK\n"
    assert ctl.run("put", "b", "2") == "OK\n"
    assert ctl.run("put", "a", "3", "--prev-kv") == "OK\na\n1\n"
    assert ctl.run("get", "a") == "a\n3\n"
    assert ctl.run("get", "", "--from-key", "--keys-only") == "a\n\nb\n\n"
    assert ctl.run("get", "a", "--rev=2", "--print-value-only") == "1\n"
    assert ctl.json("get", "a")["header"]["revision"] == 4
    assert ctl.run("del", "", "--from-key") == "2\n"
    assert "key is not provided" in ctl.run("put", "", "x", status=1)
    assert "future revision" in ctl.run("get", "a", "--rev=99", status=1)


def test_transactions(ctl: Etcdctl) -> None:
    script = 'create("t") = "0"\n\nput t new\n\nget t\n\n'
    assert ctl.run("txn", stdin=script) == "SUCCESS\n\nOK\n"
    assert ctl.run("txn", stdin=script) == "FAILURE\n\nt\nnew\n"


def test_watch(ctl: Etcdctl, followed: Path) -> None:
    ctl.run("put", "w/1", "v")
    ctl.run("put", "other", "v")
    ctl.run("del", "w/1")
    expected = "PUT\nw/1\nv\nDELETE\nw/1\nv\nw/1\n\n"
    wait_until(lambda: len(followed.read_text()) >= len(expected), "two events")
    assert followed.read_text() == expected


def test_leases(ctl: Etcdctl) -> None:
    lease = ctl.run("lease", "grant", "60").split()[1]
    ctl.run("put", "l", "v", f"--lease={lease}")
    assert f"lease {lease} granted with TTL(60s)" in ctl.run("lease", "timetolive", lease)
    assert "attached keys([l])" in ctl.run("lease", "timetolive", lease, "--keys")
    assert lease in ctl.run("lease", "list")
    assert "keepalived with TTL(60)" in ctl.run("lease", "keep-alive", "--once", lease)
    assert ctl.run("lease", "revoke", lease) == f"lease {lease} revoked\n"
    assert ctl.run("get", "l") == ""
    assert "already expired" in ctl.run("lease", "timetolive", lease)


def test_maintenance(ctl: Etcdctl, tmp_path: Path) -> None:
    for number in range(20):
        ctl.run("put", "m", str(number))
    assert ctl.run("compaction", "10", "--physical") == "compacted revision 10\n"
    assert "has been compacted" in ctl.run("get", "m", "--rev=5", status=1)
    assert ctl.run("defrag").startswith("Finished defragmenting")
    [health] = ctl.json("endpoint", "health")
    assert health["health"] is True
    [status] = ctl.json("endpoint", "status")
    assert status["Status"]["leader"] == status["Status"]["header"]["member_id"]
    [hashed] = ctl.json("endpoint", "hashkv")
    assert hashed["HashKV"]["compact_revision"] == 10
    saved = tmp_path / "snapshot.db"
    ctl.run("snapshot", "save", str(saved))
    assert saved.stat().st_size % 512 == 32


def test_alarms(ctl: Etcdctl) -> None:
    assert ctl.run("alarm", "list") == ""
    assert ctl.run("alarm", "disarm") == ""


def test_members(ctl: Etcdctl, server: Server) -> None:
    [member] = ctl.json("member", "list")["members"]
    assert member["name"] == "default"
    assert member["clientURLs"] == [server.url]
    assert member["peerURLs"] == [f"http://127.0.0.1:{server.peer_port}"]


def test_locks_and_elections(ctl: Etcdctl) -> None:
    assert ctl.run("lock", "name", "echo", "held") == "held\n"
