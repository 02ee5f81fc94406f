"""Power cuts at random moments: what was synced is there, and nothing that was never written."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from pykvd.wal import Entry, HardState, Record, Snapshot, Wal, WalFailed, WalNotFound
from pykvd.wal.memory_filesystem import MemoryFileSystem
from tests.unit.wal.support import DIRECTORY, SALT

SEGMENT_BYTES = 2000


class Model:
    """A random writer beside its log: what it wrote, and how much of that was synced."""

    def __init__(self, rng: Random, files: MemoryFileSystem) -> None:
        self.rng = rng
        self.files = files
        self.term = 1
        self.written: list[Entry] = []
        self.synced = 0
        self.mark = 0
        self.hard_state = HardState(0, 0, 0)
        self.synced_term = 0

    def batch(self) -> list[Record]:
        """Some entries, now and then behind an overwritten tail, with their hard state."""
        self.term += self.rng.random() < 0.2
        first = len(self.written) + 1
        if self.rng.random() < 0.1:
            first = self.rng.randint(max(self.synced, self.mark) + 1, first)
        del self.written[first - 1 :]
        for index in range(first, first + self.rng.randint(1, 8)):
            data = self.rng.randbytes(self.rng.choice((0, 10, 100, 700)))
            self.written.append(Entry(self.term, index, 0, data))
        self.hard_state = HardState(self.term, 1, self.synced)
        return [*self.written[first - 1 :], self.hard_state]

    def step(self, wal: Wal) -> None:
        """One action of a member's life."""
        action = self.rng.choice(
            ("append", "append", "commit", "commit", "sync", "mark", "release")
        )
        if action == "append":
            wal.append(self.batch())
        elif action == "commit":
            wal.commit(self.batch())
            self.note_synced()
        elif action == "sync":
            wal.sync()
            self.note_synced()
        elif action == "mark" and self.synced > self.mark:
            index = self.rng.randint(self.mark + 1, self.synced)
            wal.append([Snapshot(index, self.written[index - 1].term)])
            wal.sync()
            self.mark = index
            self.note_synced()
        elif action == "release":
            wal.release(self.mark)

    def note_synced(self) -> None:
        """All that was written is durable now."""
        self.synced = len(self.written)
        self.synced_term = self.hard_state.term

    def reopen(self) -> Wal:
        """Open the log after a crash and check it; the model goes on from what survived."""
        opened, state = Wal.open(DIRECTORY, segment_bytes=SEGMENT_BYTES, filesystem=self.files)
        assert state.metadata == b"meta"
        assert state.snapshot.index >= self.mark
        assert state.last_index >= self.synced
        assert state.hard_state.term >= self.synced_term
        for entry in state.entries[: max(self.synced - state.snapshot.index, 0)]:
            assert entry == self.written[entry.index - 1]
        self.mark = state.snapshot.index
        self.written[self.mark :] = state.entries
        self.hard_state = state.hard_state
        self.note_synced()
        return opened


@pytest.mark.parametrize("seed", range(150))
def test_everything_synced_survives_power_cuts(seed: int) -> None:
    rng = Random(seed)
    files = MemoryFileSystem()
    wal = Wal.create(DIRECTORY, b"meta", segment_bytes=SEGMENT_BYTES, salt=SALT, filesystem=files)
    model = Model(rng, files)
    for _ in range(6):
        for _ in range(rng.randint(1, 25)):
            model.step(wal)
        files.crash(rng)
        wal = model.reopen()


@pytest.mark.parametrize("seed", range(60))
def test_a_crash_at_any_call_of_the_disk_loses_nothing_synced(seed: int) -> None:
    """The disk fails at a random call, in the middle of cuts and releases too; then power goes."""
    rng = Random(seed)
    files = MemoryFileSystem()
    wal = Wal.create(DIRECTORY, b"meta", segment_bytes=SEGMENT_BYTES, salt=SALT, filesystem=files)
    model = Model(rng, files)
    for _ in range(5):
        operation = rng.choice(
            ("open", "pwritev", "fdatasync", "rename", "unlink", "fsync_dir", "none")
        )
        with suppress(WalFailed):
            for step in range(rng.randint(5, 40)):
                if step == 4:
                    files.fail_next(operation)
                model.step(wal)
        if rng.random() < 0.7:
            files.crash(rng)
        files.heal()
        wal = model.reopen()


@pytest.mark.parametrize("seed", range(30))
def test_a_crash_while_the_log_is_made_leaves_none_or_a_whole_one(seed: int) -> None:
    rng = Random(seed)
    files = MemoryFileSystem()
    files.fail_next(rng.choice(("open", "pwritev", "fdatasync", "rename", "fsync_dir")))
    with pytest.raises(WalFailed):
        Wal.create(DIRECTORY, b"meta", salt=SALT, filesystem=files)
    files.crash(rng)
    if Wal.exists(DIRECTORY, files):
        assert Wal.open(DIRECTORY, filesystem=files)[1].metadata == b"meta"
    else:
        with pytest.raises(WalNotFound):
            Wal.open(DIRECTORY, filesystem=files)
        Wal.create(DIRECTORY, b"meta", salt=SALT, filesystem=files)


def test_what_a_failed_sync_left_in_the_cache_is_written_anew_at_opening() -> None:
    """The process dies of a failed sync and is started again; only then does the power go.

    The restarted process reads the batch from the cache though the disk never got it, and may vote
    on it.
    """
    files = MemoryFileSystem()
    wal = Wal.create(DIRECTORY, b"meta", salt=SALT, filesystem=files)
    wal.commit([Entry(1, 1, 0, b"first")])
    files.fail_next("fdatasync")
    with pytest.raises(WalFailed):
        wal.commit([Entry(1, 2, 0, b"second")])
    state = Wal.open(DIRECTORY, filesystem=files)[1]
    assert state.last_index == 2
    files.crash(Random(1))
    assert Wal.open(DIRECTORY, filesystem=files)[1].last_index == 2
