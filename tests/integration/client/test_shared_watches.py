"""Watches of one client share a stream: what happens to one of them spares the others."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pykvd.client import AsyncClient, Client, Compacted, PermissionDenied, put
from pykvd.client.errors import EtcdError
from pykvd.client.sharing import BACKLOG_BYTES
from tests.harness import Server, wait_until

if TYPE_CHECKING:
    from tests.integration.client.blocked import Making

VALUE = bytes(64 << 10)


def gauge(server: Server, name: str) -> int:
    """A number from the server's metrics."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as page:
        for line in page.read().decode().splitlines():
            if line.startswith(f"etcd_debugging_mvcc_{name} "):
                return int(float(line.rpartition(" ")[2]))
    raise AssertionError(f"no {name}")


def test_one_stream(make: Making, own_server: Server, name: str) -> None:
    client = make(own_server.endpoint)
    watches = [client.watch(f"{name}{index}") for index in range(200)]
    assert gauge(own_server, "watch_stream_total") == 1
    assert gauge(own_server, "watcher_total") == 200
    for watch in watches[:150]:
        watch.close()
    wait_until(lambda: gauge(own_server, "watcher_total") == 50, "the others to be cancelled")
    assert gauge(own_server, "watch_stream_total") == 1
    client.put(f"{name}199", "")
    assert watches[199].get(timeout=10)
    for watch in watches[150:]:
        watch.close()
    wait_until(lambda: gauge(own_server, "watch_stream_total") == 0, "the stream to be closed")
    with client.watch(name) as again:
        client.put(name, "")
        assert again.get(timeout=10)


def test_all_resume_after_a_restart(make: Making, own_server: Server, name: str) -> None:
    client, writer = make(own_server.endpoint), make(own_server.endpoint)
    keys = [f"{name}{index}" for index in range(30)]
    watches = [client.watch(key) for key in keys]
    for life in range(2):
        for key in keys:
            writer.put(key, f"{life} before", timeout=20)
        # Half of them have seen that, half of them have not.
        assert [w.get(timeout=10).value for w in watches[:15]] == [b"%d before" % life] * 15
        own_server.kill()
        own_server.start()
        for key in keys:
            writer.put(key, f"{life} after", timeout=20)
        assert [w.get(timeout=20).value for w in watches[:15]] == [b"%d after" % life] * 15
        for watch in watches[15:]:
            expected = [b"%d before" % life, b"%d after" % life]
            assert [watch.get(timeout=20).value for _ in range(2)] == expected
    for watch in watches:
        with pytest.raises(TimeoutError):
            watch.get(timeout=0.01)


def test_a_watch_that_is_refused(client: Client, name: str) -> None:
    with client.watch(name) as good:
        with pytest.raises(EtcdError):
            client.watch(name + "b", name + "a").get(timeout=10)
        client.put(name, "heard")
        assert good.get(timeout=10).value == b"heard"


def test_a_watch_without_permission(make: Making, own_server: Server) -> None:
    root = make(own_server.endpoint, user="root", password="secret")
    root.auth.add_user("root", "secret")
    root.auth.grant_role("root", "root")
    root.auth.add_user("reader", "open")
    root.auth.add_role("reading")
    root.auth.grant_permission("reading", "read", "r/", prefix=True)
    root.auth.grant_role("reader", "reading")
    root.auth.enable()
    reader = make(own_server.endpoint, user="reader", password="open")
    with reader.watch("r/", prefix=True) as allowed:
        for _ in range(3):
            with pytest.raises(PermissionDenied):
                reader.watch("other").get(timeout=10)
        root.put("r/1", "heard")
        assert allowed.get(timeout=10).value == b"heard"


def test_a_watch_whose_history_is_gone(make: Making, own_server: Server, name: str) -> None:
    client = make(own_server.endpoint)
    revisions = [client.put(name, str(index)).revision for index in range(5)]
    client.compact(revisions[3], physical=True)
    with client.watch(name) as good:
        with pytest.raises(Compacted):
            client.watch(name, start_revision=revisions[0]).get(timeout=10)
        client.put(name, "heard")
        assert good.get(timeout=10).value == b"heard"


def test_a_slow_consumer_stops_nobody_and_misses_nothing(client: Client, name: str) -> None:
    count = 4 * BACKLOG_BYTES // len(VALUE)
    with client.watch(name) as fast, client.watch(name) as slow:
        for _ in range(count):
            client.put(name, VALUE)
            assert fast.get(timeout=30).value == VALUE
        late = [slow.get(timeout=30) for _ in range(count)]
        assert [event.kv.version for event in late] == list(range(1, count + 1))
        with pytest.raises(TimeoutError):
            slow.get(timeout=0.1)


def test_a_revision_larger_than_a_message(client: Client, name: str) -> None:
    """Servers send it in fragments; it is handed out as one."""
    keys = [f"{name}{index}" for index in range(20)]
    for _ in range(2):
        with client.watch(name, prefix=True, prev_kv=True) as watch, client.watch(name) as other:
            done = client.txn().then(*(put(key, VALUE) for key in keys)).commit()
            events = [watch.get(timeout=30) for _ in keys]
            assert [event.key.decode() for event in events] == keys
            assert {event.revision for event in events} == {done.revision}
            client.put(name, "heard")
            assert other.get(timeout=10).value == b"heard"
            assert watch.get(timeout=10).value == b"heard"


def test_closing_a_watch_while_the_server_hangs(
    make: Making, own_server: Server, name: str
) -> None:
    client = make(own_server.endpoint)
    watches = [client.watch(name) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(list, watch) for watch in watches]
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            for watch, consumer in zip(watches[:2], waiting, strict=False):
                watch.close()
                assert consumer.result(5) == []
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        client.put(name, "heard", timeout=20)
        threading.Timer(0.2, watches[2].close).start()
        assert [event.value for event in waiting[2].result(20)] == [b"heard"]


def test_many_threads_each_with_a_watch(server: Server, name: str) -> None:
    with Client(server.endpoint) as client, Client(server.endpoint) as writer:

        def work(number: int) -> list[bytes]:
            with client.watch(f"{name}{number}") as watch:
                started.release()
                return [watch.get(timeout=30).value for _ in range(50)]

        started = threading.Semaphore(0)
        with ThreadPoolExecutor(20) as pool:
            seen = [pool.submit(work, number) for number in range(20)]
            for _ in range(20):
                started.acquire()
            for index in range(50):
                for number in range(20):
                    writer.put(f"{name}{number}", str(index))
            for consumer in seen:
                assert consumer.result(60) == [b"%d" % index for index in range(50)]


async def test_cancelled_consumers_pass_the_lead_on(server: Server, name: str) -> None:
    async with AsyncClient(server.endpoint) as client:
        watches = [await client.watch(f"{name}{index}") for index in range(5)]
        tasks = [asyncio.create_task(watch.get()) for watch in watches]
        await asyncio.sleep(0)
        for index, task in enumerate(tasks[:4]):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await client.put(f"{name}{index}", "later")
        await client.put(f"{name}4", "now")
        assert (await tasks[4]).value == b"now"
        for watch in watches[:4]:
            assert (await watch.get(timeout=10)).value == b"later"


async def test_one_consumer_a_watch(server: Server, name: str) -> None:
    async with AsyncClient(server.endpoint) as client, client.watch(name) as watch:
        first = asyncio.create_task(watch.get())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="somebody else waits"):
            await watch.get()
        await client.put(name, "heard")
        assert (await first).value == b"heard"
