"""A disk in memory that loses on a crash what a real one may lose. For tests and the simulation.

The model is a journalling file system (ext4 in its default mode):
- data: of everything written to a file since its last sync, each 512-byte sector is either there or
  not, independently of the others; unsynced growth of a file may be lost or kept, as zeros;
- names: creations, renames and removals reach the disk in order, so that some first part of those
  since the last `fsync_dir` is there;
- a crash closes every descriptor.

Errors are injected by `fail_next`. Deterministic: the random choices of a crash come from the
caller.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from random import Random

__all__ = ["SECTOR_BYTES", "MemoryFileSystem"]

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""


@dataclass(slots=True)
class _File:
    """Content as programs see it (the cache), and as the disk holds it."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)
    """Numbers of the sectors that were written since the last sync, failed or not."""

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if len(self.content) < end:
            self.content.extend(bytes(end - len(self.content)))
        self.content[offset:end] = data
        self.dirty.update(range(offset // SECTOR_BYTES, -(-end // SECTOR_BYTES)))

    def sync(self) -> None:
        self._persist(len(self.content), self.dirty)

    def crash(self, rng: Random) -> None:
        """Keep a random part of what was not synced."""
        keep = rng.choice((0.0, 0.5, 0.9, 1.0))
        size = rng.choice((len(self.durable), len(self.content)))
        self._persist(size, {sector for sector in sorted(self.dirty) if rng.random() < keep})
        self.content = bytearray(self.durable)

    def _persist(self, size: int, sectors: set[int]) -> None:
        del self.durable[size:]
        self.durable.extend(bytes(size - len(self.durable)))
        for sector in sectors:
            start = sector * SECTOR_BYTES
            end = min(start + SECTOR_BYTES, size, len(self.content))
            if start < end:
                self.durable[start:end] = self.content[start:end]
        self.dirty.clear()


class MemoryFileSystem:
    """See `pykvd.wal.filesystem.FileSystem`; `capacity_bytes` makes a small disk."""

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self._names: dict[Path, _File] = {}
        self._durable_names: dict[Path, _File] = {}
        self._pending: deque[Callable[[dict[Path, _File]], None]] = deque()
        self._open: dict[int, _File] = {}
        self._next_fd = 3
        self._failures: dict[str, int] = {}

    def fail_next(self, operation: str, error: int = errno.EIO) -> None:
        """Make the next call of the method of that name raise `OSError(error)`.

        A failed sync loses what it should have kept, as Linux does: the pages are clean, not
        written.
        """
        self._failures[operation] = error

    def heal(self) -> None:
        """Forget the failures that were not met yet."""
        self._failures.clear()

    def crash(self, rng: Random) -> None:
        """Power off and on again."""
        for _ in range(rng.randint(0, len(self._pending))):
            self._pending.popleft()(self._durable_names)
        self._pending.clear()
        self._names = dict(self._durable_names)
        self._open.clear()
        for path in sorted(self._names):
            self._names[path].crash(rng)

    def content(self, path: Path) -> bytes:
        """What a program would read from the file."""
        return bytes(self._names[path].content)

    def replace_content(self, path: Path, content: bytes) -> None:
        """Put other bytes into the file, durably: bit rot."""
        file = self._names[path]
        file.content = bytearray(content)
        file.durable = bytearray(content)
        file.dirty.clear()

    def make_dirs(self, path: Path) -> None:  # noqa: ARG002
        """See `FileSystem`; directories need not be made here."""
        self._maybe_fail("make_dirs")

    def list_dir(self, path: Path) -> list[str]:
        """See `FileSystem`."""
        return [name.name for name in self._names if name.parent == path]

    def open(self, path: Path, *, create: bool) -> int:
        """See `FileSystem`."""
        self._maybe_fail("open")
        if create:
            file = _File()
            self._change_names(lambda names: names.__setitem__(path, file))
        elif path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        self._next_fd += 1
        self._open[self._next_fd] = self._names[path]
        return self._next_fd

    def read(self, fd: int) -> bytes:
        """See `FileSystem`."""
        self._maybe_fail("read")
        return bytes(self._open[fd].content)

    def pwritev(
        self, fd: int, buffers: Sequence[bytes], offset: int, *, durable: bool = False
    ) -> int:
        """See `FileSystem`; on a full disk it writes what fits, and fails when nothing does."""
        self._maybe_fail("pwritev")
        file = self._open[fd]
        data = b"".join(buffers)
        room = self._room() + max(len(file.content) - offset, 0)
        if data and room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = data[:room]
        file.write(offset, data)
        if durable:
            self.fdatasync(fd)
        return len(data)

    def truncate(self, fd: int, size: int) -> None:
        """See `FileSystem`."""
        self._maybe_fail("truncate")
        del self._open[fd].content[size:]

    def fdatasync(self, fd: int) -> None:
        """See `FileSystem`."""
        file = self._open[fd]
        try:
            self._maybe_fail("fdatasync")
        except OSError:
            file.dirty.clear()
            raise
        file.sync()

    def close(self, fd: int) -> None:
        """See `FileSystem`."""
        self._open.pop(fd, None)

    def rename(self, source: Path, target: Path) -> None:
        """See `FileSystem`."""
        self._maybe_fail("rename")
        self._change_names(lambda names: names.__setitem__(target, names.pop(source)))

    def unlink(self, path: Path) -> None:
        """See `FileSystem`."""
        self._maybe_fail("unlink")
        self._change_names(lambda names: names.__delitem__(path))

    def fsync_dir(self, path: Path) -> None:  # noqa: ARG002
        """See `FileSystem`; one journal for all directories, as ext4 has it."""
        self._maybe_fail("fsync_dir")
        self._pending.clear()
        self._durable_names = dict(self._names)

    def _change_names(self, change: Callable[[dict[Path, _File]], None]) -> None:
        change(self._names)
        self._pending.append(change)

    def _room(self) -> int:
        if self.capacity_bytes is None:
            return 1 << 62
        return self.capacity_bytes - sum(len(file.content) for file in self._names.values())

    def _maybe_fail(self, operation: str) -> None:
        error = self._failures.pop(operation, 0)
        if error:
            raise OSError(error, os.strerror(error))
