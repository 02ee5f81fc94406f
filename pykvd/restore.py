"""Snapshot files: what they hold, and a member's directory made from one.

A snapshot file is the store's data file followed by its SHA-256, as Maintenance.Snapshot streams it
and clients save it. Each member of the new cluster is restored from the same file; all that they
share of the old cluster is its keys with their history, its leases and its alarms. Texts of errors
are etcd's.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Protocol

import lmdb

from pykvd.bootstrap import BootstrapError, check_named, new_cluster
from pykvd.config.urls import parse_members, parse_urls
from pykvd.config.values import quote
from pykvd.mvcc.environment import Environment, fsync_directory
from pykvd.mvcc.hash import hash_all, hash_kv
from pykvd.mvcc.record import MAIN_SHIFT, TOMBSTONE, key_of
from pykvd.mvcc.store import COMPACT_KEY
from pykvd.mvcc.walk import can_be_read
from pykvd.node.storage import APPLIED_KEY, Founding, write_founding
from pykvd.oserrors import reason
from pykvd.version import STORAGE_VERSION

DIGEST_BYTES = sha256().digest_size
#: A data file is whole pages, and pages are a multiple of this: what is left over is the digest.
_SECTOR = 512
_CHUNK = 1 << 20
_REVISION_MAX = (1 << 63) - 1


class RestoreError(Exception):
    """The file cannot be used, or what was asked for cannot be made of it."""


class UsageError(RestoreError):
    """Options that do not go together."""


@dataclass(frozen=True)
class SnapshotStatus:
    """What a snapshot file holds."""

    hash: int
    """CRC-32C over all tables, as Maintenance.Hash computes it."""
    revision: int
    total_keys: int
    """Keys that are live at `revision`."""
    total_size: int
    """Bytes of the data file, without the digest."""
    version: str = STORAGE_VERSION
    """Of the storage; there has been one so far."""


@dataclass(frozen=True)
class SnapshotHash:
    """Hash of the keys and their history, as Maintenance.HashKV computes it."""

    hash: int
    revision: int
    compact_revision: int
    """-1 before the first compaction."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Which member of which new cluster to make, and where."""

    name: str = "default"
    initial_cluster: str = "default=http://localhost:2380"
    initial_cluster_token: str = "etcd-cluster"  # noqa: S105  # no secret
    initial_advertise_peer_urls: str = "http://localhost:2380"
    data_dir: Path
    wal_dir: Path | None = None

    @property
    def wal(self) -> Path:
        """Where the log will be."""
        return self.wal_dir or self.data_dir / "member" / "wal"


class Report(Protocol):
    """Is told what happens, message by message."""

    def __call__(self, message: str, **fields: object) -> object:
        """Take one message."""


def _silent(message: str, **fields: object) -> None:
    """Nobody listens."""


