"""Segments: made, cut, found again, released, refused."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from pykvd.wal import (
    Entry,
    HardState,
    Snapshot,
    Wal,
    WalDamaged,
    WalDiskFull,
    WalExists,
    WalFailed,
    WalNotFound,
)
from pykvd.wal.log import EXTENT_BYTES
from pykvd.wal.memory_filesystem import MemoryFileSystem
from tests.unit.wal.support import DIRECTORY, create, entries

if TYPE_CHECKING:
    from pathlib import Path

SMALL = 1000


def filled(files: MemoryFileSystem, count: int = 60) -> Wal:
    """A log of several small segments."""
    wal = create(files, segment_bytes=SMALL)
    for index in range(1, count + 1):
        wal.append([*entries(index, index, size=100), HardState(1, 7, index - 1)])
        wal.sync()
    return wal


def names(files: MemoryFileSystem) -> list[str]:
    """The log's files, oldest first."""
    return sorted(files.list_dir(DIRECTORY))


def test_a_real_directory_round_trips(tmp_path: Path) -> None:
    directory = tmp_path / "member" / "wal"
    assert not Wal.exists(directory)
    with pytest.raises(WalNotFound):
        Wal.open(directory)
    wal = Wal.create(directory, b"meta", segment_bytes=SMALL)
    assert Wal.exists(directory)
    for index in range(1, 31):
        wal.append([*entries(index, index, size=100)])
        wal.commit([HardState(2, 3, index)])
    wal.append([Snapshot(10, 1)])
    wal.release(10)
    wal.close()
    wal.close()

    wal, state = Wal.open(directory, segment_bytes=SMALL)
    assert state.torn is None
    assert state.metadata == b"meta"
    assert state.hard_state == HardState(2, 3, 30)
    assert [entry.index for entry in state.entries] == list(range(11, 31))
    wal.close()


def test_a_log_is_not_made_over_another(tmp_path: Path) -> None:
    Wal.create(tmp_path, b"").close()
    with pytest.raises(WalExists):
        Wal.create(tmp_path, b"")


def test_names_tell_sequence_and_first_index() -> None:
    files = MemoryFileSystem()
    filled(files)
    first, second, *_ = names(files)
    assert first == "0000000000000000-0000000000000001.wal"
    assert second == "0000000000000001-0000000000000007.wal"


def test_a_cut_repeats_what_the_next_segment_has_to_know() -> None:
    files = MemoryFileSystem()
    wal = filled(files)
    before = names(files)
    wal.append([Snapshot(50, 1)])
    wal.append(entries(61, 75, size=100))
    wal.append(entries(76, 76))
    wal.sync()
    wal.release(60)
    last = names(files)
    assert last[0] > before[0], "something was released"
    _, state = Wal.open(DIRECTORY, filesystem=files)
    assert (state.metadata, state.hard_state) == (b"member 1", HardState(1, 7, 59))
    assert (state.snapshot, state.entries[0].index, state.last_index) == (Snapshot(50, 1), 51, 76)


def test_release_deletes_only_segments_wholly_before_the_index() -> None:
    files = MemoryFileSystem()
    wal = filled(files)
    before = names(files)
    wal.release(60)
    assert names(files) == before, "nothing is released without a mark"
    wal.append([Snapshot(60, 1)])
    wal.release(6)
    assert names(files) == before, "the entry at the index stays"
    wal.release(7)
    assert names(files) == before[1:]
    wal.release(10**6)
    assert names(files) == before[-1:], "the last one is in use"


def test_release_works_on_a_log_that_was_opened() -> None:
    files = MemoryFileSystem()
    wal = filled(files)
    wal.append([Snapshot(60, 1)])
    wal.close()
    before = names(files)
    wal, _ = Wal.open(DIRECTORY, segment_bytes=SMALL, filesystem=files)
    wal.release(7)
    assert names(files) == before[1:]


def test_an_overwritten_index_does_not_release_the_segment_it_was_in() -> None:
    files = MemoryFileSystem()
    wal = create(files, segment_bytes=SMALL)
    wal.append(entries(1, 20, size=60))
    wal.append([*entries(3, 4, term=2), Snapshot(4, 2)])
    assert len(names(files)) == 2
    wal.release(20)
    assert len(names(files)) == 2


def test_the_mark_of_an_installed_snapshot_outlives_its_segment() -> None:
    """The mark lies beyond all entries, so that nothing but the next head keeps it."""
    files = MemoryFileSystem()
    wal = create(files, segment_bytes=SMALL)
    wal.append([*entries(1, 20), Snapshot(1000, 4)])
    for index in range(1001, 1021):
        wal.append(entries(index, index, term=4, size=100))
    wal.release(1000)
    assert names(files)[0].startswith("0000000000000001-")
    state = Wal.open(DIRECTORY, filesystem=files)[1]
    assert (state.snapshot, state.entries[0].index) == (Snapshot(1000, 4), 1001)


def test_a_missing_segment_is_damage() -> None:
    files = MemoryFileSystem()
    filled(files)
    missing = names(files)[2]
    files.unlink(DIRECTORY / missing)
    with pytest.raises(WalDamaged, match=r"segment 0+2 before it is missing"):
        Wal.open(DIRECTORY, filesystem=files)


