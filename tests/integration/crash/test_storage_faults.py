"""A real server on a log that is torn or damaged, on a directory in use, and on a full disk."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from pykvd.pb import rpc_pb2
from pykvd.wal import Entry, Record
from pykvd.wal.record import FrameEncoder
from pykvd.wal.segment import SegmentReader
from tests.harness import PYKVD, Client
from tests.harness.methods import DEFRAGMENT, PUT, RANGE
from tests.harness.server import memory_directory
from tests.integration.crash.campaign import CrashServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EXIT_TIMEOUT_S = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CrashServer]:
    """A server on a real disk, not started yet."""
    made = CrashServer(PYKVD, tmp_path)
    yield made
    made.kill()


def put(client: Client, number: int, size: int = 10) -> None:
    """Put one key; the value has `size` bytes."""
    request = rpc_pb2.PutRequest(key=b"key/%06d" % number, value=b"v" * size)
    client.call(PUT, request)


def keys_held(server: CrashServer) -> int:
    """How many of the keys that `put` made are there."""
    request = rpc_pb2.RangeRequest(key=b"key/", range_end=b"key0", count_only=True)
    with Client(server.endpoint) as client:
        return int(client.call(RANGE, request).count)


def fill(server: CrashServer, count: int) -> None:
    """Put keys 1..count."""
    with Client(server.endpoint) as client:
        for number in range(1, count + 1):
            put(client, number)


def segment(server: CrashServer) -> tuple[Path, SegmentReader, list[tuple[int, Record]]]:
    """The log's only file, its reader at the end, and its records with their offsets."""
    (path,) = (server.data / "member" / "wal").glob("*.wal")
    reader = SegmentReader(path.read_bytes())
    reader.read_head()
    return path, reader, list(reader.records())


def cuts_reported(server: CrashServer) -> list[dict[str, Any]]:
    """The log lines that tell of a tail that was cut."""
    return [line for line in server.log() if "torn tail" in line["msg"]]


def exit_of(server: CrashServer) -> tuple[int, dict[str, Any]]:
    """Exit status of a server that gives up by itself, and its last log line."""
    assert server.process is not None
    try:
        status = server.process.wait(EXIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it goes on: {server.log()[-5:]}") from None
    return status, server.log()[-1]


def write_at(path: Path, offset: int, data: bytes) -> None:
    """Overwrite a part of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_torn_tail_is_cut_and_reported(server: CrashServer) -> None:
    server.start()
    fill(server, 20)
    server.kill()
    path, reader, records = segment(server)
    last = max(record.index for _, record in records if isinstance(record, Entry))
    buffers: list[bytes] = []
    encoder = FrameEncoder(reader.seed, reader.chain)
    encoder.encode(Entry(1, last + 1, 0, bytes(range(200))), reader.end, buffers)
    write_at(path, reader.end, b"".join(buffers)[:100])

    server.start()
    (line,) = cuts_reported(server)
    assert line["level"] == "warn"
    assert f"{path} at byte {reader.end}" in str(line)
    assert keys_held(server) == 20
    fill(server, 30)
    server.kill()
    server.start()
    assert cuts_reported(server) == []
    assert keys_held(server) == 30


def test_damage_before_the_tail_is_refused_and_left_as_it_is(server: CrashServer) -> None:
    server.start()
    fill(server, 20)
    server.kill()
    path, _, records = segment(server)
    content = path.read_bytes()
    offset = records[len(records) // 2][0]
    flipped = bytes([content[offset + 30] ^ 0x10])
    write_at(path, offset + 30, flipped)

    server.spawn()
    status, line = exit_of(server)
    assert status == 1
    assert line["level"] == "fatal"
    assert f"{path} at byte {offset}: the checksum does not match" in line["error"]
    assert "pykvctl snapshot restore" in line["error"]
    assert path.read_bytes()[offset + 30 :] == flipped + content[offset + 31 :]

    write_at(path, offset + 30, content[offset + 30 : offset + 31])
    server.start()
    assert keys_held(server) == 20


def test_a_second_process_is_refused_in_one_line(server: CrashServer, tmp_path: Path) -> None:
    server.start()
    fill(server, 1)
    command = [*PYKVD.command, f"--data-dir={server.data}"]
    command += ["--listen-client-urls=http://127.0.0.1:0", "--listen-peer-urls=http://127.0.0.1:0"]
    command += ["--advertise-client-urls=http://127.0.0.1:1"]
    second = subprocess.run(
        command, capture_output=True, text=True, timeout=EXIT_TIMEOUT_S, check=False
    )
    assert second.returncode == 1
    (complaint,) = (line for line in second.stderr.splitlines() if "in use" in line)
    assert "data directory is in use by another process" in complaint
    assert f"{server.data}/member/LOCK" in complaint
    assert "Traceback" not in second.stderr
    assert keys_held(server) == 1


def put_until_refused(server: CrashServer, size: int = 20_000) -> int:
    """Put values until one fails; returns how many were acknowledged."""
    with Client(server.endpoint) as client:
        for number in range(1, 10_000):
            try:
                put(client, number, size)
            except grpc.RpcError:
                return number - 1
    raise AssertionError("the disk is never full")


def check_full_disk(server: CrashServer, make_room: Callable[[], None]) -> None:
    """Writes stop, the process says why and ends; with room again, all is there."""
    acknowledged = put_until_refused(server)
    assert acknowledged > 50
    status, line = exit_of(server)
    assert status == 1
    assert line["level"] == "fatal"
    make_room()
    server.start()
    assert acknowledged <= keys_held(server) <= acknowledged + 1
    fill(server, acknowledged + 10)
    assert keys_held(server) == acknowledged + 10


def test_a_file_size_limit_stops_writes_and_loses_none(server: CrashServer) -> None:
    server.start()
    limit = 4 << 20
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, limit))
    check_full_disk(server, lambda: None)


def test_a_full_disk_stops_writes_and_loses_none(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "12m") as disk:
        server = CrashServer(PYKVD, disk)
        try:
            server.start()
            check_full_disk(server, lambda: mount(disk, "remount,size=64m"))
        finally:
            server.kill()


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A tmpfs of that size; skips the test where it cannot be mounted."""
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    try:
        mount(path, f"size={size}")
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def mount(path: Path, options: str) -> None:
    """Mount a tmpfs, or change one."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True, capture_output=True
    )


@pytest.fixture
def server_in_memory() -> Iterator[CrashServer]:
    """The same where a sync costs nothing."""
    with memory_directory() as home:
        made = CrashServer(PYKVD, home)
        yield made
        made.kill()


def test_14685_a_kill_in_the_middle_of_a_defragmentation_loses_nothing(
    server_in_memory: CrashServer,
) -> None:
    """Kills come after random times; etcd-io/etcd names the issue."""
    server = server_in_memory
    rng, count, large = random.Random(14685), 0, 200_000
    server.start()
    for _ in range(8):
        with Client(server.endpoint) as client:
            for _ in range(20):
                count += 1
                put(client, count, large)
            asking = threading.Thread(target=client.attempt, args=(DEFRAGMENT,))
            asking.start()
            # Up to the time that copying takes here, and a little more.
            asking.join(rng.uniform(0, 0.1))
            server.kill()
            asking.join()
        server.start()
        assert keys_held(server) == count
    directories = [path.name for path in (server.data / "member" / "db").iterdir()]
    assert len(directories) == 1