def snapshot_status(path: Path) -> SnapshotStatus:
    """Read a snapshot file, or the bare data file of a stopped member.

    Raises RestoreError for what is no store, is cut short or, if there is a digest, was altered.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise RestoreError(f"stat {path}: {reason(error)}") from None
    with file:
        size, digest = _parts(file)
        if digest and (found := _digest(file, size)) != digest:
            altered = _mismatch(digest, found)
            raise RestoreError(f"snapshot file integrity check failed. 1 errors found.\n{altered}")
    with opened(path, size, readonly=True) as environment:
        return SnapshotStatus(
            hash_all(environment), _revision(environment), _count_keys(environment), size
        )


def snapshot_hash(path: Path, revision: int = 0) -> SnapshotHash:
    """Hash a snapshot file, or the bare data file of a stopped member, up to a revision.

    0 stands for the newest one. Raises RestoreError.
    """
    try:
        with path.open("rb") as file:
            size, _ = _parts(file)
    except OSError as error:
        raise RestoreError(f"stat {path}: {reason(error)}") from None
    with opened(path, size, readonly=True) as environment:
        newest, compacted = _revision(environment), _compacted(environment)
        if revision > newest:
            raise RestoreError("mvcc: required revision is a future revision")
        if 0 < revision < compacted:
            raise RestoreError("mvcc: required revision has been compacted")
        at = revision or newest
        return SnapshotHash(hash_kv(environment, at, compacted), at, compacted)


def restore(
    snapshot: Path,
    target: Target,
    *,
    skip_hash_check: bool = False,
    bump_revision: int = 0,
    mark_compacted: bool = False,
    report: Report = _silent,
) -> Founding:
    """Make the data directory of one member of a new cluster; returns what it was founded with.

    `bump_revision` is added to the newest revision and everything up to there counts as compacted,
    so that clients of the old cluster, which may have seen revisions that the snapshot does not
    have, notice: their watches are cancelled rather than silent. It goes with `mark_compacted`.

    The directory appears whole or not at all. Raises RestoreError, OSError.
    """
    if mark_compacted != (bump_revision > 0):
        raise UsageError("--mark-compacted required if --revision-bump > 0")
    founding = _founding(target)
    _check_vacant(target)
    place = {
        "path": str(snapshot),
        "wal_dir": str(target.wal),
        "data_dir": str(target.data_dir),
        "snap_dir": str(target.data_dir / "member" / "db"),
    }
    report("restoring snapshot", **place)
    with _appearing(target) as (member_dir, wal_dir):
        data_file = member_dir / "db" / "1" / "data.mdb"
        size = _copy(snapshot, data_file, skip_hash_check=skip_hash_check)
        with opened(data_file.parent, size) as environment:
            report("Trimming membership information from the backend...")
            if bump_revision:
                _bump(environment, bump_revision, report)
        write_founding(member_dir, wal_dir, founding, sync=True)
        for member in founding.members:
            report(
                "added member",
                cluster_id=f"{founding.identity.cluster_id:x}",
                local_member_id=f"{founding.identity.member_id:x}",
                added_peer_id=f"{member.id:x}",
                added_peer_peer_urls=list(member.peer_urls),
                added_peer_is_learner=member.is_learner,
            )
    report("restored snapshot", **place)
    return founding


def _founding(target: Target) -> Founding:
    try:
        advertised = parse_urls(target.initial_advertise_peer_urls)
        named = parse_members(target.initial_cluster)
        check_named(target.name, named, advertised)
    except (ValueError, BootstrapError) as error:
        raise RestoreError(str(error)) from None
    return new_cluster(target.name, named, target.initial_cluster_token)


def _check_vacant(target: Target) -> None:
    data_dir = target.data_dir
    if os.path.lexists(data_dir) and not (data_dir.is_dir() and not any(data_dir.iterdir())):
        raise RestoreError(f"data-dir {quote(str(data_dir))} not empty or could not be read")
    if target.wal_dir and os.path.lexists(target.wal_dir):
        raise RestoreError(f"wal-dir {quote(str(target.wal_dir))} exists")


@contextmanager
def _appearing(target: Target) -> Iterator[tuple[Path, Path]]:
    """Temporary directories for `member` and the log; they get their names when all went well.

    The log comes first: a member directory without its log would be founded again at the start.
    """
    member_dir = target.data_dir / "member"
    with ExitStack() as scratch:
        new_member = scratch.enter_context(_scratch_near(target.data_dir)) / "member"
        (new_member / "db" / "1").mkdir(parents=True, mode=0o700)
        apart = not target.wal.is_relative_to(member_dir)
        if apart:
            new_wal = scratch.enter_context(_scratch_near(target.wal)) / "wal"
        else:
            new_wal = new_member / target.wal.relative_to(member_dir)
        yield new_member, new_wal
        fsync_directory(new_member)
        target.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if apart:
            _move(new_wal, target.wal)
        try:
            _move(new_member, member_dir)
        except OSError:
            if apart:
                shutil.rmtree(target.wal)
            raise
    fsync_directory(target.data_dir.parent)


@contextmanager
def _scratch_near(path: Path) -> Iterator[Path]:
    """A temporary directory from which `path` is a rename away: on the same disk."""
    near = next(each for each in (path, *path.absolute().parents) if each.is_dir())
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=near) as scratch:
        yield Path(scratch)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    source.rename(target)
    fsync_directory(target.parent)


def _copy(snapshot: Path, data_file: Path, *, skip_hash_check: bool) -> int:
    """Copy a snapshot without its digest, which is checked; returns the bytes copied."""
    try:
        source = snapshot.open("rb")
    except OSError as error:
        raise RestoreError(f"open {snapshot}: {reason(error)}") from None
    with source, data_file.open("xb") as copy:
        size, digest = _parts(source)
        if size + len(digest) < DIGEST_BYTES:
            raise RestoreError(f"seek {snapshot}: invalid argument")
        if not digest and not skip_hash_check:
            raise RestoreError("snapshot missing hash but --skip-hash-check=false")
        found = _digest(source, size, copy.write)
        if digest and not skip_hash_check and found != digest:
            raise RestoreError(_mismatch(digest, found))
        copy.flush()
        os.fsync(copy.fileno())
    fsync_directory(data_file.parent)
    return size


def _parts(file: BinaryIO) -> tuple[int, bytes]:
    """Bytes of data and the digest behind them, which a bare data file does not have."""
    size = os.fstat(file.fileno()).st_size
    if size % _SECTOR != DIGEST_BYTES:
        return size, b""
    file.seek(-DIGEST_BYTES, os.SEEK_END)
    return size - DIGEST_BYTES, file.read()


def _digest(
    file: BinaryIO, size: int, consume: Callable[[bytes], object] = lambda _: None
) -> bytes:
    """SHA-256 of the first `size` bytes, all of which `consume` gets."""
    digest = sha256()
    file.seek(0)
    while size and (piece := file.read(min(size, _CHUNK))):
        digest.update(piece)
        consume(piece)
        size -= len(piece)
    return digest.digest()


def _mismatch(expected: bytes, found: bytes) -> str:
    def bytes_of(digest: bytes) -> str:
        return " ".join(map(str, digest))

    return f"expected sha256 [{bytes_of(expected)}], got [{bytes_of(found)}]"


@contextmanager
def opened(path: Path, size: int, *, readonly: bool = False) -> Iterator[Environment]:
    """Open a data file, or the directory that holds one; RestoreError if it is no whole store."""
    invalid = RestoreError("invalid database")
    try:
        # LMDB reads through memory: beyond the end of a file that was cut the process would die.
        with lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False) as probe:
            page = probe.stat()["psize"]
            needed = (probe.info()["last_pgno"] + 1) * page
        # Freed pages at the end of a live store may never have been written: only reading tells.
        if size < needed and (size % page or not can_be_read(path)):
            raise invalid
        environment = Environment(path, readonly=readonly)
    except lmdb.Error:
        raise invalid from None
    try:
        if APPLIED_KEY not in dict(environment.table("meta")):
            raise invalid
        yield environment
    finally:
        environment.close()


def _revision(environment: Environment) -> int:
    """The revision that a member with this store is at."""
    return max(environment.newest() >> MAIN_SHIFT, _compacted(environment), 1)


def _compacted(environment: Environment) -> int:
    """The oldest revision that can be read; -1 before the first compaction."""
    return int(dict(environment.table("meta")).get(COMPACT_KEY, b"-1"))


def _count_keys(environment: Environment) -> int:
    live: set[bytes] = set()
    for record_id, framed in environment.scan(0, environment.newest()):
        if record_id & TOMBSTONE:
            live.discard(key_of(framed))
        else:
            live.add(key_of(framed))
    return len(live)


def _bump(environment: Environment, amount: int, report: Report) -> None:
    """Compact at a revision that is yet to come; a store is never behind its compaction."""
    revision = _revision(environment)
    bumped = revision + amount
    if bumped > _REVISION_MAX:
        raise UsageError(f"revision {revision} cannot be bumped by {amount}")
    report(
        "bumping latest revision",
        latest_revision=revision,
        bump_amount=amount,
        new_latest_revision=bumped,
    )
    environment.write([], [], {("meta", COMPACT_KEY): str(bumped).encode()})
    report("marking revision compacted", revision=bumped)
