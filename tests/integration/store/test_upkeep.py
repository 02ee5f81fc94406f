"""Defragmentation, snapshots, compaction and hashes beside a stream of writes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from pykvd.mvcc.environment import Environment
from pykvd.mvcc.hash import hash_kv
from pykvd.mvcc.record import MAIN_SHIFT, key_of
from tests.harness import methods
from tests.integration.store.serving import Client, eventually, serving

#: Far above the pauses of a busy test machine.
STALL_S = 5.0
CHUNK = 32768


class Writer:
    """Puts `w-<number>` one after the other, and remembers what was acknowledged."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.acknowledged = 0
        self.slowest = 0.0

    async def run(self) -> None:
        while True:
            started = time.monotonic()
            await self._client.put(b"w-%08d" % self.acknowledged, bytes(200))
            self.acknowledged += 1
            self.slowest = max(self.slowest, time.monotonic() - started)


@asynccontextmanager
async def writing(client: Client) -> AsyncIterator[Writer]:
    """Writes go on inside."""
    writer = Writer(client)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
        assert not task.done(), "the writer failed"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def fill(client: Client, keys: int = 300, size: int = 30_000) -> None:
    """Some megabytes, so that copies take a while."""
    for start in range(0, keys, 50):
        await asyncio.gather(
            *(client.put(b"fill-%05d" % each, bytes(size)) for each in range(start, start + 50))
        )

    async def is_in_the_file() -> bool:
        return (await client.status()).dbSize > keys * size

    await eventually(is_in_the_file, "the commit of what was put")


async def test_defragmentation_beside_writes(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        await fill(client)
        await client.delete(b"fill-", b"fill.")
        await client.compact((await client.all()).header.revision)
        full = (await client.status()).dbSize
        async with writing(client) as writer:
            for _ in range(5):
                before = writer.acknowledged
                await client.call(methods.DEFRAGMENT)

                async def has_moved(before: int = before) -> bool:
                    return writer.acknowledged > before

                await eventually(has_moved, "a write")
        assert writer.slowest < STALL_S
        assert (await client.status()).dbSize < full / 4
        await client.put(b"end", b"")  # applied behind the writer's last one, acknowledged or not
        count = (await client.get(b"w-", b"w.")).count
        assert writer.acknowledged <= count <= writer.acknowledged + 1
        hashed = await client.hash_kv()
    assert len(list((tmp_path / "member" / "db").iterdir())) == 1
    async with serving(tmp_path) as client:
        assert (await client.get(b"w-", b"w.")).count == count
        assert (await client.hash_kv()).hash == hashed.hash


async def test_a_snapshot_beside_writes_is_one_moment(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as client:
        await fill(client)
        async with writing(client) as writer:

            async def has_begun() -> bool:
                return writer.acknowledged > 20

            await eventually(has_begun, "some writes")
            before = writer.acknowledged
            *messages, trailer = await client.snapshot()
            after = writer.acknowledged
        assert writer.slowest < STALL_S
        image = b"".join(message.blob for message in messages)
        assert trailer.blob == sha256(image).digest()
        assert trailer.remaining_bytes == 0
        assert {len(message.blob) for message in messages[:-1]} == {CHUNK}
        left = len(image)
        for message in messages:
            left -= len(message.blob)
            assert message.remaining_bytes == left
        assert list((tmp_path / "data" / "member").glob("snapshot-*")) == []
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / "data.mdb").write_bytes(image)
        environment = Environment(tmp_path / "copy", sync=False)
        records = list(environment.scan(0, (1 << 96) - 1))
        revision = records[-1][0] >> MAIN_SHIFT
        written = [key_of(framed) for _, framed in records if key_of(framed).startswith(b"w-")]
        assert written == [b"w-%08d" % number for number in range(len(written))]
        assert before <= len(written) <= after + 1
        # The revision that it holds is the one that the server has too.
        assert hash_kv(environment, revision, -1) == (await client.hash_kv(revision)).hash
        environment.close()


async def test_a_snapshot_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        await fill(client)
        call = client.start_snapshot()
        await call.read()
        call.cancel()

        async def is_clean() -> bool:
            return not list((tmp_path / "member").glob("snapshot-*"))

        await eventually(is_clean, "the copy to be removed")
        await client.put(b"k")
        assert len(await client.snapshot()) > 1


async def test_a_physical_compaction_beside_writes(tmp_path: Path) -> None:
    async with serving(tmp_path, compaction_batch_limit=10) as client:
        async with writing(client) as writer:
            for _ in range(3):
                await asyncio.gather(*(client.put(b"k%03d" % each) for each in range(100)))
            revision = (await client.all()).header.revision
            await client.compact(revision)
        assert writer.slowest < STALL_S
        taken = await client.hash_kv(revision)
        assert (taken.compact_revision, taken.hash_revision) == (-1, revision)
        kept = await client.hash_kv()
        assert kept.compact_revision == revision
        old = await client.get(b"k", b"l", revision=revision)
        assert old.count == 100
    async with serving(tmp_path) as client:
        assert (await client.hash_kv()).hash == kept.hash


async def test_compaction_by_age(tmp_path: Path) -> None:
    """The first run comes after one period, and keeps what is younger than a period."""
    async with serving(tmp_path, auto_compaction_retention="1s") as client:
        started = time.monotonic()

        async def is_compacted() -> bool:
            await client.put(b"k")
            return (await client.hash_kv()).compact_revision > 0

        await eventually(is_compacted, "a compaction")
        assert 0.7 < time.monotonic() - started < 1.8
        first = (await client.hash_kv()).hash_revision

        async def is_compacted_again() -> bool:
            await client.put(b"k")
            return (await client.hash_kv()).compact_revision >= first

        await eventually(is_compacted_again, "the next compaction")
        hashed = await client.hash_kv()
        assert hashed.compact_revision < hashed.hash_revision
