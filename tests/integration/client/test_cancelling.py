"""Tasks that are cancelled at every await there is: no stream, task, key or lease is left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pykvd.client import AsyncClient, AsyncSTM, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from tests.harness import Server

MOST_WAITS = 200
"""How often each of the works waits at most."""


class Interrupted:
    """A coroutine whose task is cancelled when it waits for the nth time."""

    def __init__(self, work: Coroutine[Any, Any, None], nth: int) -> None:
        self._work = work
        self._left = nth

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._work.__await__()
        task = asyncio.current_task()
        assert task is not None
        try:
            awaited = next(steps)
            while True:
                self._left -= 1
                if not self._left:
                    task.cancel()
                try:
                    answer = yield awaited
                except BaseException as failure:  # noqa: BLE001 - it is for the work
                    awaited = steps.throw(failure)
                else:
                    awaited = steps.send(answer)
        except StopIteration:
            return


async def _watch(client: AsyncClient, name: str) -> None:
    async with client.watch(name) as watch:
        await client.put(name, "")
        await watch.get()


async def _lease(client: AsyncClient, name: str) -> None:
    async with client.lease(600) as lease:
        await client.put(name, "", lease=lease)


async def _lock(client: AsyncClient, name: str) -> None:
    async with client.lock(name, ttl=600):
        await client.put(name, "")


async def _election(client: AsyncClient, name: str) -> None:
    election = client.election(name, ttl=600)
    await election.campaign("me")
    try:
        await election.proclaim("still me")
    finally:
        await election.resign()


async def _double_barrier(client: AsyncClient, name: str) -> None:
    async with client.double_barrier(name, 1, ttl=600):
        await client.put(name, "")


async def _stm(client: AsyncClient, name: str) -> None:
    async def count(stm: AsyncSTM) -> None:
        stm.put(name, str(int(await stm.get(name) or b"0") + 1))

    await client.stm(count)


async def _calls(client: AsyncClient, name: str) -> None:
    await client.put(name, "")
    await client.get(name)
    await client.txn().commit()
    assert [kv async for kv in client.scan(name, prefix=True)]


WORKS: dict[str, Callable[[AsyncClient, str], Coroutine[Any, Any, None]]] = {
    "calls": _calls,
    "watch": _watch,
    "lease": _lease,
    "lock": _lock,
    "election": _election,
    "double barrier": _double_barrier,
    "stm": _stm,
}


@pytest.mark.parametrize("work", WORKS)
async def test_nothing_is_left_wherever_it_is_cancelled(
    server: Server, name: str, work: str
) -> None:
    with Client(server.endpoint) as other:
        before = set(other.leases())
        for nth in range(1, MOST_WAITS):
            async with AsyncClient(server.endpoint) as client:
                if nth % 2:
                    await client.get(name)  # with a connection, and without
                task = asyncio.ensure_future(_run(Interrupted(WORKS[work](client, name), nth)))
                await asyncio.wait([task], timeout=20)
                assert task.done()
                assert client._engine.watches.idle
                await client.put(name, "")  # it still works: that did not clean up
                assert set(other.leases()) <= before, nth
                assert other.count(f"{name}/", prefix=True) == 0, nth
            assert len(asyncio.all_tasks()) == 1, nth
            if not task.cancelled():
                break
        assert task.result() is None
        assert nth > 2


async def _run(work: Interrupted) -> None:
    await work
