"""Programs in Go meet ours: `etcdctl lock` and `etcdctl elect` are etcd's own recipes."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.client import Client
    from tests.harness import Server

ETCDCTL = shutil.which("etcdctl")
pytestmark = pytest.mark.skipif(ETCDCTL is None, reason="etcdctl is not installed")


class Etcdctl:
    """Starts `etcdctl` and ends what still runs."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._started: list[subprocess.Popen[str]] = []

    def __call__(self, *words: str) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            ["etcdctl", f"--endpoints={self._server.endpoint}", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
        self._started.append(started)
        return started

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def etcdctl(server: Server) -> Iterator[Etcdctl]:
    etcdctl = Etcdctl(server)
    yield etcdctl
    etcdctl.close()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_lock_held_in_go(client: Client, etcdctl: Etcdctl, name: str) -> None:
    name = name.replace("/", "")
    holder = etcdctl("lock", name)
    key = line(holder).encode()
    assert key.startswith(f"{name}/".encode())
    lock = client.lock(name)
    assert not lock.acquire(timeout=0.3)
    assert not lock.acquire(blocking=False)
    with ThreadPoolExecutor(1) as pool:
        acquired = pool.submit(lock.acquire)
        wait_until(lambda: client.count(f"{name}/", prefix=True) == 2, "our key")
        holder.terminate()
        assert acquired.result(30)
    assert client.get(key) is None
    lock.release()


def test_a_lock_held_in_python(client: Client, etcdctl: Etcdctl, name: str) -> None:
    name = name.replace("/", "")
    with client.lock(name) as lock:
        waiting = etcdctl("lock", name, "echo", "held")
        wait_until(lambda: client.count(f"{name}/", prefix=True) == 2, "the key of etcdctl")
        assert waiting.poll() is None
        assert lock.lease is not None
        assert lock.key == f"{name}/{lock.lease.id:x}".encode()
    out, _ = waiting.communicate(timeout=30)
    assert out.strip() == "held"
    assert client.count(f"{name}/", prefix=True) == 0


def test_an_election_won_in_go(client: Client, etcdctl: Etcdctl, name: str) -> None:
    name = name.replace("/", "")
    go = etcdctl("elect", name, "from go")
    assert line(go).startswith(f"{name}/")
    assert line(go) == "from go"
    election = client.election(name)
    assert election.leader().value == b"from go"
    assert not election.campaign("from python", timeout=0.3)
    with ThreadPoolExecutor(1) as pool:
        elected = pool.submit(election.campaign, "from python")
        wait_until(lambda: client.count(f"{name}/", prefix=True) == 2, "our key")
        go.terminate()
        assert elected.result(30)
    assert election.leader().value == b"from python"
    election.resign()


def test_an_election_observed_in_go(client: Client, etcdctl: Etcdctl, name: str) -> None:
    name = name.replace("/", "")
    election = client.election(name)
    assert election.campaign("one")
    observer = etcdctl("elect", "--listen", name)
    assert line(observer).encode() == election.key
    assert line(observer) == "one"
    election.proclaim("two")
    assert line(observer).encode() == election.key
    assert line(observer) == "two"
    election.resign()
