"""Torn or damaged: what `Wal.open` makes of bytes that are not what was written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.wal import HardState, Record, Replay, Wal, WalDamaged
from pykvd.wal.memory_filesystem import MemoryFileSystem
from pykvd.wal.record import HEADER_BYTES, decode_frame
from tests.unit.wal.support import DIRECTORY, create, entries, only_segment

BATCHES: list[list[Record]] = [
    [*entries(1, 2), HardState(1, 1, 0)],
    [HardState(1, 1, 2)],
    [*entries(3, 5)],
]


def reopen(files: MemoryFileSystem) -> Replay:
    """What the log says now; it is not closed, so nothing is added."""
    return Wal.open(DIRECTORY, filesystem=files)[1]


def written_log() -> tuple[MemoryFileSystem, bytes, list[int]]:
    """A disk with the batches, each synced, not closed; its bytes; the offset where each begins."""
    files = MemoryFileSystem()
    wal = create(files)
    path = only_segment(files)
    starts = [content_end(files.content(path))]
    for batch in BATCHES:
        wal.append(batch)
        wal.sync()
        starts.append(content_end(files.content(path)))
    return files, files.content(path), starts


def content_end(content: bytes) -> int:
    """Where the frames end, found by walking them."""
    head = decode_frame(content, 0, 0)
    end = head.end
    while any(content[end : end + HEADER_BYTES]):
        end = decode_frame(content, end, head.crc).end
    return end


def frame_starts(content: bytes) -> list[int]:
    """Offsets of all frames, and the end."""
    head = decode_frame(content, 0, 0)
    starts = [0, head.end]
    while any(content[starts[-1] : starts[-1] + HEADER_BYTES]):
        starts.append(decode_frame(content, starts[-1], head.crc).end)
    return starts


def test_every_truncation_opens_with_a_first_part_of_the_records() -> None:
    files, content, starts = written_log()
    path = only_segment(files)
    whole = reopen(files)
    counts = []
    for length in range(starts[0], starts[-1] + 1):
        files.replace_content(path, content[:length])
        state = reopen(files)
        assert state.entries == whole.entries[: len(state.entries)]
        at_record_end = length in frame_starts(content)
        assert (state.torn is None) == at_record_end, length
        counts.append(len(state.entries))
    assert counts == sorted(counts)
    assert counts[-1] == 5


def test_every_flip_is_told_with_its_place_or_cut_as_torn() -> None:
    """Bytes that a later batch vouches for are damage; those of the last batch count as torn."""
    files, content, starts = written_log()
    path = only_segment(files)
    frames = frame_starts(content)
    for position in range(starts[-1]):
        files.replace_content(path, flipped(content, position))
        frame = max(start for start in frames if start <= position)
        if position < starts[-2]:
            with pytest.raises(WalDamaged) as caught:
                reopen(files)
            assert (caught.value.file, caught.value.offset) == (path, frame)
            assert files.content(path) == flipped(content, position), "nothing may be changed"
        else:
            state = reopen(files)
            assert state.torn is not None
            assert f"{path} at byte {frame}" in state.torn


def test_a_batch_that_was_taken_out_is_damage() -> None:
    """Every record that is left is whole; only the chain tells."""
    files, content, starts = written_log()
    path = only_segment(files)
    files.replace_content(path, content[: starts[1]] + content[starts[2] :])
    with pytest.raises(WalDamaged, match="does not continue the one before it") as caught:
        reopen(files)
    assert caught.value.offset == starts[1]


def test_after_closing_every_flip_is_damage() -> None:
    files = MemoryFileSystem()
    wal = create(files)
    wal.append(BATCHES[0])
    wal.close()
    path = only_segment(files)
    content = files.content(path)
    for position in range(frame_starts(content)[-2]):
        files.replace_content(path, flipped(content, position))
        with pytest.raises(WalDamaged):
            reopen(files)


def flipped(content: bytes, position: int) -> bytes:
    """The content with all bits of one byte turned."""
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


def test_the_message_names_the_file_the_offset_and_the_way_out() -> None:
    files, content, starts = written_log()
    path = only_segment(files)
    files.replace_content(path, flipped(content, starts[0] + 30))
    with pytest.raises(WalDamaged) as caught:
        reopen(files)
    text = str(caught.value)
    assert text.startswith(f"WAL damaged: {path} at byte {starts[0]}: the checksum does not match")
    assert f"synced before byte {starts[1]}" in text
    assert "pykvctl snapshot restore" in text
    assert "pykvctl member remove" in text


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_batch_with_lost_sectors_is_torn_even_if_later_records_are_whole(
    data: st.DataObject,
) -> None:
    """Sectors of one unsynced batch reach the disk in any order."""
    files, content, starts = written_log()
    wal, _ = Wal.open(DIRECTORY, filesystem=files)
    path = only_segment(files)
    wal.append(entries(6, 40, size=200))
    torn = bytearray(files.content(path))
    sectors = range(starts[-1] // 512 + 1, content_end(bytes(torn)) // 512)
    lost = data.draw(st.sets(st.sampled_from(sectors), min_size=1))
    for sector in lost:
        torn[sector * 512 : (sector + 1) * 512] = bytes(512)
    files.replace_content(path, bytes(torn))
    state = reopen(files)
    assert state.torn is not None
    assert 5 <= state.last_index < 40
    assert content[: starts[-1]] == files.content(path)[: starts[-1]]


def test_client_data_does_not_pass_for_a_record() -> None:
    """A value that is itself a copy of this log must not make a torn tail look like damage."""
    files, _, starts = written_log()
    wal, _ = Wal.open(DIRECTORY, filesystem=files)
    other = MemoryFileSystem()
    copy = Wal.create(DIRECTORY, b"", salt=1, filesystem=other)
    for batch in BATCHES:
        copy.append(batch)
        copy.sync()
    value = other.content(only_segment(other))[: starts[-1]]
    wal.append([HardState(9, 9, 9), *entries(6, 6)])
    path = only_segment(files)
    end = content_end(files.content(path))
    files.replace_content(path, files.content(path)[: end - 1] + b"\0" + value)
    assert reopen(files).torn is not None


def test_a_cut_tail_is_gone_for_good() -> None:
    """What is appended after the cut is not followed by what was cut."""
    files, content, starts = written_log()
    path = only_segment(files)
    files.replace_content(path, flipped(content, starts[-2] + 30))
    wal, state = Wal.open(DIRECTORY, filesystem=files)
    assert state.last_index == 2
    wal.append(entries(3, 3, size=5))
    wal.sync()
    again = reopen(files)
    assert again.torn is None
    assert again.last_index == 3
