"""What a member says of its data when another one asks, so that the two can be compared.

Four questions, answered from memory or by the store's thread; questions and answers are JSON.

    digest      the running checksum of everything written, at some revisions; reads nothing
    slice       the checksum of the records as they stand on the disk, ids in a small range
    hash        HashKV, of the whole store up to a revision
    compaction  the hash that a compaction took; reads nothing

An answer is a `Reading`. Nothing is said (None) where the member is not at the same point: it lags
behind, has another compaction, or has not swept up after it yet. Lagging is told by the log's
index: which revisions there are at an index is itself a thing to compare.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import NamedTuple

import google_crc32c
import lmdb

from pykvd.mvcc.environment import Environment
from pykvd.mvcc.record import ID_BYTES
from pykvd.node.node import Node

DIGEST, SLICE, HASH, COMPACTION = "digest", "slice", "hash", "compaction"
#: A slice: about half a millisecond of the store's thread.
SLICE_RECORDS = 1000
SLICE_BYTES = 256 << 10
#: How long a member waits to reach the index that it is asked at, in seconds.
PATIENCE = 2.0
#: Of a member whose file cannot be read: equal to no reading of another.
UNREADABLE = -1
#: Of a member that has applied as much but has no such revision.
ABSENT = -2
_END = (1 << 96) - 1

Reading = int | None


class Slice(NamedTuple):
    """Records of the file: the last one's id, how many, and their checksum."""

    last: int
    records: int
    crc: int


class Checksums:
    """Answers for one member, and asks the others."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._store = node.store
        node.answers[DIGEST] = self._answer_digest
        node.answers[SLICE] = self._answer_slice
        node.answers[HASH] = self._answer_hash
        node.answers[COMPACTION] = self._answer_compaction

    # This member's own

    def digest(self, origin: int, revisions: Iterable[int]) -> dict[str, int]:
        """The running checksum, if it began at `origin`, by what it is of.

        That are the revisions as far as they are remembered, and the index of the last commit; then
        the number tells the revision reached too.
        """
        digest, committer = self._store.backend.digest, self._node.committer
        if digest.origin != origin:
            return {}
        found = {f"revision {revision}": digest.at(revision) for revision in revisions}
        if committer.settled_index:
            newest = digest.newest
            found[f"index {committer.settled_index}"] = newest.revision << 32 | newest.crc
        return {point: crc for point, crc in found.items() if crc is not None}

    async def read_slice(self, first: int, last: int = _END) -> Slice | None:
        """The records from `first` on, not beyond `last`; None while a compaction sweeps.

        Raises lmdb.Error for a file that cannot be read.
        """
        if not await self._settled(self._store.compact_revision):
            return None
        return await self._store.backend.read(lambda each: _scan(each, first, last))

    async def _settled(self, compacted: int) -> bool:
        """Whether the file holds what is left by a compaction, and all that is applied.

        What is applied from now on is committed behind the next job of the store's thread.
        """
        await self._node.committer.flush()
        unswept = self._node.sweeper.sweeping or self._store.backend.removing
        return not unswept and self._store.compact_revision == compacted

    async def _reach(self, index: int) -> bool:
        """Wait for a while until everything up to an index of the log is applied."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while self._node.committer.index < index:
            if loop.time() > deadline:
                return False
            await asyncio.sleep(self._node.config.heartbeat_interval)
        return True

    async def hash(self, index: int, revision: int, compacted: int) -> Reading:
        """HashKV at a revision under a compaction, as of an index or later."""
        store = self._store
        if not await self._reach(index) or not await self._settled(compacted):
            return None
        if store.revision < revision:
            return ABSENT
        try:
            return await store.backend.hash_revision(revision, compacted)
        except lmdb.Error:
            return UNREADABLE

    def compaction(self, revision: int, compacted: int) -> Reading:
        """What the compaction at a revision hashed, under the one before it."""
        taken = self._node.compaction_hashes.get(revision)
        return taken.hash if taken and taken.compact_revision == compacted else None

    # Answers

    async def _answer_digest(self, payload: bytes) -> bytes:
        question = json.loads(payload)
        return _encode(self.digest(question["origin"], question["revisions"]))

    async def _answer_slice(self, payload: bytes) -> bytes:
        question = json.loads(payload)
        return _encode(await self.slice_reading(**question))

    async def slice_reading(self, index: int, first: int, last: int, compacted: int) -> Reading:
        """The checksum of the records with these ids under a compaction, as `hash` has it."""
        if not await self._reach(index) or not await self._settled(compacted):
            return None
        try:
            return (await self._store.backend.read(lambda each: _scan(each, first, last))).crc
        except lmdb.Error:
            return UNREADABLE

    async def _answer_hash(self, payload: bytes) -> bytes:
        question = json.loads(payload)
        return _encode(await self.hash(**question))

    async def _answer_compaction(self, payload: bytes) -> bytes:
        question = json.loads(payload)
        return _encode(self.compaction(**question))


def _scan(environment: Environment, first: int, last: int) -> Slice:
    parts: list[bytes] = []
    size = 0
    end = first
    for end, framed in environment.scan(first, last):
        parts += (end.to_bytes(ID_BYTES, "big"), framed)
        size += len(framed)
        if size >= SLICE_BYTES or len(parts) >= 2 * SLICE_RECORDS:
            break
    return Slice(end, len(parts) // 2, google_crc32c.extend(0, b"".join(parts)))


def _encode(answer: object) -> bytes:
    return json.dumps(answer).encode()
