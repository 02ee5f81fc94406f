"""A member's directory: opened or made, with everything that a node starts from.

<data-dir>/member/LOCK        held while a process uses the directory
<data-dir>/member/wal/        the write-ahead log
<data-dir>/member/db/<n>/     the store (LMDB), the snapshot that the log continues
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from pykvd.cluster.membership import Member
from pykvd.mvcc.backend import Backend
from pykvd.mvcc.environment import Environment
from pykvd.mvcc.store import Store
from pykvd.raft import ConfState, HardState
from pykvd.wal import DataDirLock, Metadata, Replay, Snapshot, Wal
from pykvd.wal import HardState as HardStateRecord

APPLIED = Struct(">QQ")
APPLIED_KEY = b"applied"
CONF_STATE_KEY = b"conf_state"
#: Index and term that every founding member starts from; not (0, 0), so that a member added later
#: is sent a snapshot, which tells it the configuration.
FOUNDATION = (1, 1)


class StorageMismatchError(Exception):
    """The log and the store of a directory do not belong together; the text says how."""


class Identity(NamedTuple):
    """Who this member is, written once into the log's metadata."""

    member_id: int
    cluster_id: int

    def encode(self) -> bytes:
        """As JSON, so that a person with a hex dump can read it."""
        return json.dumps({"member": self.member_id, "cluster": self.cluster_id}).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Identity":
        """Read back what `encode` wrote."""
        fields = json.loads(data)
        return cls(fields["member"], fields["cluster"])


class Founding(NamedTuple):
    """What an empty directory is filled with.

    A founding member knows the first configuration; one that joins waits to be told by a snapshot.
    """

    identity: Identity
    members: list[Member]
    joining: bool


@dataclass(slots=True)
class Storage:
    """An open directory. `replay` is the log behind `applied`, as (index, term)."""

    lock: DataDirLock
    identity: Identity
    wal: Wal
    replay: Replay
    store: Store
    backend: Backend
    conf_state: ConfState
    hard_state: HardState
    applied: tuple[int, int]
    fresh: bool
    scratch: Path
    """A directory for temporary files, on the same disk."""


def open_storage(
    data_dir: Path,
    wal_dir: Path | None,
    *,
    founding: Founding | None,
    sync: bool,
    post: Callable[[Callable[[], object]], object],
    on_failure: Callable[[BaseException], None],
) -> Storage:
    """Open the directory; an empty one is filled by `founding`.

    Raises DataDirLocked when another process uses it, WalDamaged when the log cannot be trusted,
    StorageMismatchError when log and store do not fit each other.
    """
    member_dir = data_dir / "member"
    wal_dir = wal_dir or member_dir / "wal"
    member_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    data_dir.chmod(0o700)
    with ExitStack() as undo:
        lock = undo.enter_context(DataDirLock(member_dir))
        fresh = not Wal.exists(wal_dir)
        if fresh and founding:
            write_founding(member_dir, wal_dir, founding, sync=sync)
        wal, replay = Wal.open(wal_dir, sync=sync)
        undo.callback(wal.close)
        environment = Environment.open_latest(member_dir / "db", sync=sync)
        backend = Backend(environment, post=post, on_failure=on_failure)
        undo.callback(backend.close)
        store = Store(backend)
        store.load()
        meta = dict(backend.table("meta"))
        if APPLIED_KEY not in meta:
            raise StorageMismatchError(
                f"{wal_dir} holds a log, but {member_dir / 'db'} holds no store: restore a "
                "snapshot, or remove the member and add it again with an empty directory"
            )
        applied = APPLIED.unpack(meta[APPLIED_KEY])
        follow_store(wal, replay, applied)
        state = replay.hard_state
        undo.pop_all()
    return Storage(
        lock=lock,
        identity=Identity.decode(replay.metadata),
        wal=wal,
        replay=replay,
        store=store,
        backend=backend,
        conf_state=ConfState.decode(meta[CONF_STATE_KEY]),
        hard_state=HardState(state.term, state.vote, state.commit) if state else HardState(),
        applied=applied,
        fresh=fresh,
        scratch=member_dir,
    )


def follow_store(wal: Wal, replay: Replay, applied: tuple[int, int]) -> None:
    """Have the log go on from the store's (index, term) where it holds something else.

    A crash came between an installed snapshot and its mark in the log. What the log holds beyond
    is of a leader that was replaced, and must not be taken for what the store has applied.
    """
    index, term = applied
    position = index - replay.snapshot.index - 1
    if position < 0:
        return
    if position < len(replay.entries) and replay.entries[position].term == term:
        return
    mark = Snapshot(index, term)
    wal.commit([mark])
    replay.feed(mark)


def read_state(directory: Path) -> tuple[tuple[int, int], ConfState]:
    """What a copy of a store says of itself: applied (index, term) and configuration."""
    environment = Environment(directory, sync=False)
    try:
        meta = dict(environment.table("meta"))
    finally:
        environment.close()
    index, term = APPLIED.unpack(meta[APPLIED_KEY])
    return (index, term), ConfState.decode(meta[CONF_STATE_KEY])


def write_founding(member_dir: Path, wal_dir: Path, founding: Founding, *, sync: bool) -> None:
    """Write the first state. The log comes last: with it the directory counts as founded.

    A store that is there already keeps its keys, leases and alarms and gets new members.
    """
    environment = Environment.open_latest(member_dir / "db", sync=sync)
    voters = () if founding.joining else sorted(member.id for member in founding.members)
    start = (0, 0) if founding.joining else FOUNDATION
    meta: dict[tuple[str, bytes], bytes | None] = {
        ("meta", APPLIED_KEY): APPLIED.pack(*start),
        ("meta", CONF_STATE_KEY): ConfState(voters=tuple(voters)).encode(),
    }
    for table in ("member", "removed"):
        meta |= {(table, key): None for key, _ in environment.table(table)}
    for member in founding.members:
        meta["member", member.id.to_bytes(8, "big")] = member.encode()
    environment.write([], [], meta)
    environment.close()
    wal = Wal.create(wal_dir, Metadata(founding.identity.encode()).data, sync=sync)
    index, term = start
    if index:
        wal.append([HardStateRecord(term, 0, index), Snapshot(index, term)])
    wal.close()
