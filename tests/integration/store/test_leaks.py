"""Servers come and go in one process without leaving anything behind."""

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from pykvd.embed import Server
from pykvd.wal import WalDamaged
from tests.integration.store.descriptors import open_files
from tests.integration.store.serving import config

ROUNDS = 20


def held() -> dict[str, object]:
    """What this process holds: threads, tasks, descriptors."""
    gc.collect()
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": sorted(open_files().values()),
    }


async def start_and_stop(data_dir: Path) -> None:
    async with Server(config(data_dir)) as server:
        # Whatever the listener holds for a connection is part of the question.
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        assert await reader.read(1)
        writer.close()
        await writer.wait_closed()


async def test_starting_and_stopping_leaks_nothing(tmp_path: Path) -> None:
    await start_and_stop(tmp_path)
    before = held()
    for _ in range(ROUNDS):
        await start_and_stop(tmp_path)
    assert held() == before


async def test_starts_that_fail_leak_nothing(tmp_path: Path) -> None:
    await start_and_stop(tmp_path)
    (segment,) = (tmp_path / "member" / "wal").glob("*.wal")
    damaged = bytearray(segment.read_bytes())
    damaged[70] ^= 1
    segment.write_bytes(damaged)
    before = held()
    for _ in range(3):
        with pytest.raises(WalDamaged):
            await Server(config(tmp_path)).start()
    assert held() == before
