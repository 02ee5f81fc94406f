"""Each comparison by itself: what it finds, and that it accuses nobody while all is well."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pykvd.node.consistency import ConsistencyMonitor
from pykvd.pb import rpc_pb2 as rpc
from tests.integration.cluster.together import NAMES, Together, together
from tests.integration.store.serving import eventually

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"the value that the disk will change"


async def alone(cluster: Together, **intervals: float) -> ConsistencyMonitor:
    """Only these comparisons, on whoever leads now."""
    leader = await cluster.leader()
    for name in NAMES:
        cluster.servers[name]._upkeep._monitor.stop()  # type: ignore[union-attr]
    monitor = ConsistencyMonitor(cluster.node(leader), **intervals)
    monitor.start()
    return monitor


async def with_a_changed_value(cluster: Together, home: Path, name: str) -> None:
    """Restart the cluster with one value of one member changed."""
    for number in range(20):
        await cluster.clients["n1"].put(b"k%d" % number)
    revision = await cluster.clients["n1"].put(b"secret", SECRET)

    async def applied() -> bool:
        return bool(cluster.node(name).store.revision == revision)

    await eventually(applied, "the member to apply it")
    await cluster.stop()
    (path,) = (home / name / "member" / "db").glob("*/data.mdb")
    content = path.read_bytes()
    assert SECRET in content
    # Also in pages that are not used any more.
    path.write_bytes(content.replace(SECRET, bytes([SECRET[0] ^ 1]) + SECRET[1:]))
    await cluster.start()


async def accused(cluster: Together) -> set[tuple[int, int]]:
    """The alarms, once there are any."""
    node = cluster.node("n1")

    async def raised() -> bool:
        return bool(node.applier.alarms)

    await eventually(raised, "an alarm")
    return set(node.applier.alarms)


async def test_whole_hashes_find_a_changed_value(tmp_path: Path) -> None:
    async with together(tmp_path) as cluster:
        await with_a_changed_value(cluster, tmp_path, "n2")
        monitor = await alone(cluster, hash_interval=0.05, interval=0.0)
        assert await accused(cluster) == {(cluster.node("n2").member_id, rpc.CORRUPT)}
        assert monitor.outcomes["hash", "different"]
        monitor.stop()


async def test_a_compaction_is_compared_once(tmp_path: Path) -> None:
    async with together(tmp_path) as cluster:
        monitor = await alone(cluster, compact_hash_interval=0.05, interval=0.0)
        client = cluster.clients["n2"]
        for number in range(5):
            await client.put(b"k", b"%d" % number)
        assert not monitor.outcomes
        await client.compact(4)

        async def compared() -> bool:
            return bool(monitor.outcomes["compaction", "equal"])

        await eventually(compared, "a comparison")
        monitor.stop()
        assert not monitor.outcomes["compaction", "different"]
        await with_a_changed_value(cluster, tmp_path, "n3")
        monitor = await alone(cluster, compact_hash_interval=0.05, interval=0.0)
        await cluster.clients["n1"].compact(cluster.node("n1").store.revision)
        assert await accused(cluster) == {(cluster.node("n3").member_id, rpc.CORRUPT)}
        monitor.stop()


async def test_a_member_that_applied_something_else_is_found_without_reading(
    tmp_path: Path,
) -> None:
    async with together(tmp_path) as cluster:
        await cluster.clients["n1"].put(b"a")
        odd = cluster.node("n3")
        # As if a defect had it skip what the others did.
        odd.store.begin()
        odd.store.put(b"a", b"not what the others have", 0)
        odd.store.end()
        await cluster.clients["n1"].put(b"b")
        assert await accused(cluster) == {(odd.member_id, rpc.CORRUPT)}
        monitor = cluster.servers[await cluster.leader()]._upkeep._monitor  # type: ignore[union-attr]

        async def by_digest() -> bool:
            return bool(monitor.outcomes["digest", "different"])

        await eventually(by_digest, "the running checksums to differ")


async def test_writes_and_compactions_accuse_nobody(tmp_path: Path) -> None:
    """Members commit and sweep at different times; no comparison may take that for a difference."""
    options = {"backend_batch_interval": 0.02, "compaction_batch_limit": 7}
    async with together(tmp_path, **options) as cluster:
        monitor = await alone(
            cluster, interval=0.01, hash_interval=0.05, compact_hash_interval=0.05
        )

        async def write(name: str) -> None:
            client = cluster.clients[name]
            for number in range(150):
                revision = await client.put(b"%d" % (number % 20), name.encode() * 50)
                if number % 7 == 0:
                    await client.delete(b"%d" % (number % 13))
                if number % 20 == 0 and name == "n2":
                    await client.compact(revision, physical=False)

        await asyncio.gather(*map(write, NAMES))

        async def compared() -> bool:
            kinds = ("digest", "slice", "hash", "compaction")
            return monitor.passes > 2 and all(monitor.outcomes[kind, "equal"] for kind in kinds)

        await eventually(compared, "each comparison to be made")
        monitor.stop()
        assert not [kind for kind, outcome in monitor.outcomes if outcome == "different"]
        assert not cluster.node("n1").applier.alarms
