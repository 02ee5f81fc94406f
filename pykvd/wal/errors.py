"""What can go wrong with the log, told apart by who has to act.

`WalDamaged` needs an operator, `WalFailed` (and `WalDiskFull`) ends the process, `DataDirLocked`
means that another process is at work, `WalNotFound` and `WalExists` are the caller's mistakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DAMAGE_WAY_OUT",
    "DataDirLocked",
    "WalDamaged",
    "WalDiskFull",
    "WalError",
    "WalExists",
    "WalFailed",
    "WalNotFound",
]

DAMAGE_WAY_OUT = (
    "this member must not vote on what is left; restore the data directory with "
    "`pykvctl snapshot restore`, or remove the member with `pykvctl member remove`, "
    "empty its data directory and add it again with `pykvctl member add`"
)
"""How to mend a damaged member; the last part of every `WalDamaged` text."""


class WalError(Exception):
    """Base of all errors of this package."""


class WalDamaged(WalError):  # noqa: N818
    """Bytes that had been synced are not what was written; nothing was changed on disk."""

    def __init__(self, file: Path, offset: int, reason: str) -> None:
        super().__init__(f"WAL damaged: {file} at byte {offset}: {reason}; {DAMAGE_WAY_OUT}")
        self.file = file
        self.offset = offset
        self.reason = reason


class WalFailed(WalError):  # noqa: N818
    """A write or a sync failed; nothing after the last good sync may be relied upon.

    It is final for this `Wal`: after a failed fsync the kernel may have dropped the dirty pages and
    would report success the next time (Rebello et al., "Can Applications Recover from fsync
    Failures?", ATC 2020), so no call is ever tried again.
    """


class WalDiskFull(WalFailed):
    """The disk, the quota or the file size limit left no room for a write."""


class WalNotFound(WalError):  # noqa: N818
    """`Wal.open` on a directory without segments."""


class WalExists(WalError):  # noqa: N818
    """`Wal.create` on a directory that already has segments."""


class DataDirLocked(WalError):  # noqa: N818
    """Another process holds the data directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"data directory is in use by another process: cannot lock {path}")
        self.path = path