def test_missing_first_segments_without_a_mark_are_damage() -> None:
    files = MemoryFileSystem()
    filled(files)
    files.unlink(DIRECTORY / names(files)[0])
    with pytest.raises(WalDamaged, match="entries begin at index 7"):
        Wal.open(DIRECTORY, filesystem=files)


def test_an_earlier_segment_with_a_lost_end_is_damage() -> None:
    """Records at the end of a segment that are gone, and not the ones behind them."""
    files = MemoryFileSystem()
    filled(files)
    path = DIRECTORY / names(files)[1]
    content = files.content(path)
    last = content.rindex(b"\xd7WL") - 5
    files.replace_content(path, content[:last] + bytes(len(content) - last))
    with pytest.raises(WalDamaged, match="does not continue the segment before it") as caught:
        Wal.open(DIRECTORY, filesystem=files)
    assert caught.value.file == DIRECTORY / names(files)[2]


def test_a_flip_in_the_last_batch_of_an_earlier_segment_is_damage_there() -> None:
    files = MemoryFileSystem()
    filled(files)
    path = DIRECTORY / names(files)[1]
    content = bytearray(files.content(path))
    last = content.rindex(b"\xd7WL") - 5
    content[last + 30] ^= 1
    files.replace_content(path, bytes(content))
    with pytest.raises(WalDamaged, match="checksum") as caught:
        Wal.open(DIRECTORY, filesystem=files)
    assert (caught.value.file, caught.value.offset) == (path, last)


def test_a_renamed_segment_is_damage() -> None:
    files = MemoryFileSystem()
    create(files)
    (name,) = names(files)
    files.rename(DIRECTORY / name, DIRECTORY / "0000000000000001-0000000000000001.wal")
    with pytest.raises(WalDamaged, match="another segment than its name says"):
        Wal.open(DIRECTORY, filesystem=files)


def test_a_half_made_segment_is_removed() -> None:
    files = MemoryFileSystem()
    create(files)
    files.open(DIRECTORY / "0000000000000001-0000000000000001.tmp", create=True)
    Wal.open(DIRECTORY, filesystem=files)
    assert names(files) == ["0000000000000000-0000000000000001.wal"]


def test_a_batch_larger_than_an_extent_and_than_iov_max_is_written_whole() -> None:
    files = MemoryFileSystem()
    wal = create(files, segment_bytes=1 << 24)
    batch = entries(1, 3000, size=1000)
    wal.append(batch)
    wal.sync()
    assert EXTENT_BYTES < 3000 * 1000
    assert Wal.open(DIRECTORY, filesystem=files)[1].entries == batch


@pytest.mark.parametrize("operation", ["pwritev", "fdatasync"])
def test_a_failure_is_final(operation: str) -> None:
    files = MemoryFileSystem()
    wal = create(files)
    wal.append(entries(1, 1))
    files.fail_next(operation)
    with pytest.raises(WalFailed, match="Input/output error"):
        wal.commit(entries(2, 2))
    for call in (wal.sync, lambda: wal.append([]), lambda: wal.commit([]), lambda: wal.release(1)):
        with pytest.raises(WalFailed, match="failed before"):
            call()
    wal.close()


@pytest.mark.parametrize("operation", ["open", "pwritev", "fdatasync", "rename", "fsync_dir"])
def test_a_failure_while_a_segment_is_made_is_final_and_loses_nothing(operation: str) -> None:
    files = MemoryFileSystem()
    wal = create(files, segment_bytes=SMALL)
    wal.append(entries(1, 20, size=60))
    wal.sync()
    files.fail_next(operation)
    with pytest.raises(WalFailed):
        wal.append(entries(21, 21))
    with pytest.raises(WalFailed, match="failed before"):
        wal.sync()
    assert Wal.open(DIRECTORY, filesystem=files)[1].last_index == 20


def test_a_full_disk_is_its_own_error_and_loses_nothing() -> None:
    files = MemoryFileSystem(capacity_bytes=EXTENT_BYTES + 5000)
    wal = create(files, segment_bytes=1 << 24)
    done = 0
    for index in range(1, 900):
        wal.commit(entries(index, index, size=1000))
        done = index
    with pytest.raises(WalDiskFull, match="No space left on device"):
        wal.commit(entries(900, 1100, size=1000))
    with pytest.raises(WalFailed):
        wal.commit([])
    state = Wal.open(DIRECTORY, filesystem=files)[1]
    assert state.last_index == done


def test_the_file_size_limit_counts_as_a_full_disk() -> None:
    files = MemoryFileSystem()
    wal = create(files)
    files.fail_next("pwritev", errno.EFBIG)
    with pytest.raises(WalDiskFull):
        wal.append(entries(1, 1))


def test_without_sync_the_disk_is_not_waited_for() -> None:
    files = MemoryFileSystem()
    files.fail_next("fdatasync")
    wal = Wal.create(DIRECTORY, b"", sync=False, filesystem=files)
    wal.commit([Entry(1, 1, 0, b"")])
    wal.close()


def test_segment_bytes_are_bounded() -> None:
    with pytest.raises(ValueError, match="segment_bytes"):
        Wal.create(DIRECTORY, b"", segment_bytes=1 << 31, filesystem=MemoryFileSystem())
