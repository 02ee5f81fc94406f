"""The write-ahead log: what Raft must find again after a crash.

`record`, `segment` and `replay` are pure (bytes to values); `log` writes files through the seam in
`filesystem`; `writer` owns the thread; `lock` keeps a second process away from the data directory.
"""

from pykvd.wal.errors import (
    DataDirLocked,
    WalDamaged,
    WalDiskFull,
    WalError,
    WalExists,
    WalFailed,
    WalNotFound,
)
from pykvd.wal.lock import DataDirLock
from pykvd.wal.log import SEGMENT_BYTES, Wal
from pykvd.wal.record import Entry, HardState, Metadata, Record, Snapshot
from pykvd.wal.replay import Replay
from pykvd.wal.writer import WalWriter

__all__ = [
    "SEGMENT_BYTES",
    "DataDirLock",
    "DataDirLocked",
    "Entry",
    "HardState",
    "Metadata",
    "Record",
    "Replay",
    "Snapshot",
    "Wal",
    "WalDamaged",
    "WalDiskFull",
    "WalError",
    "WalExists",
    "WalFailed",
    "WalNotFound",
    "WalWriter",
]
