"""HashKV: figures of a real etcd, and edges; the store's machine compares random histories."""

from collections.abc import Iterator

import pytest

from pykvd.mvcc.hash import hash_all, hash_kv
from tests.unit.mvcc.disk import Disk
from tests.unit.mvcc.model import Model

#: CRC-32C of the bucket name alone, as etcd answers for a store without records.
NO_RECORDS = 1084519789


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.remove()


def kv_hash(disk: Disk, revision: int, compacted: int = -1) -> int:
    return disk.run(disk.backend.read(lambda env: hash_kv(env, revision, compacted)))


def test_an_empty_store_hashes_the_bucket_name(disk: Disk) -> None:
    assert kv_hash(disk, 1) == NO_RECORDS


@pytest.mark.parametrize("revision", [-1, -2, -(1 << 63)])
def test_a_negative_revision_hashes_no_records(disk: Disk, revision: int) -> None:
    disk.store.begin()
    disk.store.put(b"k", b"v", 0)
    disk.store.end()
    disk.commit()
    assert kv_hash(disk, revision) == NO_RECORDS


def test_the_hash_sees_every_byte_and_the_bound(disk: Disk) -> None:
    model = Model()
    seen = {kv_hash(disk, 1)}
    for key, value, lease in ((b"k", b"v", 0), (b"k", b"w", 0), (b"l", b"", 5)):
        disk.store.begin()
        disk.store.put(key, value, lease)
        disk.store.end()
        model.put(key, value, lease)
        model.end()
        disk.commit()
        number = kv_hash(disk, disk.store.revision)
        assert number == model.hash_kv(model.revision)
        assert kv_hash(disk, disk.store.revision + 1) == number
        seen.add(number)
    assert len(seen) == 4


def test_a_tombstone_that_a_compaction_keeps_never_counts(disk: Disk) -> None:
    """Not even where it keeps nothing else, and all other records would count."""
    store, model = disk.store, Model()
    store.begin()
    store.put(b"k", b"v", 0)
    model.put(b"k", b"v", 0)
    store.end()
    model.end()
    store.begin()
    store.delete(b"k")
    model.delete(b"k")
    store.end()
    model.end()
    store.compact(3)
    model.compacted = 3
    for _ in store.sweep(10):
        pass
    disk.commit()
    number = kv_hash(disk, 3, 3)
    assert number == model.hash_kv(3) == NO_RECORDS


def test_the_whole_hash_sees_tables_too(disk: Disk) -> None:
    before = disk.run(disk.backend.read(hash_all))
    disk.backend.set("alarm", b"x", b"")
    disk.commit()
    middle = disk.run(disk.backend.read(hash_all))
    disk.backend.set("alarm", b"x", None)
    disk.commit()
    assert middle != before == disk.run(disk.backend.read(hash_all))
