"""The hashes that compactions take of what they find, for HashKV and to compare members by.

As in etcd: until a compaction has removed anything it hashes the records up to its revision, under
the compaction before it. So HashKV at that revision answers as it did before, and members that
have compacted, others that have not, and some that have compacted again say the same of it. The
last ones are kept in memory.
"""

import asyncio
from functools import partial
from typing import NamedTuple

import google_crc32c
import lmdb

from pykvd.logs import get_logger
from pykvd.mvcc.environment import Environment
from pykvd.mvcc.hash import SEED, record_key
from pykvd.mvcc.record import MAIN_SHIFT, TOMBSTONE, body_of
from pykvd.mvcc.store import Store
from pykvd.node.committer import Committer

#: As many as etcd remembers.
REMEMBERED = 10
#: A slice ends behind so many bytes of records; it holds up the store's thread for a millisecond.
SLICE_BYTES = 1 << 20

_log = get_logger("compaction")


class CompactionHash(NamedTuple):
    """HashKV at `revision`, under the compaction at `compact_revision`."""

    revision: int
    compact_revision: int
    hash: int


class CompactionHashes:
    """The hashes that compactions of this life have taken.

    `batch` records or keys are looked at, then `pause` seconds are left to others.
    """

    def __init__(self, store: Store, committer: Committer, *, batch: int, pause: float) -> None:
        self._store = store
        self._committer = committer
        self._batch = batch
        self._pause = pause
        self._hashes: dict[int, CompactionHash] = {}

    def get(self, revision: int) -> CompactionHash | None:
        """The hash that the compaction at a revision took, if it is remembered."""
        return self._hashes.get(revision)

    def newest_first(self) -> list[CompactionHash]:
        """All that are remembered."""
        return list(self._hashes.values())[::-1]

    async def take(self, revision: int, previous: int) -> None:
        """Hash for the compaction at `revision` before anything is removed for it.

        All that the compaction at `previous`, -1 for none, left behind must be removed.
        """
        try:
            crc = await self._hash(revision, previous)
        except lmdb.Error as error:
            _log.warn("cannot hash for a compaction", compact_revision=revision, error=str(error))
            return
        self._hashes[revision] = CompactionHash(revision, previous, crc)
        if len(self._hashes) > REMEMBERED:
            del self._hashes[next(iter(self._hashes))]
        _log.info("storing new hash", hash=crc, revision=revision, compact_revision=previous)

    async def _hash(self, revision: int, previous: int) -> int:
        skipped = await self._superseded(revision, previous)
        await self._committer.flush()
        crc, first, last = SEED, 0, _end(revision) - 1
        while first <= last:
            work = partial(
                _extend, crc=crc, first=first, last=last, skipped=skipped, batch=self._batch
            )
            crc, first = await self._store.backend.read(work)
            if first <= last:
                await asyncio.sleep(self._pause)
        return crc

    async def _superseded(self, revision: int, previous: int) -> set[int]:
        """The records up to `previous` that HashKV at `revision` leaves out (`mvcc.hash`)."""
        index = self._store.index
        tombstones: set[int] = set()
        superseded: set[int] = set()
        for position, key in enumerate(list(index.past), 1):
            # A compaction leaves one record of a key at most.
            first, following = self._first_two(key)
            if first < _end(previous):
                if first & TOMBSTONE:
                    tombstones.add(first)
                elif following < _end(revision):
                    superseded.add(first)
            if position % self._batch == 0:
                await asyncio.sleep(self._pause)
        if superseded and await self._keeps_any(revision):
            return tombstones | superseded
        return tombstones

    def _first_two(self, key: bytes) -> tuple[int, int]:
        ids, live = self._store.index.past[key], self._store.index.find(key)
        following = ids[1:2] or (live[:1] if live else [ids[0]])
        return ids[0], following[0]

    async def _keeps_any(self, revision: int) -> bool:
        """Whether any key exists at a revision."""
        index = self._store.index
        for position, key in enumerate([*index.live, *index.past], 1):
            if index.id_at(key, revision):
                return True
            if position % self._batch == 0:
                await asyncio.sleep(0)
        return False


def _end(revision: int) -> int:
    """All ids up to a revision are below this one."""
    return (revision + 1) << MAIN_SHIFT


def _extend(
    environment: Environment, *, crc: int, first: int, last: int, skipped: set[int], batch: int
) -> tuple[int, int]:
    """Hash a slice of the records from `first` to `last`; the hash, and where to go on."""
    parts: list[bytes] = []
    size = 0
    for position, (record_id, framed) in enumerate(environment.scan(first, last)):
        if position == batch or size >= SLICE_BYTES:
            return google_crc32c.extend(crc, b"".join(parts)), record_id
        size += len(framed)
        if record_id not in skipped:
            parts += (record_key(record_id), body_of(framed))
    return google_crc32c.extend(crc, b"".join(parts)), last + 1
