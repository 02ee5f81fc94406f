"""Automatic compaction in a cluster: only the leader compacts, in both modes, whoever leads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pykvd.node.autocompaction import AutoCompactor
from tests.integration.cluster.together import NAMES, Together, together
from tests.integration.store.serving import eventually

if TYPE_CHECKING:
    from pathlib import Path


def compactions(node: Any, *, succeeded: bool) -> int:
    """How many this member has applied."""
    found = node.meter.apply_seconds.get(("Compaction", succeeded))
    return sum(found.counts) if found else 0


async def write_until_compacted(cluster: Together, at_least: int) -> None:
    async def compacted() -> bool:
        await cluster.clients["n1"].put(b"k")
        counts = [compactions(cluster.node(each), succeeded=True) for each in NAMES]
        return min(counts) >= at_least

    await eventually(compacted, "compactions")


@pytest.mark.parametrize(("mode", "retention"), [("periodic", 0.2), ("revision", 3.0)])
async def test_only_the_leader_compacts(tmp_path: Path, mode: str, retention: float) -> None:
    async with together(tmp_path) as cluster:
        first = await cluster.leader()
        compactors = [
            AutoCompactor(cluster.node(name), mode, retention, interval=0.05) for name in NAMES
        ]
        for each in compactors:
            each.start()
        await write_until_compacted(cluster, 3)
        second = next(name for name in NAMES if name != first)
        await cluster.node(first).move_leader(cluster.node(second).member_id)
        assert await cluster.leader() == second
        await write_until_compacted(cluster, 6)
        for each in compactors:
            each.stop()
        await asyncio.gather(*(cluster.node(name).committer.flush() for name in NAMES))
        # Two that compact at a time would meet the same revision: one of them is refused.
        for name in NAMES:
            assert compactions(cluster.node(name), succeeded=False) == 0
        kept = cluster.node(first).store
        if mode == "revision":
            assert kept.revision - kept.compact_revision >= 3
