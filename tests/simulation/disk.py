"""What one member keeps through a crash, and the thread that writes its log, in virtual time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from pykvd.mvcc.store import Store
from pykvd.node.storage import (
    APPLIED,
    APPLIED_KEY,
    CONF_STATE_KEY,
    FOUNDATION,
    Identity,
    Storage,
    follow_store,
)
from pykvd.raft import ConfState, HardState
from pykvd.wal import HardState as HardStateRecord
from pykvd.wal import Snapshot, Wal
from pykvd.wal.memory_filesystem import MemoryFileSystem
from tests.simulation.backend import MemoryEnvironment, SimulatedBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from pykvd.cluster.membership import Member
    from pykvd.wal import Record
    from tests.simulation.loop import ProcessLoop

DIRECTORY = Path("/wal")
SEGMENT_BYTES = 8 << 10
"""Small, so that segments are cut and released within a short run."""
RECENT_BYTES = 2 << 10
"""So little that most reads of old records go to the file."""


@dataclass(slots=True)
class DiskSpeed:
    """Seconds that a sync of the log and a commit of the store take: a uniform draw."""

    sync: tuple[float, float] = (0.0005, 0.005)
    commit: tuple[float, float] = (0.005, 0.05)
    at_once: float = 0.0
    """The part of the small syncs that a process waits for, doing nothing else."""


@dataclass
class Disk:
    """The files of one member: the log's segments, the store's file, and copies of such files."""

    rng: Random
    speed: DiskSpeed
    log_files: MemoryFileSystem = field(default_factory=MemoryFileSystem)
    files_by_path: dict[Path, MemoryEnvironment] = field(default_factory=dict)
    _number: int = 0

    def __post_init__(self) -> None:
        """Begin with an empty store."""
        self.environment = MemoryEnvironment(self)

    def found(self, identity: Identity, members: list[Member], *, joining: bool) -> None:
        """Write the first state of a member, as `pykvd.node.storage` does."""
        start = (0, 0) if joining else FOUNDATION
        voters = () if joining else tuple(member.id for member in members)
        meta: dict[tuple[str, bytes], bytes | None] = {
            ("meta", APPLIED_KEY): APPLIED.pack(*start),
            ("meta", CONF_STATE_KEY): ConfState(voters=voters).encode(),
        }
        for member in members:
            meta["member", member.id.to_bytes(8, "big")] = member.encode()
        self.environment.write([], [], meta)
        salt = self.rng.getrandbits(32)
        wal = Wal.create(
            DIRECTORY,
            identity.encode(),
            segment_bytes=SEGMENT_BYTES,
            salt=salt,
            filesystem=self.log_files,
        )
        index, term = start
        if index:
            wal.append([HardStateRecord(term, 0, index), Snapshot(index, term)])
        wal.close()

    def crash(self) -> None:
        """Lose and tear what was not synced; temporary files are removed at the next start."""
        self.log_files.crash(self.rng)
        self.files_by_path.clear()

    def incoming(self) -> Path:
        """A path that was not used before."""
        self._number += 1
        return Path(f"/scratch/{self._number}")

    def sync_seconds(self) -> float:
        """How long the next sync takes."""
        return self.rng.uniform(*self.speed.sync)

    def commit_seconds(self) -> float:
        """How long the next commit of the store takes."""
        return self.rng.uniform(*self.speed.commit)

    def open(self, loop: ProcessLoop) -> Storage:
        """What `pykvd.node.storage.open_storage` does, on these files."""
        wal, replay = Wal.open(DIRECTORY, segment_bytes=SEGMENT_BYTES, filesystem=self.log_files)
        backend = SimulatedBackend(
            self.environment, loop=loop, seconds=self.commit_seconds, recent_bytes=RECENT_BYTES
        )
        store = Store(backend)
        store.load()
        meta = dict(backend.table("meta"))
        applied = APPLIED.unpack(meta[APPLIED_KEY])
        follow_store(wal, replay, applied)
        state = replay.hard_state
        return Storage(
            lock=_NoLock(),  # type: ignore[arg-type]
            identity=Identity.decode(replay.metadata),
            wal=wal,
            replay=replay,
            store=store,
            backend=backend,
            conf_state=ConfState.decode(meta[CONF_STATE_KEY]),
            hard_state=HardState(state.term, state.vote, state.commit),
            applied=applied,
            fresh=False,
            scratch=Path("/scratch"),
        )


class _NoLock:
    """Nobody else uses a simulated directory."""

    def release(self) -> None:
        """Nothing is held."""


class Unsynced(Wal):
    """The log on a disk that takes writes and never gets to sync them: power is about to fail."""

    def __init__(self, wal: Wal) -> None:
        self.__dict__ = wal.__dict__

    def commit(self, records: Sequence[Record]) -> None:
        """Write, and no more."""
        self.append(records)


class LogObserver(Protocol):
    """Who wants to know what is written to a log."""

    def submitted(self, records: Sequence[Record]) -> None:
        """Records are handed to the writer."""

    def reported(self, records: Sequence[Record]) -> None:
        """Records are about to be reported durable."""


class SimulatedWalWriter:
    """The interface of `pykvd.wal.WalWriter` over the real `Wal`, without its thread.

    A batch is written when it begins and durable when its sync ends, so that a crash between the
    two loses or tears it. While one batch is under way the others gather.
    """

    honest = True
    """False reports a batch durable before it is synced: for the test that breaks this rule."""

    def __init__(self, wal: Wal, disk: Disk, observer: LogObserver) -> None:
        self._wal = wal
        self._disk = disk
        self._observer = observer
        self._loop = cast("ProcessLoop", asyncio.get_running_loop())
        self._queue: deque[tuple[Sequence[Record], Callable[[], None]]] = deque()
        self._release_before = 0
        self._busy = False

    def submit(self, records: Sequence[Record], done: Callable[[], None]) -> None:
        """Make the records durable, in the order of the calls, then call `done`."""
        self._observer.submitted(records)
        self._queue.append((records, done))
        if not self._busy:
            self._begin()

    def commit_now(self, records: Sequence[Record]) -> bool:
        """Make the records durable while the process stands still; or leave it to `submit`."""
        if self._busy or self._disk.rng.random() >= self._disk.speed.at_once:
            return False
        self._observer.submitted(records)
        self._wal.append(records)
        if self.honest:
            self._wal.sync()
        self._observer.reported(records)
        self._loop.pause(self._disk.sync_seconds())
        return True

    def release(self, index: int) -> None:
        """Delete old segments once everything submitted before is durable."""
        self._release_before = index
        if not self._busy:
            self._end([])

    def stop(self) -> None:
        """Close the log as it is."""
        self._wal.close()

    def _begin(self) -> None:
        self._busy = True
        batch = list(self._queue)
        self._queue.clear()
        self._wal.append([record for records, _ in batch for record in records])
        if not self.honest:
            self._report(batch)
            batch = []
        self._loop.call_later(self._disk.sync_seconds(), self._end, batch)

    def _end(self, batch: list[tuple[Sequence[Record], Callable[[], None]]]) -> None:
        self._busy = False
        self._wal.sync()
        self._report(batch)
        if self._release_before:
            self._wal.release(self._release_before)
            self._release_before = 0
        if self._queue and not self._busy:
            self._begin()

    def _report(self, batch: list[tuple[Sequence[Record], Callable[[], None]]]) -> None:
        for records, done in batch:
            self._observer.reported(records)
            done()
