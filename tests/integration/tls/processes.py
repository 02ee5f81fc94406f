"""Server processes with TLS: one for clients, or three whose members verify each other."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import pytest

from pykvd.pb import rpc_pb2
from tests.harness import PYKVD, Server
from tests.harness.methods import PUT, RANGE
from tests.harness.server import memory_directory
from tests.integration.cluster.cluster import QUICK, Cluster, Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.harness import Kind
    from tests.harness.certificates import Authority, Pair

TIMEOUT = 60.0


class SecureServer(Server):
    """One process that serves clients over TLS."""

    @property
    def url(self) -> str:
        return f"https://{self.endpoint}"


@contextlib.contextmanager
def secure(*flags: str, kind: Kind = PYKVD) -> Iterator[SecureServer]:
    """A ready server with these flags."""
    with memory_directory() as home:
        server = SecureServer(kind, home, flags)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def key_flags(pair: Pair, prefix: str = "") -> list[str]:
    """--cert-file and --key-file."""
    return [f"--{prefix}cert-file={pair.cert}", f"--{prefix}key-file={pair.key}"]


def put_and_get(endpoint: str, ca: Authority, pair: Pair | None = None) -> bytes:
    """By grpcio; raises `grpc.RpcError`."""
    key, cert = (pair.key.read_bytes(), pair.cert.read_bytes()) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(ca.file.read_bytes(), key, cert)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(endpoint, credentials, options) as channel:
        put = channel.unary_unary(PUT.path, PUT.request.SerializeToString, PUT.reply.FromString)
        put(rpc_pb2.PutRequest(key=b"a", value=b"b"), timeout=TIMEOUT)
        get = channel.unary_unary(
            RANGE.path, RANGE.request.SerializeToString, RANGE.reply.FromString
        )
        value: bytes = get(rpc_pb2.RangeRequest(key=b"a"), timeout=TIMEOUT).kvs[0].value
        return value


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A client's command line, with nothing from the environment in its way."""
    if command[0] == "pykvctl":
        command = (sys.executable, "-m", *command)
    elif shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    environment = {key: text for key, text in os.environ.items() if key[:4] != "ETCD"}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env=environment | ({"ETCDCTL_API": "3"} if command[0] == "etcdctl" else {}),
    )
    assert not check or done.returncode == 0, f"{done.returncode}: {done.stderr}"
    return done


class SecureMember(Member):
    """A member whose peers come over TLS; clients are plain."""

    @property
    def peer_url(self) -> str:
        return f"https://127.0.0.1:{self.peer_port}"


class SecureCluster(Cluster):
    """Members with flags of their own."""

    def __init__(
        self, home: Path, names: Sequence[str], flags_of: Callable[[str], Sequence[str]]
    ) -> None:
        self.flags_of = flags_of
        super().__init__(home, names, QUICK)

    def make_member(self, name: str) -> SecureMember:
        return SecureMember(name, self.home / name, [*self.flags, *self.flags_of(name)])


@contextlib.contextmanager
def secure_cluster(
    flags_of: Callable[[str], Sequence[str]], names: Sequence[str] = ("n1", "n2", "n3")
) -> Iterator[SecureCluster]:
    """A cluster that is not started yet."""
    with memory_directory() as home:
        cluster = SecureCluster(home, names, flags_of)
        try:
            yield cluster
        finally:
            for member in cluster:
                member.kill()
