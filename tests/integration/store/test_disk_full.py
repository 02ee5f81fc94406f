"""A disk without room: the store's own library calls that an input/output error; we do not."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import grpc
import pytest

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import Client, Failure, free_port
from tests.harness.methods import DEFRAGMENT, HASH, PUT
from tests.harness.wait import wait_until

#: Runs a command with a small disk mounted at a directory, which nobody else sees.
ON_A_SMALL_DISK = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'
#: Runs a command whose files may hold so many blocks of 512 bytes.
WITH_SMALL_FILES = 'ulimit -f "$1" && shift && exec "$@"'

#: A page of the store each, but half a page of the log: the store has no room first.
VALUE_BYTES = 2100


class Started:
    """A server that was started by `command`, with its data in `home`."""

    def __init__(self, command: list[str], home: Path) -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        flags = [f"--data-dir={home / 'data'}", f"--listen-client-urls={url}"]
        flags += [f"--advertise-client-urls={url}", "--listen-peer-urls="]
        self._log = home.parent / "log"
        with self._log.open("w") as log:
            command = [*command, sys.executable, "-m", "pykvd", *flags]
            self.process = subprocess.Popen(command, stderr=log)
        self.client = Client(f"127.0.0.1:{port}")
        self._written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def put(self, count: int) -> None:
        """Put values until this many are written, or the server has ended."""
        goal = self._written + count

        def written() -> bool:
            request = rpc.PutRequest(key=b"%d" % self._written, value=bytes(VALUE_BYTES))
            self._written += not isinstance(self.client.attempt(PUT, request), Failure)
            return self._written == goal or self.process.poll() is not None

        wait_until(written, "the values to be written")

    def fill(self) -> None:
        """Write until the server has ended."""
        self.put(1 << 20)
        assert self.process.wait(30) == 1


def in_namespace(script: str, *arguments: str) -> list[str]:
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *arguments]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Started]:
    """A server on a disk of 4 MiB. Its log is elsewhere: it would find out first."""
    home = tmp_path / "disk"
    home.mkdir()
    on_disk = in_namespace(ON_A_SMALL_DISK, "4m", str(home))
    if not shutil.which("unshare") or subprocess.run([*on_disk, "true"], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    with Started([*on_disk, "env", f"ETCD_WAL_DIR={tmp_path / 'wal'}"], home) as server:
        yield server


def test_a_full_disk_is_called_that(small: Started) -> None:
    small.fill()
    assert "no space left on device (mdb_" in small.log


def test_a_limit_of_files_is_called_that(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with Started(["sh", "-c", WITH_SMALL_FILES, "sh", "8192"], home) as server:
        server.fill()
        assert "file too large (mdb_" in server.log


def test_a_copy_that_finds_no_room_is_refused_and_leaves_the_room_to_others(small: Started) -> None:
    small.put(600)
    for _ in range(2):
        refused = small.client.attempt(DEFRAGMENT)
        assert isinstance(refused, Failure)
        assert refused.code == "UNKNOWN"
        assert refused.text.startswith("failed to defragment: ")
        assert refused.text.lower().endswith("no space left on device")
        small.put(10)
        # What was put is in the file now.
        assert not isinstance(small.client.attempt(HASH), Failure)
    with pytest.raises(grpc.RpcError, match=r"failed to snapshot: .*o space left on device"):
        list(small.client.snapshot())
    small.put(100)
    assert not isinstance(small.client.attempt(HASH), Failure)
    assert "Traceback" not in small.log
