"""The backend's thread: failures, memory for recent records, closing in the middle of work."""

import asyncio
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from pykvd.mvcc.backend import Backend
from pykvd.mvcc.environment import Environment
from pykvd.mvcc.record import MAIN_SHIFT, key_of, parse
from tests.unit.mvcc.disk import Disk

DEADLINE_S = 60.0


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.remove()


def put(disk: Disk, key: bytes, value: bytes = b"") -> None:
    disk.store.begin()
    disk.store.put(key, value, 0)
    disk.store.end()


def break_data_file(disk: Disk) -> None:
    """Let every descriptor of the data file lead to a device that is always full."""
    data_file = next(disk.directory.glob("*/data.mdb"))
    full = os.open("/dev/full", os.O_RDWR)
    for link in Path("/proc/self/fd").iterdir():
        if link.exists() and link.samefile(data_file):
            os.dup2(full, int(link.name), inheritable=False)
    os.close(full)


def test_a_failed_commit_is_told_once_and_ends_the_writing(disk: Disk) -> None:
    put(disk, b"kept")
    disk.commit()
    done: list[str] = []
    break_data_file(disk)
    put(disk, b"lost", bytes(100_000))
    disk.backend.commit(lambda: done.append("first"))
    behind = disk.loop.create_task(disk.backend.read(lambda _: done.append("a job behind it")))
    disk.run(asyncio.sleep(0))
    disk.close()
    behind.cancel()
    disk.run(asyncio.sleep(0))
    assert len(disk.failures) == 1
    assert done == []
    assert not disk.backend.idle
    disk.failures.clear()
    disk.open()
    assert list(disk.store.index.live) == [b"kept"]


def test_a_failed_read_is_told_to_its_caller_alone(disk: Disk) -> None:
    put(disk, b"k")
    disk.commit()

    def broken(_: Environment) -> None:
        raise ValueError("no good")

    with pytest.raises(ValueError, match="no good"):
        disk.run(disk.backend.read(broken))
    put(disk, b"l")
    disk.commit()
    assert not disk.failures


def test_pending_records_are_counted_until_they_are_committed(disk: Disk) -> None:
    put(disk, b"k", bytes(1000))
    assert disk.backend.pending_records == 1
    assert disk.backend.uncommitted_bytes > 1000
    disk.backend.commit()
    assert disk.backend.pending_records == 0
    assert disk.backend.uncommitted_bytes > 1000
    put(disk, b"l", bytes(1000))
    assert disk.backend.uncommitted_bytes > 2000
    disk.settle()
    assert 1000 < disk.backend.uncommitted_bytes < 2000


def test_sizes_follow_commits_and_shrink_when_defragmented(disk: Disk) -> None:
    for number in range(300):
        put(disk, b"%d" % number, bytes(5000))
    disk.commit()
    full = disk.backend.size
    assert full > 300 * 5000
    assert disk.backend.size_in_use > 300 * 5000
    disk.store.begin()
    for number in range(300):
        disk.store.delete(b"%d" % number)
    disk.store.end()
    disk.store.compact(disk.store.revision)
    for _ in disk.store.sweep(1000):
        pass
    disk.commit()
    assert disk.backend.size_in_use < full / 10
    assert disk.backend.size >= full
    disk.run(disk.backend.defragment())
    assert disk.backend.size < full / 10


def test_history_is_whole_at_every_stage_of_a_commit() -> None:
    """In memory only, under way, in the file, and out of memory again."""
    disk = Disk(recent_bytes=0)
    try:
        keys = [b"%d" % number for number in range(6)]
        for key in keys[:2]:
            put(disk, key)
        disk.commit()
        for key in keys[2:4]:
            put(disk, key)
        disk.backend.commit()
        for key in keys[4:]:
            put(disk, key)
        assert not disk.backend.idle
        for first in range(2, 9):
            for limit in range(1, 8):
                records = disk.backend.since(first << MAIN_SHIFT, limit)
                assert [key_of(framed) for _, framed in records] == keys[first - 2 :][:limit]
    finally:
        disk.remove()


