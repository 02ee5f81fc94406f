"""Watches: events, resuming through restarts, compaction."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from pykvd.client import Client, ClientClosed, Compacted, DeadlineExceeded, Unavailable
from pykvd.client.errors import EtcdError

if TYPE_CHECKING:
    from tests.harness import Server
    from tests.integration.client.blocked import Making


def test_events(client: Client, name: str) -> None:
    with client.watch(name, prefix=True, prev_kv=True) as watch:
        made = client.put(name + "a", "1").revision
        client.put(name + "a", "2")
        client.put("elsewhere", "")
        gone = client.delete(name + "a").revision
        first, second, third = (watch.get(timeout=10) for _ in range(3))
    assert (first.key, first.value, first.revision) == (f"{name}a".encode(), b"1", made)
    assert first.created
    assert (first.deleted, first.previous) == (False, None)
    assert (second.created, second.value) == (False, b"2")
    assert second.previous is not None
    assert second.previous.value == b"1"
    assert (third.deleted, third.revision, third.value) == (True, gone, b"")
    assert third.previous is not None
    assert watch.revision >= gone


def test_history(client: Client, name: str) -> None:
    revisions = [client.put(name, str(index)).revision for index in range(5)]
    with client.watch(name, start_revision=revisions[2]) as watch:
        assert [watch.get(timeout=10).value for _ in range(3)] == [b"2", b"3", b"4"]
        with pytest.raises(TimeoutError):
            watch.get(timeout=0.1)
        client.put(name, "more")
        assert watch.get(timeout=10).value == b"more"


def test_filters(client: Client, name: str) -> None:
    with client.watch(name, skip="put") as deletions, client.watch(name, skip="delete") as puts:
        client.put(name, "1")
        client.delete(name)
        client.put(name, "2")
        assert deletions.get(timeout=10).deleted
        assert [puts.get(timeout=10).value for _ in range(2)] == [b"1", b"2"]


def test_iteration_ends_when_another_closes_the_watch(client: Client, name: str) -> None:
    watch = client.watch(name)
    client.put(name, "1")
    closer = threading.Timer(0.2, watch.close)
    closer.start()
    assert [event.value for event in watch] == [b"1"]
    closer.join()
    with pytest.raises(ClientClosed, match="watch is closed"):
        watch.get()


def test_history_that_is_gone(make: Making, own_server: Server, name: str) -> None:
    client = make(own_server.endpoint)
    revisions = [client.put(name, str(index)).revision for index in range(5)]
    client.compact(revisions[3], physical=True)
    with pytest.raises(Compacted) as gone:
        client.watch(name, start_revision=revisions[0]).get(timeout=10)
    assert gone.value.compact_revision == revisions[3]


def test_a_restart_loses_and_repeats_nothing(make: Making, own_server: Server, name: str) -> None:
    client, writer = make(own_server.endpoint), make(own_server.endpoint)
    seen, written = [], []
    with client.watch(name, prefix=True) as watch:
        for life in range(3):
            for index in range(5):
                key = f"{name}{life}/{index}"
                writer.put(key, "")
                written.append(key.encode())
            seen.append(watch.get(timeout=10).key)
            own_server.kill()
            own_server.start()
            writer.put(f"{name}{life}/late", "", timeout=20)
            written.append(f"{name}{life}/late".encode())
        while len(seen) < len(written):
            seen.append(watch.get(timeout=20).key)
        with pytest.raises(TimeoutError):
            watch.get(timeout=0.3)
    assert seen == written


def test_compaction_while_cut_off(make: Making, own_server: Server, name: str) -> None:
    client, writer = make(own_server.endpoint), make(own_server.endpoint)
    watch = client.watch(name)
    writer.put(name, "seen")
    assert watch.get(timeout=10).value == b"seen"
    # The watch reads nothing while the server goes away and its history is dropped.
    own_server.stop()
    own_server.start()
    last = [writer.put(name, str(index), timeout=20).revision for index in range(5)][-1]
    writer.compact(last, physical=True)
    with pytest.raises(Compacted) as gone:
        list(watch)
    assert gone.value.compact_revision == last
    with pytest.raises(ClientClosed):
        watch.get()


def test_a_server_that_is_gone_for_good(make: Making, own_server: Server, name: str) -> None:
    client = make(own_server.endpoint)
    watch = client.watch(name, patience=1.0)
    own_server.kill()
    with pytest.raises(Unavailable):
        watch.get(timeout=30)
    with pytest.raises(DeadlineExceeded):
        client.watch(name, timeout=0.5)


def test_many_watches_on_one_client(client: Client, name: str) -> None:
    watches = [client.watch(f"{name}{index}") for index in range(50)]
    for index in range(50):
        client.put(f"{name}{index}", str(index))
    assert [int(watch.get(timeout=10).value) for watch in watches] == list(range(50))
    for watch in watches:
        watch.close()


def test_an_impossible_range(client: Client) -> None:
    with pytest.raises(EtcdError):
        client.watch("b", "a").get(timeout=5)
