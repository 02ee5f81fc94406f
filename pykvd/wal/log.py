"""The write-ahead log on disk: segments in a directory, appended to by one thread.

Segments are named `<sequence>-<first index>.wal` in hexadecimal, as etcd's are. One begins with its
head, the metadata, the hard state and the snapshot mark, so that all before it may be deleted. Only
the last is written to. It is extended with zeros `EXTENT_BYTES` at a time: a sync that need not
change the file's size or its extents is a third faster (docs/adr/0002-wal-format.md).

Crash windows:
1. Between `append` and `sync`: any sector of the batch may be lost. `open` cuts the batch and says
   so.
2. While a segment is made: it is written and synced under a `.tmp` name, which `open` removes, and
   gets its own name when the one before it is wholly durable.
3. While old segments are deleted: oldest first, so that those left are always in sequence.
4. After a failed sync, pages may be in the cache but not on the disk: `open` writes everything that
   no later sync vouches for once more, and syncs, before it hands anything out.

Not safe for use by several threads at once; see `writer.WalWriter`.
"""

from __future__ import annotations

import errno
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pykvd.wal.errors import WalDamaged, WalDiskFull, WalExists, WalFailed, WalNotFound
from pykvd.wal.filesystem import FileSystem, OsFileSystem
from pykvd.wal.record import (
    Entry,
    FrameEncoder,
    FrameError,
    HardState,
    Metadata,
    Record,
    SegmentHead,
    Snapshot,
    Synced,
)
from pykvd.wal.replay import Replay, ReplayError
from pykvd.wal.segment import SegmentReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["EXTENT_BYTES", "SEGMENT_BYTES", "Wal"]

SEGMENT_BYTES = 64 << 20
"""A segment that has grown to this is followed by a new one; the size of etcd's."""

SEGMENT_BYTES_MAX = 1 << 30
"""Offsets are 32 bits wide, and the batch that passes the limit is still written whole."""

EXTENT_BYTES = 1 << 20
"""How far zeros are written ahead: rare enough to cost little, short enough (1 ms) not to stall."""

BUFFERS_MAX = 1024
"""IOV_MAX of Linux; a larger batch is joined first."""

SUFFIX = ".wal"
TEMPORARY_SUFFIX = ".tmp"

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(slots=True)
class _Segment:
    """One file; `last_index` is that of the last entry in it or before it.

    An entry above it in this file was overwritten here, and is no longer part of the log.
    """

    path: Path
    sequence: int
    last_index: int


