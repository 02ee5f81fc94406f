"""Why the store could not be written, where LMDB does not know.

A write that fits in part is an "Input/output error" to LMDB, though the disk is merely full.
"""

import errno
import mmap
import os
import resource
import tempfile
from pathlib import Path

import lmdb

#: Room that is asked for to see whether there is any: more than what a failed write may leave.
PROBE_BYTES = 1 << 20


class StoreFailedError(Exception):
    """The store could not be written; the text says why."""


def explained(error: BaseException, member: Path) -> BaseException:
    """`error`, or a better one for an error of LMDB whose cause can still be seen.

    `member` is the directory that has the store below it.
    """
    if not isinstance(error, lmdb.Error):
        return error
    reason = _limit(member) or _room(member)
    return StoreFailedError(f"{reason} ({error})") if reason else error


def _limit(member: Path) -> str:
    """What the system says of a file as large as a file may be, if the store's is."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    sizes = (path.stat().st_size for path in member.glob("db/*/data.mdb"))
    reached = limit != resource.RLIM_INFINITY and max(sizes, default=0) + mmap.PAGESIZE > limit
    return _words(errno.EFBIG) if reached else ""


def _room(directory: Path) -> str:
    """What the system says when it is asked for room, if it refuses."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            os.posix_fallocate(file.fileno(), 0, PROBE_BYTES)
    except OSError as error:
        return _words(error.errno or errno.EIO)
    return ""


def _words(number: int) -> str:
    return os.strerror(number).lower()
