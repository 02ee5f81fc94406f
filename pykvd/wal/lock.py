"""One process at a time on a data directory."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from pykvd.wal.errors import DataDirLocked

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DataDirLock"]

LOCK_NAME = "LOCK"


class DataDirLock:
    """An exclusive `flock` on `<data_dir>/LOCK`; the kernel frees it when the process ends.

    The file stays behind on purpose: removing it would let two processes lock two different files.
    """

    def __init__(self, data_dir: Path) -> None:
        """Create the directory (mode 0700) if need be; raises `DataDirLocked`, `OSError`."""
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = data_dir / LOCK_NAME
        self._owner = os.getpid()
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise DataDirLocked(self.path) from None

    def release(self) -> None:
        """Free the directory; again is fine."""
        if self._fd >= 0:
            if os.getpid() == self._owner:
                # Closing alone would leave it to the copies that forks of this process have.
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
