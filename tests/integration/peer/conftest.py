"""Three members on loopback, on both event loops; nothing may be left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.integration.peer.harness import CLUSTER, QUICK, Station, introduce, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from pykvd.peer import PeerLimits
    from tests.integration.peer.harness import Builder


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def _descriptors() -> set[str]:
    """Open TCP sockets and snapshot files; the loops' own descriptors are neither."""
    with open("/proc/net/tcp") as table:
        tcp = {f"socket:[{line.split()[9]}]" for line in table}
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return {each for each in found if each in tcp or "snapshot" in each}


@pytest.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Fail a test that leaves tasks or descriptors behind."""
    tasks, descriptors = asyncio.all_tasks(), _descriptors()
    yield
    await until(lambda: not _descriptors() - descriptors, "descriptors to be closed")
    mine = asyncio.current_task()
    left = {task for task in asyncio.all_tasks() - tasks if task is not mine}
    assert not left


@pytest.fixture
async def build(no_leaks: None, tmp_path: Path) -> AsyncIterator[Builder]:
    """Starts members, and stops them in the end."""
    built: list[Station] = []

    async def start(
        member_id: int, *, cluster_id: int = CLUSTER, limits: PeerLimits = QUICK
    ) -> Station:
        station = Station(member_id, tmp_path, cluster_id=cluster_id, limits=limits)
        built.append(station)
        await station.start()
        return station

    yield start
    for station in built:
        await station.stop()


@pytest.fixture
async def stations(build: Builder) -> list[Station]:
    """Three members that know each other and themselves."""
    members = [await build(number) for number in (1, 2, 3)]
    introduce(*members)
    return members
