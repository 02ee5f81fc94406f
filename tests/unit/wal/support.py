"""What the log's tests share: small logs, and strategies for records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from pykvd.wal import Entry, HardState, Metadata, Record, Snapshot, Wal

if TYPE_CHECKING:
    from pykvd.wal.memory_filesystem import MemoryFileSystem

DIRECTORY = Path("/data/member/wal")
SALT = 0x5A17

uint64 = st.integers(0, 2**64 - 1)
records = st.one_of(
    st.builds(Metadata, st.binary(max_size=40)),
    st.builds(HardState, uint64, uint64, uint64),
    st.builds(Entry, uint64, uint64, st.integers(0, 255), st.binary(max_size=300)),
    st.builds(Snapshot, uint64, uint64),
)


def entries(first: int, last: int, *, term: int = 1, size: int = 40) -> list[Record]:
    """Entries whose data tells their index."""
    return [Entry(term, index, 0, b"%0*d" % (size, index)) for index in range(first, last + 1)]


def create(files: MemoryFileSystem, *, segment_bytes: int = 1 << 16) -> Wal:
    """A new log on that disk."""
    return Wal.create(
        DIRECTORY, b"member 1", segment_bytes=segment_bytes, salt=SALT, filesystem=files
    )


def only_segment(files: MemoryFileSystem) -> Path:
    """The path of a log's single file."""
    (name,) = files.list_dir(DIRECTORY)
    return DIRECTORY / name
