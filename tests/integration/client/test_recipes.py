"""Locks, elections, barriers, queues, transactional memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pykvd.client import (
    Client,
    ElectionNoLeader,
    ElectionNotLeader,
    KeyExists,
    SessionExpired,
    TooManyClients,
    put,
)
from tests.harness import wait_until

if TYPE_CHECKING:
    from tests.harness import Server
    from tests.integration.client.blocked import Making


def waiters(client: Client, name: str) -> int:
    return client.count(f"{name}/", prefix=True)


def test_a_lock_has_one_holder(client: Client, name: str) -> None:
    fences = []
    leases = set(client.leases())

    def work() -> None:
        with client.lock(name) as lock:
            assert client.txn().when(lock.held()).then(put(name + "x", "")).commit()
            fences.append(lock.revision)
            before = client.get(name)
            client.put(name, str(int(before.value if before else 0) + 1))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(12)]:
            done.result(60)
    total = client.get(name)
    assert total is not None
    assert total.value == b"12"
    assert fences == sorted(fences)
    assert waiters(client, name) == 0
    assert set(client.leases()) <= leases


def test_a_lock_that_is_held(client: Client, name: str) -> None:
    mine, other = client.lock(name), client.lock(name)
    assert mine.acquire()
    assert mine.key == f"{name}/{mine.lease.id:x}".encode() if mine.lease else False
    with pytest.raises(RuntimeError):
        mine.acquire()
    assert not other.acquire(blocking=False)
    assert not other.acquire(timeout=0.2)
    assert (other.key, waiters(client, name)) == (b"", 1)
    held = mine.held()
    mine.release()
    assert not client.txn().when(held).commit()
    with pytest.raises(RuntimeError):
        mine.release()
    assert other.acquire(blocking=False)
    other.release()


def test_locks_of_the_dead_become_free(make: Making, server: Server, name: str) -> None:
    client, dead = make(server.endpoint), make(server.endpoint)
    assert dead.lock(name, ttl=2).acquire()
    dead.close()
    lock = client.lock(name)
    assert lock.acquire(timeout=20)
    lock.release()


def test_a_lease_that_ends_while_waiting(client: Client, name: str) -> None:
    with client.lock(name), client.lease(30) as lease:
        waiting = client.lock(name, lease=lease)
        with ThreadPoolExecutor(1) as pool:
            outcome = pool.submit(waiting.acquire)
            wait_until(lambda: waiters(client, name) == 2, "the waiter's key")
            lease.revoke()
            holder = client.range(f"{name}/", prefix=True)[0]
            client.delete(holder.key)
            with pytest.raises(SessionExpired):
                outcome.result(30)


def test_an_election(client: Client, name: str) -> None:
    first, second = client.election(name), client.election(name)
    with pytest.raises(ElectionNoLeader):
        first.leader()
    with pytest.raises(ElectionNotLeader):
        first.proclaim("nothing")
    assert first.campaign("one")
    assert not second.campaign("two", timeout=0.2)
    assert (first.leader().value, waiters(client, name)) == (b"one", 1)
    with first.observe() as observer:
        assert next(observer).value == b"one"
        first.proclaim("uno")
        assert next(observer).value == b"uno"
        with ThreadPoolExecutor(1) as pool:
            elected = pool.submit(second.campaign, "two")
            wait_until(lambda: waiters(client, name) == 2, "the candidate")
            held = first.held()
            first.resign()
            assert elected.result(30)
        assert not client.txn().when(held).commit()
        assert next(observer).value == b"two"
        assert second.revision > first.revision
        second.resign()


def test_observing_begins_before_there_is_a_leader(client: Client, name: str) -> None:
    election = client.election(name)
    with election.observe() as observer, ThreadPoolExecutor(1) as pool:
        seen = pool.submit(next, observer)
        assert election.campaign("me")
        assert seen.result(30).value == b"me"
        election.resign()


def test_a_barrier(client: Client, name: str) -> None:
    barrier = client.barrier(name)
    barrier.wait()
    barrier.hold()
    with pytest.raises(KeyExists):
        barrier.hold()
    with pytest.raises(TimeoutError):
        barrier.wait(timeout=0.1)
    with ThreadPoolExecutor(3) as pool:
        through = [pool.submit(client.barrier(name).wait, 30) for _ in range(3)]
        assert not any(one.done() for one in through)
        barrier.release()
        for one in through:
            one.result(30)


def test_a_double_barrier(client: Client, name: str) -> None:
    inside: set[int] = set()
    most: list[int] = []

    def work(number: int) -> None:
        barrier = client.double_barrier(name, 3)
        barrier.enter(timeout=30)
        inside.add(number)
        wait_until(lambda: len(inside) == 3 or bool(most), "all to be inside")
        most.append(len(inside))
        barrier.leave(timeout=30)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work, number) for number in range(3)]:
            done.result(60)
    assert most == [3, 3, 3]
    assert waiters(client, name) == 0


def test_too_many_and_too_few_for_a_double_barrier(client: Client, name: str) -> None:
    with pytest.raises(TimeoutError):
        client.double_barrier(name, 2).enter(timeout=0.2)
    assert waiters(client, name) == 0
    alone = client.double_barrier(name, 1)
    alone.enter()
    with pytest.raises(TooManyClients):
        client.double_barrier(name, 1).enter()
    alone.leave()


def test_a_queue(client: Client, name: str) -> None:
    queue = client.queue(name)
    for item in ("a", "b", "c"):
        queue.put(item)
    assert [queue.get(timeout=10) for _ in range(3)] == [b"a", b"b", b"c"]
    with pytest.raises(TimeoutError):
        queue.get(timeout=0.2)
    with ThreadPoolExecutor(3) as pool:
        takers = [pool.submit(client.queue(name).get, 30) for _ in range(3)]
        for item in ("x", "y", "z"):
            queue.put(item)
        assert sorted(taker.result(30) for taker in takers) == [b"x", b"y", b"z"]


def test_a_priority_queue(client: Client, name: str) -> None:
    queue = client.priority_queue(name)
    for item, priority in [("late", 10), ("first", 0), ("early", 9), ("early too", 9)]:
        queue.put(item, priority)
    taken = [queue.get(timeout=10) for _ in range(4)]
    assert taken == [b"first", b"early", b"early too", b"late"]
    with pytest.raises(TimeoutError):
        queue.get(timeout=0.2)


def test_waiting_can_be_ended_by_closing_the_client(
    make: Making, server: Server, name: str
) -> None:
    client = make(server.endpoint)
    with client.lock(name):
        other = make(server.endpoint)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(other.lock(name).acquire)
            wait_until(lambda: waiters(client, name) == 2, "the waiter's key")
            threading.Timer(0.1, other.close).start()
            with pytest.raises(RuntimeError, match="closed"):
                waiting.result(30)