def test_a_removal_does_not_reach_into_the_commit_under_way(disk: Disk) -> None:
    """The file is the exact state at its applied index, and the compaction is not part of it."""
    store, backend = disk.store, disk.backend
    put(disk, b"k", b"1")
    gate = threading.Event()
    waiting = disk.loop.create_task(backend.read(lambda _: gate.wait(DEADLINE_S)))
    disk.run(asyncio.sleep(0))
    backend.commit()
    put(disk, b"k", b"2")
    store.compact(3)
    for _ in store.sweep(10):
        pass
    gate.set()

    async def released() -> None:
        await waiting

    disk.run(released())
    disk.settle()
    disk.close()
    disk.open()
    assert disk.store.revision == 2
    found = disk.store.get(b"k")
    assert found
    assert parse(found).value == b"1"


def test_memory_for_recent_records_is_bounded() -> None:
    disk = Disk(recent_bytes=10_000)
    try:
        for number in range(100):
            put(disk, b"%d" % number, bytes(1000))
            disk.commit()
        assert len(disk.backend._recent) < 12
        records = disk.backend.since(0, 1000)
        assert [number for number, _ in records] == sorted(number for number, _ in records)
        assert len(records) == 100
    finally:
        disk.remove()


def test_a_copy_is_the_state_at_its_start(disk: Disk) -> None:
    put(disk, b"before")
    disk.commit()

    async def copy() -> None:
        copying = asyncio.ensure_future(disk.backend.copy(disk.directory / "copy"))
        await asyncio.sleep(0)
        put(disk, b"after")
        disk.backend.commit()
        await copying

    disk.run(copy())
    disk.settle()
    environment = Environment(disk.directory / "copy")
    assert [framed[4:10] for _, framed in environment.scan(0, 1 << 95)] == [b"before"]
    environment.close()
    assert len(disk.backend.since(0, 10)) == 2


def test_closing_while_a_defragmentation_waits_for_its_switch(disk: Disk) -> None:
    """The loop that would run the switch is the one that closes: neither may wait for the other."""
    put(disk, b"k")
    disk.commit()
    posted = threading.Event()
    environment = Environment.open_latest(disk.directory / "other", sync=False)
    backend = Backend(environment, post=lambda _: posted.set(), on_failure=disk.failures.append)

    async def defragment() -> None:
        task = asyncio.ensure_future(backend.defragment())
        await asyncio.sleep(0)
        assert posted.wait(DEADLINE_S)
        closing = threading.Thread(target=backend.close, daemon=True)
        closing.start()
        closing.join(DEADLINE_S)
        assert not closing.is_alive()
        task.cancel()

    disk.run(defragment())
    assert [path.name for path in (disk.directory / "other").iterdir()] == ["1"]
    assert not disk.failures


def test_a_successor_that_cannot_be_opened_is_removed(tmp_path: Path) -> None:
    """Or it would be taken for the newest at the next start."""
    environment = Environment.open_latest(tmp_path, sync=False)
    environment.write([(1, b"kept")], [], {})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for free in range(1, 12):
        # Each round gets one step further before it runs out of descriptors.
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + free, hard))
        try:
            successor = environment.successor(environment.copy_to)
        except (OSError, lmdb.Error):
            assert [path.name for path in tmp_path.iterdir() if path.name.isdecimal()] == ["1"]
        else:
            assert free > 3
            successor.close()
            break
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    else:
        pytest.fail("never enough descriptors")
    environment.close()


def test_a_defragmentation_that_fails_leaves_the_old_file(disk: Disk) -> None:
    put(disk, b"k")
    disk.commit()
    # A file where the copy wants its directory, as a full disk would stop it.
    (disk.directory / "2.tmp").write_bytes(b"")
    with pytest.raises(OSError, match=r"2\.tmp"):
        disk.run(disk.backend.defragment())
    put(disk, b"l")
    disk.commit()
    assert not disk.failures
    (disk.directory / "2.tmp").unlink()
    disk.run(disk.backend.defragment())
    disk.close()
    disk.open()
    assert sorted(disk.store.index.live) == [b"k", b"l"]
