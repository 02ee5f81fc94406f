"""Finds members whose data differ, and raises the CORRUPT alarm for them.

The leader compares; members name themselves wrong by being few. Always on are two comparisons that
cost next to nothing: the running checksum of all that was written finds members that applied
something else, and a slice of the stored records a second, round and round, finds what the disk has
changed since. etcd's own comparisons, of whole hashes, are run as `--corrupt-check-time`,
`--compact-hash-check-time` and the feature gates ask for.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import lmdb

from pykvd.logs import get_logger
from pykvd.node.checksums import (
    COMPACTION,
    DIGEST,
    HASH,
    SLICE,
    UNREADABLE,
    Checksums,
    Reading,
)
from pykvd.node.commands import Command
from pykvd.node.node import Node
from pykvd.node.responder import NOBODY
from pykvd.node.storage import StorageMismatchError
from pykvd.pb import rpc_pb2 as rpc

#: Seconds between two rounds of the comparisons that are always on.
INTERVAL = 1.0
#: Rounds with a difference that one more answer could settle, before the alarm names nobody.
ROUNDS_UNDECIDED = 10
#: How long others may take to answer; hashing a large store takes long.
QUESTION_TIMEOUT = 5.0
HASH_TIMEOUT = 300.0
#: The member that an alarm names when there is no majority to tell who is wrong (as in etcd).
NOBODY_KNOWS = 0
CHECKS = (DIGEST, SLICE, HASH, COMPACTION)
#: `skipped` for want of answers.
OUTCOMES = ("equal", "different", "skipped")

_log = get_logger("corruption")


def odd_ones(readings: Mapping[int, Reading], members: int) -> list[int]:
    """The members that a majority of all `members` contradicts.

    Of a member whose reading is None nothing is known; one that is UNREADABLE is always odd.
    NOBODY_KNOWS stands for all when they differ and there is no majority.
    """
    known = {member: reading for member, reading in readings.items() if reading is not None}
    unreadable = sorted(member for member, reading in known.items() if reading == UNREADABLE)
    votes = Counter(reading for reading in known.values() if reading != UNREADABLE)
    if len(votes) <= 1:
        return unreadable
    right, count = votes.most_common(1)[0]
    if count * 2 > members:
        return sorted(member for member, reading in known.items() if reading != right)
    return [NOBODY_KNOWS, *unreadable]


class ConsistencyMonitor:
    """The comparisons that a leader makes; other members only answer.

    `hash_interval` seconds pass between comparisons of the whole store, 0 for none;
    `compact_hash_interval` between looks for a new compaction to compare, 0 for none.
    """

    def __init__(
        self,
        node: Node,
        *,
        hash_interval: float = 0.0,
        compact_hash_interval: float = 0.0,
        interval: float = INTERVAL,
    ) -> None:
        self._node = node
        self._own = Checksums(node)
        self._interval = interval
        self._hash_interval = hash_interval
        self._compact_hash_interval = compact_hash_interval
        self._cursor = 0
        self._compared = -1
        self._undecided: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        #: Comparisons by kind and outcome (CHECKS, OUTCOMES).
        self.outcomes: Counter[tuple[str, str]] = Counter()
        #: Times that all stored records were read and compared.
        self.passes = 0

    def start(self) -> None:
        """Begin to compare whenever this member leads."""
        self._every(self._interval, self._compare_digest)
        self._every(self._interval, self._compare_slice)
        self._every(self._hash_interval, self._compare_hash)
        self._every(self._compact_hash_interval, self._compare_compaction)

    def stop(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()

    def _every(self, seconds: float, compare: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            while True:
                await asyncio.sleep(seconds)
                if self._node.is_leader and len(self._node.membership.members) > 1:
                    await compare()

        if seconds > 0:
            self._tasks.append(asyncio.get_running_loop().create_task(run()))

    # The comparisons

    async def _compare_digest(self) -> None:
        """Compare the running checksum at a point that as many members as possible know."""
        digest = self._node.store.backend.digest
        revisions = [mark.revision for mark in digest.marks]
        own = self._own.digest(digest.origin, revisions)
        question = {"origin": digest.origin, "revisions": revisions}
        answers = await self._ask(DIGEST, question, QUESTION_TIMEOUT)
        answers[self._node.member_id] = own
        common = Counter(point for answer in answers.values() for point in answer)
        # The newest state of all says more than a revision that is remembered.
        point = max(common, key=lambda each: (common[each], each.startswith("index")), default="")
        readings = {member: answer.get(point) for member, answer in answers.items()}
        self._judge(DIGEST, readings, {"at": point})

    async def _compare_slice(self) -> None:
        """Compare the next records on the disks; twice, before anybody is accused."""
        compacted = self._node.store.compact_revision
        first = self._cursor
        try:
            found = await self._own.read_slice(first)
        except lmdb.Error:
            self._judge(SLICE, {self._node.member_id: UNREADABLE}, {"first": first})
            return
        if found is None:
            self.outcomes[SLICE, "skipped"] += 1
            return
        if not found.records:
            self._cursor = 0
            self.passes += bool(first)
            return
        for _ in range(2):
            index = self._node.committer.index
            where = {"index": index, "first": first, "last": found.last, "compacted": compacted}
            readings = await self._ask(SLICE, where, QUESTION_TIMEOUT)
            readings[self._node.member_id] = await self._own.slice_reading(**where)
            if not odd_ones(readings, len(self._node.membership.members)):
                break
        self._judge(SLICE, readings, where)
        self._cursor = found.last + 1

    async def _compare_compaction(self) -> None:
        """Compare what the newest compaction hashed that all members know of, once."""
        for taken in self._node.compaction_hashes.newest_first():
            if taken.revision <= self._compared:
                return
            where = {"revision": taken.revision, "compacted": taken.compact_revision}
            readings = await self._ask(COMPACTION, where, QUESTION_TIMEOUT)
            readings[self._node.member_id] = taken.hash
            self._judge(COMPACTION, readings, where)
            if self._answered(readings):
                self._compared = taken.revision
                return

    def _answered(self, readings: Mapping[int, Reading]) -> bool:
        """Whether every member could be compared."""
        known = sum(reading is not None for reading in readings.values())
        return known == len(self._node.membership.members)

    async def _compare_hash(self) -> None:
        """Compare HashKV of everything."""
        store, index = self._node.store, self._node.committer.index
        revision, compacted = store.revision, store.compact_revision
        where = {"index": index, "revision": revision, "compacted": compacted}
        asking = self._ask(HASH, where, HASH_TIMEOUT)
        own, readings = await asyncio.gather(self._own.hash(**where), asking)
        readings[self._node.member_id] = own
        self._judge(HASH, readings, where)

    async def _ask(self, kind: str, question: object, limit: float) -> dict[int, Any]:
        """What the others say; members that cannot be asked are left out."""
        network = self._node.network
        assert network
        payload = json.dumps(question).encode()
        others = [each for each in self._node.membership.members if each != self._node.member_id]
        calls = (network.call(member, kind, payload, limit) for member in others)
        replies = await asyncio.gather(*calls, return_exceptions=True)
        return {
            member: json.loads(reply)
            for member, reply in zip(others, replies, strict=True)
            if isinstance(reply, bytes)
        }

    # The verdict

    def _judge(
        self, kind: str, readings: Mapping[int, Reading], where: Mapping[str, object]
    ) -> None:
        members = len(self._node.membership.members)
        known = sum(reading is not None for reading in readings.values())
        wrong = odd_ones(readings, members)
        outcome = "different" if wrong else "equal" if known > 1 else "skipped"
        self.outcomes[kind, outcome] += 1
        if NOBODY_KNOWS in wrong and known < members and self._may_tell_later(kind):
            return
        self._undecided[kind] = 0
        for member in wrong:
            self._accuse(member, kind, readings, where)

    def _may_tell_later(self, kind: str) -> bool:
        """Whether to wait for the member whose word would make a majority."""
        self._undecided[kind] += 1
        return self._undecided[kind] < ROUNDS_UNDECIDED

    def _accuse(
        self, member: int, kind: str, readings: Mapping[int, Reading], where: Mapping[str, object]
    ) -> None:
        if (member, rpc.CORRUPT) in self._node.applier.alarms:
            return
        _log.error(
            "found data inconsistency between members; raising the CORRUPT alarm",
            check=kind,
            corrupt_member_id=f"{member:x}",
            checksums={f"{each:x}": reading for each, reading in readings.items()},
            **where,
        )
        request = rpc.AlarmRequest(
            memberID=member, action=rpc.AlarmRequest.ACTIVATE, alarm=rpc.CORRUPT
        )
        payload = request.SerializeToString()
        self._node.propose(Command.ALARM, payload, request, NOBODY)

    # Before serving

    async def check_at_start(self) -> None:
        """Refuse to serve data that differ from another member's (InitialCorruptCheck).

        Members that do not answer, or are at another point, say nothing. Raises
        StorageMismatchError.
        """
        store, index = self._node.store, self._node.committer.index
        # Another life may have left a compaction half swept.
        self._node.sweeper.resume()
        await self._node.sweeper.swept()
        revision, compacted = store.revision, store.compact_revision
        where = {"index": index, "revision": revision, "compacted": compacted}
        own = await self._own.hash(**where)
        readings: dict[int, Reading] = await self._ask(HASH, where, QUESTION_TIMEOUT)
        for member, reading in readings.items():
            if reading is not None and reading != own:
                raise StorageMismatchError(
                    f"found data inconsistency with peers: at revision {revision} this member's "
                    f"hash is {own}, that of member {member:x} is {reading}; remove this member's "
                    "directory and let it join anew"
                )
        _log.info(
            "initial corruption checking passed; no corruption",
            local_member_id=f"{self._node.member_id:x}",
            compared_with=sorted(f"{each:x}" for each, r in readings.items() if r is not None),
        )
