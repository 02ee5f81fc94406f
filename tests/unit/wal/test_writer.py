"""The writer's thread: order, group commit, failure, end."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from pykvd.wal import Record, Snapshot, Wal, WalDiskFull, WalFailed, WalWriter
from pykvd.wal.memory_filesystem import MemoryFileSystem
from pykvd.wal.writer import QUICK_S
from tests.unit.wal.support import DIRECTORY, create, entries

if TYPE_CHECKING:
    from collections.abc import Sequence

DEADLINE_S = 60


class GatedFileSystem(MemoryFileSystem):
    """A disk whose durable writes wait until they are let through, and are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.commits = 0

    def pwritev(
        self, fd: int, buffers: Sequence[bytes], offset: int, *, durable: bool = False
    ) -> int:
        if durable:
            self.entered.release()
            assert self.gate.acquire(timeout=DEADLINE_S)
            self.commits += 1
        return super().pwritev(fd, buffers, offset, durable=durable)


def no_failure(error: BaseException) -> None:
    """Stands where none is expected."""
    raise AssertionError from error


def test_what_queues_up_behind_a_sync_shares_the_next_one() -> None:
    files = GatedFileSystem()
    writer = WalWriter(create(files), no_failure)
    order: list[int] = []
    finished = threading.Event()
    writer.submit(entries(1, 1), lambda: order.append(1))
    assert files.entered.acquire(timeout=DEADLINE_S)
    for index in range(2, 11):
        writer.submit(entries(index, index), lambda index=index: order.append(index))  # type: ignore[misc]
    writer.submit([], finished.set)
    assert order == [], "nothing is reported before its sync"
    files.gate.release(2)
    assert finished.wait(DEADLINE_S)
    assert order == list(range(1, 11))
    assert files.commits == 2
    writer.stop()
    assert Wal.open(DIRECTORY, filesystem=files)[1].entries == entries(1, 10)


def test_submissions_of_many_threads_all_arrive() -> None:
    files = MemoryFileSystem()
    writer = WalWriter(create(files), no_failure)
    lock = threading.Lock()
    next_index = iter(range(1, 1000))
    done = threading.Semaphore(0)

    def submit_some() -> None:
        for _ in range(50):
            with lock:
                index = next(next_index)
                writer.submit(entries(index, index), done.release)

    threads = [threading.Thread(target=submit_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.stop()
    assert all(done.acquire(blocking=False) for _ in range(200))
    assert Wal.open(DIRECTORY, filesystem=files)[1].last_index == 200


@pytest.mark.parametrize(("operation", "kind"), [("fdatasync", WalFailed), ("pwritev", WalFailed)])
def test_after_a_failure_nothing_is_reported_done(operation: str, kind: type[WalFailed]) -> None:
    files = MemoryFileSystem()
    failures: list[BaseException] = []
    done: list[int] = []
    writer = WalWriter(create(files), failures.append)
    first = threading.Event()
    writer.submit(entries(1, 1), first.set)
    assert first.wait(DEADLINE_S)
    files.fail_next(operation)
    writer.submit(entries(2, 2), lambda: done.append(2))
    writer.submit(entries(3, 3), lambda: done.append(3))
    writer.release(1)
    writer.stop()
    writer.submit(entries(4, 4), lambda: done.append(4))
    writer.stop()
    assert done == []
    assert [type(error) for error in failures] == [kind]


def test_a_full_disk_is_told_apart() -> None:
    files = MemoryFileSystem(capacity_bytes=(1 << 20) + 100)
    failures: list[BaseException] = []
    done: list[int] = []
    writer = WalWriter(create(files, segment_bytes=1 << 24), failures.append)
    for index in range(1, 30):
        batch: list[Record] = entries(index, index, size=100_000)
        writer.submit(batch, lambda index=index: done.append(index))  # type: ignore[misc]
    writer.stop()
    assert [type(error) for error in failures] == [WalDiskFull]
    assert Wal.open(DIRECTORY, filesystem=files)[1].last_index >= len(done)


def test_releases_happen_after_what_was_submitted_before() -> None:
    files = MemoryFileSystem()
    writer = WalWriter(create(files, segment_bytes=500), no_failure)
    for index in range(1, 21):
        writer.submit(entries(index, index, size=100), lambda: None)
    writer.submit([Snapshot(20, 1)], lambda: None)
    writer.release(20)
    writer.stop()
    names = files.list_dir(DIRECTORY)
    assert 1 <= len(names) <= 2


def test_a_lone_batch_may_be_committed_by_its_caller() -> None:
    files = MemoryFileSystem()
    writer = WalWriter(create(files), no_failure)
    assert writer.commit_now(entries(1, 2))
    files.crash(random.Random(0))
    _, replay = Wal.open(DIRECTORY, filesystem=files)
    assert [entry.index for entry in replay.entries] == [1, 2]


def test_nobody_commits_beside_the_thread() -> None:
    files = GatedFileSystem()
    files.gate.release(100)
    wal = create(files)
    files.gate, files.entered = threading.Semaphore(0), threading.Semaphore(0)
    writer = WalWriter(wal, no_failure)
    done = threading.Event()
    writer.submit(entries(1, 1), done.set)
    assert files.entered.acquire(timeout=DEADLINE_S)
    assert not writer.commit_now(entries(2, 2))
    files.gate.release(100)
    assert done.wait(DEADLINE_S)
    writer.stop()


def test_a_caller_does_not_wait_for_a_slow_disk() -> None:
    class SlowFileSystem(MemoryFileSystem):
        def pwritev(
            self, fd: int, buffers: Sequence[bytes], offset: int, *, durable: bool = False
        ) -> int:
            if durable:
                threading.Event().wait(2 * QUICK_S)
            return super().pwritev(fd, buffers, offset, durable=durable)

    writer = WalWriter(create(SlowFileSystem()), no_failure)
    for index in range(1, 100):
        if not writer.commit_now(entries(index, index)):
            break
    else:
        pytest.fail("still waits")
    done = threading.Event()
    writer.submit(entries(index, index), done.set)
    assert done.wait(DEADLINE_S)
    writer.stop()


def test_a_failed_commit_of_the_caller_is_reported_by_the_thread() -> None:
    files = MemoryFileSystem()
    failures: list[BaseException] = []
    failed = threading.Event()

    def on_failure(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    writer = WalWriter(create(files), on_failure)
    files.fail_next("pwritev")
    assert not writer.commit_now(entries(1, 1))
    writer.submit(entries(1, 1), lambda: pytest.fail("not durable"))
    assert failed.wait(DEADLINE_S)
    assert isinstance(failures[0], WalFailed)
