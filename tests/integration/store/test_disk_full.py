"""A disk without room: the store's own library calls that an input/output error; we do not."""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import Client, free_port
from tests.harness.methods import PUT
from tests.harness.wait import wait_until

#: Runs a command with a small disk mounted at a directory, which nobody else sees.
ON_A_SMALL_DISK = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'
#: Runs a command whose files may hold so many blocks of 512 bytes.
WITH_SMALL_FILES = 'ulimit -f "$1" && shift && exec "$@"'

#: A page of the store each, but half a page of the log: the store has no room first.
VALUE_BYTES = 2100


def fill(command: list[str], home: Path) -> str:
    """Start a server by `command`, write until it ends, and return its log."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags = [f"--data-dir={home / 'data'}", f"--listen-client-urls={url}"]
    flags += [f"--advertise-client-urls={url}", "--listen-peer-urls="]
    with (
        (home.parent / "log").open("w+") as log,
        subprocess.Popen([*command, sys.executable, "-m", "pykvd", *flags], stderr=log) as server,
    ):
        try:
            with Client(f"127.0.0.1:{port}") as client:
                wait_until(lambda: put_all(client, server), "the server to end")
            assert server.wait(30) == 1
        finally:
            server.kill()
        log.seek(0)
        return log.read()


def put_all(client: Client, server: subprocess.Popen[bytes]) -> bool:
    """Put some values; whether the server has ended."""
    for number in range(20):
        request = rpc.PutRequest(key=b"%d" % number, value=bytes(VALUE_BYTES))
        with suppress(grpc.RpcError):
            client.call(PUT, request)
    return server.poll() is not None


def in_namespace(script: str, *arguments: str) -> list[str]:
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *arguments]


def test_a_full_disk_is_called_that(tmp_path: Path) -> None:
    home = tmp_path / "disk"
    home.mkdir()
    on_disk = in_namespace(ON_A_SMALL_DISK, "4m", str(home))
    if not shutil.which("unshare") or subprocess.run([*on_disk, "true"], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    # The log is elsewhere: it would find out first.
    log = fill([*on_disk, "env", f"ETCD_WAL_DIR={tmp_path / 'wal'}"], home)
    assert "no space left on device (mdb_" in log


def test_a_limit_of_files_is_called_that(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    log = fill(["sh", "-c", WITH_SMALL_FILES, "sh", "8192"], home)
    assert "file too large (mdb_" in log
