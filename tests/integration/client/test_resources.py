"""Threads that share a client; sockets, threads and tasks that are left behind: none."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pykvd.client import AsyncClient, Client, Unavailable
from tests.harness import wait_until

if TYPE_CHECKING:
    from tests.harness import Server
    from tests.integration.client.blocked import Making

DESCRIPTORS = Path("/proc/self/fd")


def sockets() -> int:
    """Open sockets of this process."""
    found = 0
    for entry in DESCRIPTORS.iterdir():
        try:
            found += os.readlink(entry).startswith("socket:")
        except OSError:  # the directory's own descriptor
            continue
    return found


def test_many_threads_share_a_client(client: Client, name: str) -> None:
    def work(number: int) -> list[bytes]:
        seen = []
        with client.watch(f"{name}{number}") as watch:
            for index in range(20):
                client.put(f"{name}{number}", str(index))
                found = client.get(f"{name}{number}")
                assert found is not None
                assert found.value == b"%d" % index
                seen.append(watch.get(timeout=30).value)
        return seen

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(work, number) for number in range(32)]:
            assert done.result(60) == [b"%d" % index for index in range(20)]


def test_a_thread_that_gives_up_does_not_disturb_the_others(client: Client, name: str) -> None:
    with ThreadPoolExecutor(8) as pool, client.watch(name) as watch:
        waiting = [pool.submit(watch.get, 0.3)]
        with client.watch(name + "2") as other:
            waiting.append(pool.submit(other.get, 0.6))
            puts = [pool.submit(client.put, f"{name}x", "") for _ in range(200)]
            for put in puts:
                put.result(30)
            for event in waiting:
                with pytest.raises(TimeoutError):
                    event.result(30)


def test_deadlines_that_pass_all_the_time(client: Client, name: str) -> None:
    """Calls are given up at every point; the connection they share goes on working."""

    def work(number: int) -> int:
        chance = random.Random(number)
        done = 0
        for _ in range(40):
            value = bytes(chance.choice([10, 100_000]))
            with contextlib.suppress(Unavailable):
                client.put(f"{name}{number}", value, timeout=chance.choice([0.001, 0.01, 30]))
                done += 1
            with (
                contextlib.suppress(Unavailable, TimeoutError),
                client.watch(f"{name}{chance.randrange(16)}") as watch,
            ):
                watch.get(timeout=chance.choice([0.001, 0.02]))
            client.get(f"{name}{chance.randrange(16)}", timeout=30)
        return done

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(work, number) for number in range(16)]:
            assert done.result(90) > 0


def test_one_connection_and_no_thread(server: Server, name: str) -> None:
    gc.collect()
    before, threads = sockets(), threading.active_count()
    with Client(server.endpoint) as client:
        client.put(name, "")
        with client.watch(name):
            client.get(name)
            assert sockets() == before + 3  # one to the server, a pair to wake its reader
            assert threading.active_count() == threads
        with client.lease(30):
            assert threading.active_count() == threads + 1
        wait_until(lambda: threading.active_count() == threads, "the thread of leases to end")
        client.get(name)
    assert sockets() == before
    assert threading.active_count() == threads


def test_nothing_is_left_after_a_lost_server(make: Making, own_server: Server, name: str) -> None:
    gc.collect()
    before = sockets()
    client = make(own_server.endpoint)
    watch = client.watch(name)
    for _ in range(3):
        own_server.kill()
        own_server.start()
        client.get(name, timeout=20)
        client.put(name, "", timeout=20)
        assert watch.get(timeout=20)
    client.close()
    assert sockets() == before


async def test_no_task_is_left(server: Server, name: str) -> None:
    before = sockets()
    async with AsyncClient(server.endpoint) as client:
        await client.put(name, "")
        async with client.watch(name), client.lease(30), client.lock(name):
            assert await client.get(name)
            assert len(asyncio.all_tasks()) == 2
    assert len(asyncio.all_tasks()) == 1
    await asyncio.sleep(0)
    assert sockets() == before


async def test_a_cancelled_call_leaves_nothing(server: Server, name: str) -> None:
    async with AsyncClient(server.endpoint) as client:
        waiting = asyncio.create_task(client.barrier(name).wait())
        await client.barrier(name).hold()
        watching = asyncio.create_task((await client.watch(name)).get())
        locked = client.lock(name)
        await locked.acquire()
        locking = asyncio.create_task(client.lock(name).acquire())
        async with client.watch(f"{name}/", prefix=True, start_revision=1) as contenders:
            for _ in range(2):
                await contenders.get(timeout=10)
        for task in (waiting, watching, locking):
            task.cancel()
        await asyncio.wait([waiting, watching, locking])
        assert watching.cancelled()
        assert locking.cancelled()
        assert await client.count(f"{name}/", prefix=True) == 1
        await locked.release()


def test_a_fork_cannot_use_its_parents_client(server: Server, name: str) -> None:
    program = f"""
import os
from pykvd.client import Client
client = Client({server.endpoint!r})
client.put({name!r}, "parent")
child = os.fork()
if child == 0:
    try:
        client.get({name!r})
    except RuntimeError as error:
        assert "fork" in str(error)
        with Client({server.endpoint!r}) as own:
            assert own.get({name!r})
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert client.get({name!r})
client.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
