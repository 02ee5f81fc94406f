"""A stopped member's directory, held so that no server starts on it meanwhile."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lmdb

from pykvd.mvcc.environment import latest
from pykvd.oserrors import opening
from pykvd.restore import RestoreError, opened
from pykvd.wal import DataDirLock, DataDirLocked
from pykvd.wal.lock import LOCK_NAME

DATA_FILE = "data.mdb"


class OfflineError(Exception):
    """The directory cannot be worked on; the text says why, in one line."""


class MissingError(OfflineError):
    """There is nothing of a member at the path."""


class InUseError(OfflineError):
    """A process, most likely a server, is at work there."""


@dataclass(frozen=True, slots=True)
class MemberDirectory:
    """Where the parts of a member are; `store` is the newest complete data file's directory."""

    path: Path
    wal: Path
    store: Path | None


@dataclass(frozen=True, slots=True)
class Defragmented:
    """Sizes in bytes of the data file and of what is used of it; `took` in nanoseconds."""

    path: Path
    size_before: int
    used_before: int
    size: int
    used: int
    took: int


@contextmanager
def stopped_member(data_dir: Path, wal_dir: Path | None = None) -> Iterator[MemberDirectory]:
    """Hold the directory of a member; raises OfflineError if it is in use or holds none."""
    member = data_dir / "member"
    if not member.is_dir():
        raise MissingError(f"stat {member}: no such file or directory")
    try:
        lock = DataDirLock(member)
    except DataDirLocked as error:
        raise InUseError(f"{error}; stop the server first") from None
    except OSError as error:
        raise OfflineError(opening(error)) from None
    with lock:
        db = member / "db"
        yield MemberDirectory(
            member, wal_dir or member / "wal", latest(db) if db.is_dir() else None
        )


@contextmanager
def unused(file: Path) -> Iterator[None]:
    """Hold the member that a data file belongs to, if it lies in one; raises InUseError."""
    member = next((each for each in file.absolute().parents if (each / LOCK_NAME).is_file()), None)
    if member is None:
        yield
        return
    try:
        lock = DataDirLock(member)
    except DataDirLocked as error:
        raise InUseError(f"{error}; stop the server first") from None
    with lock:
        yield


def defragment(
    member: MemberDirectory, started: Callable[[Path, int, int], object]
) -> Defragmented:
    """Rewrite the data file without its free pages.

    `started` is told the data file, its size and what is used of it before anything is done.
    The old file is removed once the new one has taken its place, so that a crash at any time leaves
    a whole one. Raises OfflineError.
    """
    if member.store is None or not (member.store / DATA_FILE).is_file():
        raise MissingError(f"stat {member.path / 'db'}: no such file or directory")
    file = member.store / DATA_FILE
    try:
        with opened(member.store, file.stat().st_size) as environment:
            size_before, used_before = environment.sizes()
            started(file, size_before, used_before)
            began = time.monotonic_ns()
            successor = environment.successor(environment.copy_to)
            environment.remove()
    except (RestoreError, lmdb.Error, OSError) as error:
        raise OfflineError(f"{file}: {error}") from None
    size, used = successor.sizes()
    successor.close()
    took = time.monotonic_ns() - began
    return Defragmented(successor.path / DATA_FILE, size_before, used_before, size, used, took)
