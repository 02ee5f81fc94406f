"""Keys, ranges, transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pykvd.client import (
    Client,
    ClientClosed,
    create_revision,
    delete,
    get,
    lease_of,
    mod_revision,
    nested,
    put,
    value,
    version,
)
from pykvd.client.errors import Compacted, DuplicateKey, FutureRevision, KeyNotFound, LeaseNotFound
from pykvd.client.values import DeleteResult, PutResult, RangeResult, TxnResult

if TYPE_CHECKING:
    from tests.harness import Server
    from tests.integration.client.blocked import Making


def test_put_get_delete(client: Client, name: str) -> None:
    first = client.put(name, "one")
    second = client.put(name, b"\0\xff", prev_kv=True)
    assert first.previous is None
    assert second.previous is not None
    assert second.previous.value == b"one"
    found = client.get(name)
    assert found is not None
    assert (found.key, found.value, found.version) == (name.encode(), b"\0\xff", 2)
    assert (found.create_revision, found.mod_revision) == (first.revision, second.revision)
    old = client.get(name, revision=first.revision)
    assert old is not None
    assert old.value == b"one"
    gone = client.delete(name, prev_kv=True)
    assert gone
    assert (gone.deleted, [kv.value for kv in gone.previous]) == (1, [b"\0\xff"])
    assert client.get(name, serializable=True) is None
    assert not client.delete(name)


def test_keys_may_be_any_text(client: Client, name: str) -> None:
    client.put(name + "grüße", "wörld")
    found = client.get((name + "grüße").encode())
    assert found is not None
    assert found.value.decode() == "wörld"


def test_ranges(client: Client, name: str) -> None:
    for index in range(10):
        client.put(f"{name}{index}", str(9 - index))
    everything = client.range(name, prefix=True)
    assert [kv.value for kv in everything] == [str(9 - index).encode() for index in range(10)]
    assert (len(everything), everything.count, everything.more) == (10, 10, False)
    cut = client.range(f"{name}2", f"{name}8", limit=2)
    assert [kv.key[-1:] for kv in cut] == [b"2", b"3"]
    assert (cut.count, cut.more) == (6, True)
    by_value = client.range(name, prefix=True, sort_by="value", limit=1)
    assert by_value[0].value == b"0"
    newest = client.range(name, prefix=True, sort_by="mod_revision", descending=True, limit=1)
    assert newest[0].key.endswith(b"9")
    assert client.range(name, prefix=True, keys_only=True)[0].value == b""
    later = client.range(name, prefix=True, min_mod_revision=everything[7].mod_revision)
    assert len(later) == 3
    assert client.count(name, prefix=True) == 10
    assert client.count(f"{name}5", f"{name}7") == 2
    assert client.delete(name, prefix=True).deleted == 10


def test_scans_read_pages_of_one_revision(client: Client, name: str) -> None:
    for index in range(25):
        client.put(f"{name}{index:02}", "old")
    seen = []
    for kv in client.scan(name, prefix=True, page_size=4):
        client.put(f"{name}99", "new")
        client.put(kv.key, "new")
        assert kv.value == b"old"
        seen.append(kv.key)
    assert seen == [f"{name}{index:02}".encode() for index in range(25)]
    assert list(client.scan(name + "none", prefix=True)) == []
    keys = client.scan(name, prefix=True, keys_only=True, page_size=26)
    assert [kv.value for kv in keys] == [b""] * 26


def test_transactions(client: Client, name: str) -> None:
    def set_once() -> TxnResult:
        txn = client.txn().when(version(name) == 0)
        return txn.then(put(name, "v")).otherwise(get(name)).commit()

    first, second = set_once(), set_once()
    assert first
    assert not second
    (done,) = first.responses
    (found,) = second.responses
    assert isinstance(done, PutResult)
    assert isinstance(found, RangeResult)
    assert found.kvs[0].value == b"v"
    assert found.kvs[0].mod_revision == first.revision == done.revision


def test_conditions(client: Client, name: str) -> None:
    revision = client.put(name, "b").revision
    with client.lease(30) as lease:
        client.put(name + "leased", "", lease=lease)
        true = [
            version(name) == 1,
            version(name) != 2,
            version(name) < 2,
            version(name) > 0,
            create_revision(name) == revision,
            mod_revision(name) == revision,
            value(name) == "b",
            value(name) < b"c",
            value(name) > "a",
            lease_of(name) == 0,
            lease_of(name + "leased") == lease.id,
            version(name, prefix=True) > 0,
            version(name + "none") == 0,
        ]
        assert client.txn().when(*true).commit()
        assert not client.txn().when(version(name) == 2).commit()
        assert not client.txn().when(value(name + "none") != "x").commit()


def test_transactions_inside_of_transactions(client: Client, name: str) -> None:
    inner = client.txn().when(version(name) > 0).then(put(name, "2"), delete(name + "x"))
    client.put(name, "1")
    done = client.txn().then(nested(inner), get(name)).commit()
    first, second = done.responses
    assert isinstance(first, TxnResult)
    assert isinstance(first.responses[1], DeleteResult)
    assert isinstance(second, RangeResult)
    assert second[0].value == b"2"


def test_errors_are_typed(client: Client, name: str) -> None:
    with pytest.raises(DuplicateKey) as duplicate:
        client.txn().then(put(name, "1"), put(name, "2")).commit()
    assert not duplicate.value.maybe_applied
    with pytest.raises(KeyNotFound):
        client.put(name, "", ignore_value=True)
    with pytest.raises(LeaseNotFound):
        client.put(name, "", lease=12345)
    with pytest.raises(FutureRevision):
        client.get(name, revision=10**9)


def test_compaction(make: Making, own_server: Server, name: str) -> None:
    client = make(own_server.endpoint)
    first = client.put(name, "1").revision
    last = client.put(name, "2").revision
    client.compact(last, physical=True)
    with pytest.raises(Compacted):
        client.get(name, revision=first)
    with pytest.raises(Compacted):
        client.compact(first)


def test_large_values(client: Client, name: str) -> None:
    large = b"x" * 1_000_000
    for index in range(4):
        client.put(f"{name}{index}", large)
    assert [kv.value for kv in client.range(name, prefix=True)] == [large] * 4
    with pytest.raises(ValueError, match="value: a request of"):
        client.put(name, b"x" * (2 << 20))


def test_a_closed_client_raises_at_once(make: Making, server: Server, name: str) -> None:
    client = make(server.endpoint)
    scan = client.scan(name, prefix=True)
    watch = client.watch(name)
    lease = client.lease(30)
    lock = client.lock(name)
    client.close()
    client.close()
    for call in (
        lambda: client.get(name),
        lambda: client.txn().commit(),
        lambda: client.watch(name),
        lambda: client.lease(5),
        lambda: next(scan),
        lambda: watch.get(timeout=30),
        lease.refresh,
        lease.keep_alive,
        lock.acquire,
        lambda: client.queue(name).get(),
        client.maintenance.status,
    ):
        with pytest.raises(ClientClosed):
            call()
    assert client.closed
