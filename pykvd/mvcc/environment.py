"""The LMDB environment on disk: `<directory>/<sequence>/data.mdb`.

The highest complete sequence number is the store. A defragmented copy or a received snapshot is
written to `<sequence>.tmp`, synced, and renamed into place: the rename is the whole switch, and
whatever else is found at start is a leftover.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import lmdb

from pykvd.mvcc.record import ID_BYTES

TABLES = ("kv", "meta", "lease", "alarm", "member", "removed", "time", "auth", "user", "role")
#: putmulti holds the interpreter lock: a slice is about a quarter of a millisecond.
PUT_SLICE = 200
#: Address space, not memory: LMDB maps the file and grows it as needed.
MAP_BYTES = 1 << 38
#: An old file is cut by so many bytes at a time, with a pause in between.
SHRINK_BYTES = 8 << 20
SHRINK_PAUSE_S = 0.002


def fsync_directory(path: Path) -> None:
    """Make renames and new files of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def latest(directory: Path) -> Path | None:
    """The newest complete environment under `directory`."""
    complete = [path for path in directory.iterdir() if path.name.isdecimal()]
    return max(complete, key=lambda path: int(path.name), default=None)


def _shrink(path: Path) -> None:
    """Give the space of a file back a piece at a time.

    To delete a gigabyte at once keeps the file system so busy that others wait for it: reads of
    0.1 s were seen.
    """
    for size in range(path.stat().st_size - SHRINK_BYTES, 0, -SHRINK_BYTES):
        os.truncate(path, size)
        time.sleep(SHRINK_PAUSE_S)


class Environment:
    """One open LMDB environment. Reads may run on any thread, writes on one."""

    def __init__(self, path: Path, *, sync: bool = True, readonly: bool = False) -> None:
        """Open the directory `path`; to be only read, a data file alone will do.

        Raises `lmdb.Error` for what is no environment.
        """
        self.path = path
        self._env = lmdb.open(
            str(path),
            map_size=MAP_BYTES,
            subdir=path.is_dir(),
            readonly=readonly,
            lock=not readonly,
            max_dbs=len(TABLES),
            metasync=sync,
            sync=sync,
            readahead=False,
            max_spare_txns=4,
        )
        self._tables = {}
        for name in TABLES:
            # An older file has fewer of them.
            with suppress(lmdb.NotFoundError) if readonly else nullcontext():
                self._tables[name] = self._env.open_db(name.encode(), create=not readonly)
        if "kv" not in self._tables:
            raise lmdb.NotFoundError("no records")
        self._kv = self._tables["kv"]

    @classmethod
    def open_latest(cls, directory: Path, *, sync: bool = True) -> "Environment":
        """Open the newest complete environment under `directory`, making the first if need be."""
        directory.mkdir(parents=True, exist_ok=True)
        newest = latest(directory) or directory / "1"
        newest.mkdir(exist_ok=True)
        for path in directory.iterdir():
            if path != newest:
                shutil.rmtree(path)
        environment = cls(newest, sync=sync)
        if sync:
            fsync_directory(directory)
        return environment

    def write(
        self,
        records: Sequence[tuple[int, bytes]],
        deleted: Iterable[int],
        meta: Mapping[tuple[str, bytes], bytes | None],
    ) -> None:
        """Commit records (ascending ids beyond all stored ones), removals and table entries."""
        with self._env.begin(write=True) as txn:
            cursor = txn.cursor(self._kv)
            for start in range(0, len(records), PUT_SLICE):
                items = [
                    (record_id.to_bytes(ID_BYTES, "big"), value)
                    for record_id, value in records[start : start + PUT_SLICE]
                ]
                cursor.putmulti(items, append=True)
            for record_id in deleted:
                txn.delete(record_id.to_bytes(ID_BYTES, "big"), db=self._kv)
            for (table, key), value in meta.items():
                if value is None:
                    txn.delete(key, db=self._tables[table])
                else:
                    txn.put(key, value, db=self._tables[table])

    def get(self, record_id: int) -> bytes | None:
        """The value of one record."""
        with self._env.begin(self._kv) as txn:
            return txn.get(record_id.to_bytes(ID_BYTES, "big"))

    def get_many(self, record_ids: Iterable[int]) -> list[bytes | None]:
        """The values of records, in the order asked for."""
        with self._env.begin(self._kv) as txn:
            get = txn.get
            return [get(record_id.to_bytes(ID_BYTES, "big")) for record_id in record_ids]

    def scan(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Records with `first <= id <= last`, ascending, out of one read transaction."""
        bound = last.to_bytes(ID_BYTES, "big")
        with self._env.begin(self._kv) as txn, txn.cursor() as cursor:
            if not cursor.set_range(first.to_bytes(ID_BYTES, "big")):
                return
            for key, value in cursor:
                if key > bound:
                    return
                yield int.from_bytes(key, "big"), value

    def newest(self) -> int:
        """The highest record id; 0 if there is no record."""
        with self._env.begin(self._kv) as txn, txn.cursor() as cursor:
            return int.from_bytes(cursor.key(), "big") if cursor.last() else 0

    def table(self, name: str) -> list[tuple[bytes, bytes]]:
        """All entries of one of the small tables, in key order."""
        if name not in self._tables:
            return []
        with self._env.begin(self._tables[name]) as txn, txn.cursor() as cursor:
            return list(cursor)

    def everything(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Every `(table, key, value)`, tables in name order, out of one read transaction."""
        with self._env.begin() as txn:
            for name in sorted(self._tables):
                for key, value in txn.cursor(self._tables[name]):
                    yield name, key, value

    def sizes(self) -> tuple[int, int]:
        """`(bytes of the file, bytes of it in use)`."""
        page = self._env.stat()["psize"]
        used = 0
        with self._env.begin() as txn:
            for table in (None, *self._tables.values()):
                stat = txn.stat(table) if table is not None else self._env.stat()
                used += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return (self._env.info()["last_pgno"] + 1) * page, (used + 2) * page

    def copy_to(self, path: Path) -> None:
        """Write a compacted copy of the data file to the directory `path`, synced."""
        path.mkdir()
        self._env.copy(str(path), compact=True)
        with (path / "data.mdb").open("rb") as file:
            os.fsync(file.fileno())
        fsync_directory(path)

    def adopt(self, file: Path, path: Path) -> None:
        """Move a data file from elsewhere on this disk into the new directory `path`, synced."""
        path.mkdir()
        file.rename(path / "data.mdb")
        with (path / "data.mdb").open("rb") as moved:
            os.fsync(moved.fileno())
        fsync_directory(path)

    def successor(self, fill: Callable[[Path], None]) -> "Environment":
        """Have the next sequence number filled, switch to it on disk and open it."""
        parent = self.path.parent
        target = parent / str(int(self.path.name) + 1)
        temporary = parent / f"{target.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            fill(temporary)
            successor = Environment(temporary, sync=self._env.flags()["sync"])
        except BaseException:
            # On a full disk it holds the room that the next commit needs.
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        try:
            temporary.rename(target)
            fsync_directory(parent)
        except OSError:
            # The next start would take it for the newest, without what is written from now on.
            successor.close()
            if target.exists():
                target.rename(temporary)
            raise
        successor.path = target
        return successor

    def close(self) -> None:
        """Close the environment; nothing may use it afterwards."""
        self._env.close()

    def remove(self) -> None:
        """Close the environment and delete its files, gently: it may be as large as a disk."""
        self.close()
        _shrink(self.path / "data.mdb")
        shutil.rmtree(self.path)
