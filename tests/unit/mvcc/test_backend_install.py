"""A data file from elsewhere takes the place of the store's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pykvd.mvcc.environment import Environment
from tests.unit.mvcc.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.remove()


def foreign_file(disk: Disk) -> Path:
    """A store with one entry, on the same disk."""
    directory = disk.directory / "1" / "foreign"
    directory.mkdir()
    environment = Environment(directory, sync=False)
    environment.write([(1 << 40, b"theirs")], [], {("meta", b"applied"): b"new"})
    environment.close()
    return directory / "data.mdb"


def test_no_commit_begins_while_the_file_is_replaced(disk: Disk) -> None:
    file = foreign_file(disk)
    disk.backend.add(1, b"ours")
    disk.backend.set("meta", b"applied", b"old")

    async def install() -> None:
        task = asyncio.ensure_future(disk.backend.install(file, lambda: None))
        await asyncio.sleep(0)
        assert not disk.backend.idle
        await task

    disk.run(install())
    assert disk.backend.idle
    assert disk.backend.table("meta") == [(b"applied", b"new")]
    assert disk.backend.since(0, 10) == [(1 << 40, b"theirs")]


def test_a_commit_under_way_ends_before_the_file_is_replaced(disk: Disk) -> None:
    file = foreign_file(disk)
    disk.backend.add(1, b"ours")
    disk.backend.set("meta", b"applied", b"old")
    disk.backend.commit()
    disk.run(disk.backend.install(file, lambda: None))
    disk.settle()
    assert disk.backend.table("meta") == [(b"applied", b"new")]
    assert not disk.failures
