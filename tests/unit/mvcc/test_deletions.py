"""Many keys deleted at once, against the same keys deleted one after the other."""

from collections.abc import Iterator
from random import Random

import pytest

from pykvd.pb.rpc_pb2 import RangeRequest
from tests.unit.mvcc.disk import Disk

KEYS = [b"%04d" % number for number in range(600)]
ALL = RangeRequest(key=b"\x00", range_end=b"\x00")


@pytest.fixture
def pair() -> Iterator[tuple[Disk, Disk]]:
    """Two stores of the same keys, some of them overwritten, some with a lease."""
    disks = Disk(), Disk()
    for disk in disks:
        for number, key in enumerate((*KEYS, *KEYS[::3])):
            disk.store.begin()
            disk.store.put(key, b"%d" % number, lease=number % 5)
            disk.store.end()
    yield disks
    for disk in disks:
        disk.remove()


@pytest.mark.parametrize("count", [1, 5, 40, 599, 600])
def test_at_once_or_one_by_one(pair: tuple[Disk, Disk], count: int) -> None:
    at_once, one_by_one = (disk.store for disk in pair)
    chosen = sorted(Random(count).sample(KEYS, count))
    before = at_once.revision
    leases = dict(at_once.lease_of)
    at_once.begin()
    one_by_one.begin()
    # Nothing comes between the sub-revisions, whatever was written before.
    at_once.put(b"new", b"", 0)
    one_by_one.put(b"new", b"", 0)
    held = at_once.delete(*chosen)
    assert held == [each for key in chosen for each in one_by_one.delete(key)]
    at_once.put(b"newer", b"", 0)
    one_by_one.put(b"newer", b"", 0)
    assert dict(held) == {key: leases[key] for key in chosen if key in leases}
    events = at_once.end()
    assert events == one_by_one.end()
    assert [event.key for event in events] == [b"new", *chosen, b"newer"]
    assert at_once.lease_of == one_by_one.lease_of
    for revision in (before, at_once.revision):
        assert at_once.range(ALL, revision) == one_by_one.range(ALL, revision)
    left = [key for key in (*KEYS, b"new", b"newer") if key not in set(chosen)]
    assert list(at_once.index.keys(b"\x00", b"\x00")) == sorted(left)
    for disk in pair:
        disk.commit()
    stored = [list(disk.backend.scan(0, (1 << 96) - 1)) for disk in pair]
    assert stored[0] == stored[1]