class Wal:
    """The log of one member, open for appending; made by `create` or `open`."""

    def __init__(
        self, directory: Path, filesystem: FileSystem, *, segment_bytes: int, sync: bool, salt: int
    ) -> None:
        """Use `create` or `open`."""
        if not 0 < segment_bytes <= SEGMENT_BYTES_MAX:
            raise ValueError(f"segment_bytes must be in 1..{SEGMENT_BYTES_MAX}")
        self.directory = directory
        self._files = filesystem
        self._segment_bytes = segment_bytes
        self._sync_enabled = sync
        self._salt = salt
        self._failure: BaseException | None = None
        self._segments: list[_Segment] = []
        self._fd = -1
        self._encoder = FrameEncoder(0, 0)
        self._metadata = Metadata(b"")
        self._hard_state: HardState | None = None
        self._snapshot: Snapshot | None = None
        self._last_index = 0
        # Invariant: _synced <= _offset <= _extent, all within the last segment.
        self._synced = 0
        self._offset = 0
        self._extent = 0
        #: Bytes of records written since the log was opened.
        self.written_bytes = 0

    @staticmethod
    def exists(directory: Path, filesystem: FileSystem | None = None) -> bool:
        """Whether the directory holds a log: then `open` it, else `create` one."""
        return bool(_segment_names(directory, filesystem or OsFileSystem()))

    @classmethod
    def create(
        cls,
        directory: Path,
        metadata: bytes,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        sync: bool = True,
        salt: int | None = None,
        filesystem: FileSystem | None = None,
    ) -> Wal:
        """Make the directory (with parents) and an empty log in it, durably.

        `sync=False` never waits for the disk: for throw-away data only. `salt` (32 bits) is random
        unless given. Raises `WalExists`, `WalFailed`.
        """
        files = filesystem or OsFileSystem()
        salt = secrets.randbits(32) if salt is None else salt
        wal = cls(directory, files, segment_bytes=segment_bytes, sync=sync, salt=salt)
        wal._metadata = Metadata(metadata)
        with wal._failing():
            files.make_dirs(directory)
            if _segment_names(directory, files):
                raise WalExists(f"{directory} already holds a log")
            _remove_temporaries(directory, files)
            wal._start_segment(sequence=0)
        return wal

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        sync: bool = True,
        filesystem: FileSystem | None = None,
    ) -> tuple[Wal, Replay]:
        """Read the log, cut a torn tail, and make sure that all that is returned is on the disk.

        Raises `WalNotFound`, `WalDamaged` (nothing has been changed then), `WalFailed`.
        """
        files = filesystem or OsFileSystem()
        names = _segment_names(directory, files)
        if not names:
            raise WalNotFound(f"{directory} holds no log")
        wal = cls(directory, files, segment_bytes=segment_bytes, sync=sync, salt=0)
        replay = Replay()
        try:
            wal._read(names, replay)
        except BaseException:
            wal._abandon()
            raise
        return wal, replay

    def _read(self, names: Sequence[str], replay: Replay) -> None:
        with self._failing():
            for position, name in enumerate(names):
                self._load(self.directory / name, replay, is_last=position == len(names) - 1)
            try:
                replay.finish()
            except ReplayError as broken:
                raise WalDamaged(self._segments[0].path, 0, str(broken)) from None
            _remove_temporaries(self.directory, self._files)
            self._settle_tail()

    def _abandon(self) -> None:
        """Let go of the file of a log that cannot be used."""
        if self._fd >= 0:
            self._files.close(self._fd)
            self._fd = -1

    def append(self, records: Sequence[Record]) -> None:
        """Write the records behind the last; durable only after `sync`.

        Raises `WalDiskFull` or `WalFailed`; then some of the records may be found at the next
        `open`.
        """
        with self._failing():
            if self._offset >= self._segment_bytes:
                self._cut()
            self._write(records)

    def commit(self, records: Sequence[Record]) -> None:
        """`append` and `sync` as one system call where the system can.

        That is one wait for the interpreter lock less than two calls make, which shows when another
        thread is busy. Raises as they do.
        """
        with self._failing():
            if self._offset >= self._segment_bytes:
                self._cut()
            one_call = self._sync_enabled and self._synced == self._offset
            self._write(records, durable=one_call)
            if one_call:
                self._synced = self._offset
        self.sync()

    def sync(self) -> None:
        """Return when everything appended is durable; raises `WalFailed`, for good."""
        with self._failing():
            if self._synced < self._offset:
                self._fdatasync()
                self._synced = self._offset

    def release(self, index: int) -> None:
        """Delete the segments whose entries all lie before `index`, oldest first.

        Nothing behind the last snapshot mark is deleted, whatever `index` says, and the entry at
        the mark stays: `Replay` compares its term with the mark's. Raises `WalFailed`.
        """
        self.sync()
        with self._failing():
            index = min(index, self._snapshot.index if self._snapshot else 0)
            count = 0
            while count < len(self._segments) - 1 and self._segments[count].last_index < index:
                self._files.unlink(self._segments[count].path)
                count += 1
            if count:
                del self._segments[:count]
                self._sync_names()

    def close(self) -> None:
        """Sync, note in the log that all of it was synced, and close; again is fine.

        After a failure it only closes.
        """
        if self._fd < 0:
            return
        try:
            if self._failure is None:
                self.sync()
                with self._failing():
                    self._write([Synced()])
                self.sync()
        finally:
            self._files.close(self._fd)
            self._fd = -1

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Every operation on the disk: refused after a failure, and an `OSError` is one."""
        if self._failure is not None:
            raise WalFailed(f"the log has failed before: {self._failure}") from self._failure
        try:
            yield
        except OSError as error:
            self._failure = error
            kind = WalDiskFull if error.errno in _NO_SPACE else WalFailed
            raise kind(f"the log in {self.directory} failed: {error}") from error

    def _write(self, records: Sequence[Record | Synced], *, durable: bool = False) -> None:
        buffers: list[bytes] = []
        size = 0
        for record in records:
            size += self._encoder.encode(record, self._synced, buffers)
            self._note(record)
        if self._offset + size > self._extent:
            self._extend(size)
        self._write_at(self._offset, buffers, size, durable=durable)
        self._offset += size
        self.written_bytes += size

    def _note(self, record: Record | Synced) -> None:
        """Remember what the head of the next segment has to repeat."""
        match record:
            case Entry():
                self._last_index = record.index
                self._segments[-1].last_index = record.index
            case HardState():
                self._hard_state = record
            case Snapshot():
                self._snapshot = record
                self._last_index = max(self._last_index, record.index)

    def _extend(self, size: int) -> None:
        """Write zeros behind the extent so that at least `size` bytes, and then some, fit."""
        step = min(EXTENT_BYTES, self._segment_bytes)
        target = (self._offset + size) // step * step + step
        missing = target - self._extent
        self._write_at(self._extent, [bytes(missing)], missing)
        self._extent = target

    def _write_at(
        self, offset: int, buffers: list[bytes], size: int, *, durable: bool = False
    ) -> None:
        """Write all of the buffers, with one call unless the kernel takes less."""
        if len(buffers) > BUFFERS_MAX:
            buffers = [b"".join(buffers)]
        written = self._files.pwritev(self._fd, buffers, offset, durable=durable)
        while written < size:
            rest = b"".join(buffers)[written:]
            written += self._files.pwritev(self._fd, [rest], offset + written, durable=durable)

    def _fdatasync(self) -> None:
        if self._sync_enabled:
            self._files.fdatasync(self._fd)

    def _sync_names(self) -> None:
        if self._sync_enabled:
            self._files.fsync_dir(self.directory)

    def _cut(self) -> None:
        """Go on in a new segment."""
        self.sync()
        old = self._fd
        self._start_segment(self._segments[-1].sequence + 1)
        self._files.close(old)

    def _start_segment(self, sequence: int) -> None:
        """Make a segment that holds what is known so far, durably, and make it the last."""
        head = SegmentHead(sequence, self._last_index + 1, self._salt)
        path = self.directory / f"{sequence:016x}-{head.first_index:016x}{SUFFIX}"
        temporary = path.with_suffix(TEMPORARY_SUFFIX)
        before = self._segments[-1].last_index if self._segments else 0
        self._fd = self._files.open(temporary, create=True)
        self._segments.append(_Segment(path, sequence, before))
        buffers: list[bytes] = []
        self._encoder = FrameEncoder.start(head, self._encoder.chain, buffers)
        for record in (self._metadata, self._hard_state, self._snapshot):
            if record is not None:
                self._encoder.encode(record, 0, buffers)
        size = sum(map(len, buffers))
        self._offset = self._extent = 0
        self._extend(size)
        self._write_at(0, buffers, size)
        self._fdatasync()
        self._files.rename(temporary, path)
        self._sync_names()
        self._offset = self._synced = size

    def _load(self, path: Path, replay: Replay, *, is_last: bool) -> None:
        """Read one segment into the replay; the last one stays open."""
        fd = self._files.open(path, create=False)
        try:
            data = self._files.read(fd)
        finally:
            if is_last:
                self._fd = fd
            else:
                self._files.close(fd)
        reader = SegmentReader(data)
        self._load_head(path, reader)
        for offset, record in reader.records():
            try:
                replay.feed(record)
            except ReplayError as broken:
                raise WalDamaged(path, offset, str(broken)) from None
            self._note(record)
        self._metadata = Metadata(replay.metadata)
        self._load_end(path, reader, replay, len(data), is_last=is_last)

    def _load_head(self, path: Path, reader: SegmentReader) -> None:
        """Check that the segment is the one its name says, and continues the one before it."""
        try:
            head = reader.read_head()
        except FrameError as bad:
            raise WalDamaged(path, 0, str(bad)) from None
        if f"{head.sequence:016x}-{head.first_index:016x}" != path.stem:
            raise WalDamaged(path, 0, "the file holds another segment than its name says")
        if self._segments:
            expected = self._segments[-1].sequence + 1
            if head.sequence != expected:
                raise WalDamaged(path, 0, f"segment {expected:016x} before it is missing")
            if reader.first_prev != self._encoder.chain:
                raise WalDamaged(path, 0, "it does not continue the segment before it")
        before = self._segments[-1].last_index if self._segments else 0
        self._segments.append(_Segment(path, head.sequence, before))
        self._salt = head.salt

    def _load_end(
        self, path: Path, reader: SegmentReader, replay: Replay, size: int, *, is_last: bool
    ) -> None:
        """Judge how the segment ends, and take over its position."""
        damage = reader.damage
        if damage is not None:
            if not (is_last and damage.torn):
                raise WalDamaged(path, damage.offset, damage.reason)
            replay.torn = f"{path} at byte {damage.offset}: {damage.reason}"
        self._encoder = FrameEncoder(reader.seed, reader.chain)
        self._offset = reader.end
        self._synced = reader.synced
        self._extent = size

    def _settle_tail(self) -> None:
        """Cut what follows the last good record, write anew what may not be durable, and sync."""
        data = self._files.read(self._fd)
        self._files.truncate(self._fd, self._offset)
        self._extent = self._offset
        tail = data[self._synced : self._offset]
        if tail:
            self._write_at(self._synced, [tail], len(tail))
        self._fdatasync()
        self._sync_names()
        self._synced = self._offset


def _segment_names(directory: Path, files: FileSystem) -> list[str]:
    """Names of the segments, oldest first: the names sort by sequence."""
    return sorted(name for name in files.list_dir(directory) if name.endswith(SUFFIX))


def _remove_temporaries(directory: Path, files: FileSystem) -> None:
    for name in files.list_dir(directory):
        if name.endswith(TEMPORARY_SUFFIX):
            files.unlink(directory / name)
