"""The store jumps ahead: a snapshot of another member takes its place."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest

from pykvd.node.header import HeaderEncoder
from pykvd.watch.hub import Hub
from pykvd.watch.watcher import Watcher
from tests.unit.mvcc.disk import Disk
from tests.unit.watch.sessions import RecordingSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.remove()


def revisions_seen(disk: Disk, start: int) -> list[int]:
    """Of a watch that begins at `start` while the store is at 1, and then jumps to 6."""
    scheduled: deque[Callable[[], None]] = deque()
    hub = Hub(disk.store, header=HeaderEncoder(1, 2), schedule=scheduled.append, fragment_bytes=999)
    session = RecordingSession()
    hub.add(Watcher(session, 1, (b"\x00", b"\x00", False, False, False), start=start))
    seen = disk.store.revision
    for _ in range(5):
        disk.store.begin()
        disk.store.put(b"k", b"v", 0)
        disk.store.end()
    hub.resync(seen)
    while scheduled:
        scheduled.popleft()()
    disk.store.begin()
    disk.store.put(b"k", b"v", 0)
    hub.notify(7, disk.store.end())
    hub.flush()
    return [event.kv.mod_revision for each in session.responses for event in each.events]


@pytest.mark.parametrize("start", range(2, 8))
def test_nothing_is_missed_when_the_store_jumps_past_what_a_watch_waits_for(
    disk: Disk, start: int
) -> None:
    assert revisions_seen(disk, start) == list(range(start, 8))
