"""The operating system as the log sees it: a narrow seam, so that disks can fail on purpose.

`OsFileSystem` is the real one; `memory_filesystem.MemoryFileSystem` forgets on a crash what was not
synced. All methods raise `OSError`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["FileSystem", "OsFileSystem"]

_RWF_DSYNC: int = getattr(os, "RWF_DSYNC", 0)


class FileSystem(Protocol):
    """Files by descriptor, names by path; `fsync_dir` makes names durable."""

    def make_dirs(self, path: Path) -> None:
        """Create the directory and its parents, durably; an existing one is fine."""

    def list_dir(self, path: Path) -> list[str]:
        """Names in the directory, in no order; empty if there is no such directory."""

    def open(self, path: Path, *, create: bool) -> int:
        """Open for reading and writing; with `create`, as a new and empty file (mode 0600)."""

    def read(self, fd: int) -> bytes:
        """The whole content."""

    def pwritev(
        self, fd: int, buffers: Sequence[bytes], offset: int, *, durable: bool = False
    ) -> int:
        """Write at most all of the buffers; return how many bytes were written.

        With `durable` those bytes are on the disk on return, as after `fdatasync`.
        """

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file to `size` bytes."""

    def fdatasync(self, fd: int) -> None:
        """Make the content and the size durable."""

    def close(self, fd: int) -> None:
        """Close the descriptor; says nothing about durability."""

    def rename(self, source: Path, target: Path) -> None:
        """Rename in place of any `target`."""

    def unlink(self, path: Path) -> None:
        """Remove the name."""

    def fsync_dir(self, path: Path) -> None:
        """Make the directory's names durable."""


class OsFileSystem:
    """The real disk."""

    def make_dirs(self, path: Path) -> None:
        """See `FileSystem`; every directory made is synced into its parent."""
        if path.is_dir():
            return
        self.make_dirs(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        self.fsync_dir(path.parent)

    def list_dir(self, path: Path) -> list[str]:
        """See `FileSystem`."""
        return os.listdir(path) if path.is_dir() else []

    def open(self, path: Path, *, create: bool) -> int:
        """See `FileSystem`."""
        flags = os.O_RDWR | os.O_CLOEXEC | ((os.O_CREAT | os.O_TRUNC) if create else 0)
        return os.open(path, flags, 0o600)

    def read(self, fd: int) -> bytes:
        """See `FileSystem`."""
        with open(fd, "rb", buffering=0, closefd=False) as file:
            file.seek(0)
            return file.readall()

    def pwritev(
        self, fd: int, buffers: Sequence[bytes], offset: int, *, durable: bool = False
    ) -> int:
        """See `FileSystem`; one system call where there is RWF_DSYNC (Linux)."""
        written = os.pwritev(fd, buffers, offset, _RWF_DSYNC if durable else 0)
        if durable and not _RWF_DSYNC:
            os.fdatasync(fd)
        return written

    def truncate(self, fd: int, size: int) -> None:
        """See `FileSystem`."""
        os.ftruncate(fd, size)

    def fdatasync(self, fd: int) -> None:
        """See `FileSystem`."""
        os.fdatasync(fd)

    def close(self, fd: int) -> None:
        """See `FileSystem`."""
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """See `FileSystem`."""
        os.rename(source, target)

    def unlink(self, path: Path) -> None:
        """See `FileSystem`."""
        os.unlink(path)

    def fsync_dir(self, path: Path) -> None:
        """See `FileSystem`."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
