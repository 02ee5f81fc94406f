"""A compaction's hash is HashKV before it, whatever is written, and compacted, around it."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pykvd.node.committer import Committer
from pykvd.node.compaction_hashes import CompactionHash, CompactionHashes
from pykvd.node.sweeper import Sweeper
from tests.unit.mvcc.disk import Disk

Change = tuple[bytes, bool]
CHANGES = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.booleans()), max_size=8)


class Swept:
    """A store whose compactions are hashed and swept, two records at a time."""

    def __init__(self, disk: Disk) -> None:
        self.store = disk.store
        self.committer = Committer(
            disk.backend, (0, 0), interval=60, limit=1 << 30, snapshot_count=1, advanced=_ignore
        )
        self.hashes = CompactionHashes(self.store, self.committer, batch=2, pause=0)
        self.sweeper = Sweeper(self.store, self.committer, self.hashes, batch=2, pause=0)
        self.sweeper.resume()

    def write(self, changes: list[Change]) -> None:
        """Each change a revision: a put, or a deletion where there is the key."""
        for key, put in changes:
            self.store.begin()
            if put:
                self.store.put(key, b"v%d" % self.store.revision, 0)
            elif self.store.get(key):
                self.store.delete(key)
            self.store.end()

    async def hash_kv(self, revision: int) -> int:
        await self.committer.flush()
        return await self.store.backend.hash_revision(revision, self.store.compact_revision)

    async def compact(self, revision: int) -> None:
        self.store.compact(revision)
        self.sweeper.start()


def _ignore(_index: int, _term: int) -> None:
    pass


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(CHANGES, st.integers(0, 10), CHANGES), min_size=1, max_size=4))
@example([([(b"a", True)], 0, []), ([(b"a", False)], 0, [])])  # nothing is kept
def test_it_is_what_was_there(rounds: list[tuple[list[Change], int, list[Change]]]) -> None:
    async def run(disk: Disk) -> None:
        swept = Swept(disk)
        for before, back, meanwhile in rounds:
            swept.write(before)
            previous = swept.store.compact_revision
            revision = max(previous + 1, swept.store.revision - back)
            if revision > swept.store.revision:
                continue
            expected = CompactionHash(revision, previous, await swept.hash_kv(revision))
            await swept.compact(revision)
            for change in meanwhile:
                swept.write([change])
                await asyncio.sleep(0)
            await swept.sweeper.swept()
            assert swept.hashes.get(revision) == expected
            await swept.committer.flush()

    on_disk(run)


def test_a_compaction_whose_forerunner_is_not_swept_up_takes_none() -> None:
    async def run(disk: Disk) -> None:
        swept = Swept(disk)
        swept.write([(b"a", True)] * 9)
        await swept.compact(4)
        await swept.compact(6)
        await swept.sweeper.swept()
        assert not swept.hashes.newest_first()
        await swept.compact(8)
        await swept.sweeper.swept()
        assert [taken[:2] for taken in swept.hashes.newest_first()] == [(8, 6)]

    on_disk(run)


def test_what_another_life_left_is_swept_up_before_one_is_taken() -> None:
    async def run(disk: Disk) -> None:
        swept = Swept(disk)
        swept.write([(b"a", True)] * 9)
        swept.store.compact(4)
        again = Swept(disk)
        await again.compact(6)
        await again.sweeper.swept()
        assert not again.hashes.newest_first()

    on_disk(run)


@pytest.mark.parametrize("compactions", [10, 11])
def test_the_last_ten_are_remembered(compactions: int) -> None:
    async def run(disk: Disk) -> None:
        swept = Swept(disk)
        for _ in range(compactions):
            swept.write([(b"a", True)])
            await swept.compact(swept.store.revision)
            await swept.sweeper.swept()
        assert len(swept.hashes.newest_first()) == 10
        assert bool(swept.hashes.get(2)) == (compactions == 10)

    on_disk(run)


def on_disk(run: Callable[[Disk], Coroutine[object, object, None]]) -> None:
    """Run a coroutine on an empty store."""
    disk = Disk()
    try:
        disk.run(run(disk))
    finally:
        disk.remove()
