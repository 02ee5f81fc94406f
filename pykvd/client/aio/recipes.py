"""Locks, elections, barriers, queues: the recipes for asyncio.

Each object is one contender: tasks that compete make one each.
"""

# A timeout here bounds the call itself, also at the server.
# ruff: noqa: ASYNC109

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from pykvd.client import arguments
from pykvd.client.errors import EtcdError
from pykvd.client.leases import GIVE_UP_TIMEOUT
from pykvd.client.recipes import barrier, election, mutex, queue

if TYPE_CHECKING:
    from pykvd.client.aio.client import AsyncClient
    from pykvd.client.aio.lease import Lease
    from pykvd.client.aio.runner import Runner
    from pykvd.client.arguments import Data
    from pykvd.client.engine import Engine
    from pykvd.client.txn import Condition
    from pykvd.client.values import KeyValue


class Session:
    """The lease that a recipe rests on: the caller's, or one of its own while it needs one."""

    def __init__(self, client: AsyncClient, engine: Engine, ttl: int, lease: Lease | None) -> None:
        self._client = client
        self._engine = engine
        self._ttl = arguments.integer("ttl", ttl, 1)
        self._given = lease
        self.lease = lease

    async def begin(self, deadline: float | None) -> Lease:
        """The lease, granted and renewed from now on if it is our own."""
        if self.lease is None:
            timeout = self._engine.timeout_until(deadline)
            self.lease = await self._client.lease(self._ttl, timeout=timeout)
            self.lease.keep_alive()
        return self.lease

    async def end(self) -> None:
        """Give back our own; if no server answers, it runs out."""
        lease, self.lease = self.lease, self._given
        if lease is not None and lease is not self._given:
            with contextlib.suppress(EtcdError):
                await lease.revoke(timeout=GIVE_UP_TIMEOUT)


class Lock:
    """A lock that all clients of the cluster share; made by `AsyncClient.lock`."""

    def __init__(self, runner: Runner, engine: Engine, name: Data, session: Session) -> None:
        self._runner = runner
        self._session = session
        self._mutex = mutex.Mutex(engine, arguments.data("name", name))
        self._held = False

    @property
    def locked(self) -> bool:
        """Whether we have the lock, as far as we know: the lease that it rests on may be lost."""
        return self._held and self._session.lease is not None and self._session.lease.alive

    @property
    def key(self) -> bytes:
        """The key that stands for us; empty while we do not have the lock."""
        return self._mutex.key

    @property
    def revision(self) -> int:
        """Grows from holder to holder: a fence for what the lock protects."""
        return self._mutex.revision

    @property
    def lease(self) -> Lease | None:
        """The lease that the lock rests on; watch its `lost`."""
        return self._session.lease

    def held(self) -> Condition:
        """A condition for transactions that holds as long as the lock is ours."""
        return self._mutex.held()

    async def acquire(self, *, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take the lock; False if it was not free (in time).

        Raises:
            SessionExpired: the lease ended while waiting.

        """
        if self._held:
            raise RuntimeError("the lock is held already")
        deadline = arguments.deadline(timeout)
        lease = await self._session.begin(deadline)
        try:
            if blocking:
                self._held = await self._runner.run(self._mutex.acquire(lease.id, deadline))
            else:
                self._held = await self._runner.run(self._mutex.try_acquire(lease.id))
        finally:
            if not self._held:
                await self._session.end()
        return self._held

    async def release(self) -> None:
        """Let the next one have it."""
        if not self._held:
            raise RuntimeError("the lock is not held")
        self._held = False
        try:
            await self._runner.run(self._mutex.release())
        finally:
            await self._session.end()

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()


class Election:
    """An election of one leader; made by `AsyncClient.election`."""

    def __init__(self, runner: Runner, engine: Engine, name: Data, session: Session) -> None:
        self._runner = runner
        self._engine = engine
        self._session = session
        self._name = arguments.data("name", name)
        self._candidacy = election.Candidacy(engine, self._name)

    @property
    def key(self) -> bytes:
        """The key that stands for us; empty while we are no candidate."""
        return self._candidacy.key

    @property
    def revision(self) -> int:
        """Grows from leader to leader: a fence."""
        return self._candidacy.revision

    @property
    def lease(self) -> Lease | None:
        """The lease that our candidacy rests on; watch its `lost`."""
        return self._session.lease

    def held(self) -> Condition:
        """A condition for transactions that holds as long as we are a candidate or lead."""
        return self._candidacy.held()

    async def campaign(self, value: Data = b"", *, timeout: float | None = None) -> bool:
        """Wait until elected; False, a candidate no more, if that took too long."""
        data = arguments.data("value", value)
        deadline = arguments.deadline(timeout)
        lease = await self._session.begin(deadline)
        elected = False
        try:
            elected = await self._runner.run(self._candidacy.campaign(lease.id, data, deadline))
        finally:
            if not elected:
                await self._session.end()
        return elected

    async def proclaim(self, value: Data) -> None:
        """Announce another value; raises ElectionNotLeader."""
        await self._runner.run(self._candidacy.proclaim(arguments.data("value", value)))

    async def resign(self) -> None:
        """Lead no more."""
        try:
            await self._runner.run(self._candidacy.resign())
        finally:
            await self._session.end()

    async def leader(self) -> KeyValue:
        """Who leads, and what they announce; raises ElectionNoLeader."""
        return await self._runner.run(self._candidacy.leader())

    def observe(self) -> Observer:
        """What leaders announce, from the present one on."""
        return Observer(self._runner, election.Observation(self._engine, self._name))


class Observer:
    """Iterates what leaders announce. Some values may be skipped, never the last one."""

    def __init__(self, runner: Runner, observation: election.Observation) -> None:
        self._runner = runner
        self._observation = observation

    def close(self) -> None:
        """End it."""
        self._runner.end(self._observation.close)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> KeyValue:
        found = await self._runner.run(self._observation.next())
        if found is None:
            raise StopAsyncIteration
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Barrier:
    """A gate that all wait at while it is held; made by `AsyncClient.barrier`."""

    def __init__(self, runner: Runner, engine: Engine, name: Data) -> None:
        self._runner = runner
        self._barrier = barrier.Barrier(engine, arguments.key("name", name))

    async def hold(self) -> None:
        """Close the gate; raises KeyExists."""
        await self._runner.run(self._barrier.hold())

    async def release(self) -> None:
        """Open the gate."""
        await self._runner.run(self._barrier.release())

    async def wait(self, timeout: float | None = None) -> None:
        """Until the gate is open; raises TimeoutError."""
        await self._runner.run(self._barrier.wait(arguments.deadline(timeout)))


class DoubleBarrier:
    """Lets `count` clients begin and end together; made by `AsyncClient.double_barrier`."""

    def __init__(
        self, runner: Runner, engine: Engine, name: Data, count: int, session: Session
    ) -> None:
        self._runner = runner
        self._session = session
        number = arguments.integer("count", count, 1)
        self._barrier = barrier.DoubleBarrier(engine, arguments.key("name", name), number)

    async def enter(self, timeout: float | None = None) -> None:
        """Wait until all have come; raises TimeoutError or TooManyClients."""
        deadline = arguments.deadline(timeout)
        lease = await self._session.begin(deadline)
        try:
            await self._runner.run(self._barrier.enter(lease.id, deadline))
        except BaseException:
            await self._session.end()
            raise

    async def leave(self, timeout: float | None = None) -> None:
        """Wait until all have left; raises TimeoutError."""
        try:
            await self._runner.run(self._barrier.leave(arguments.deadline(timeout)))
        except TimeoutError:  # it may be tried again
            raise
        except BaseException:
            await self._session.end()
            raise
        await self._session.end()

    async def __aenter__(self) -> Self:
        await self.enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()


class Queue:
    """First in, first out; made by `AsyncClient.queue`."""

    def __init__(self, runner: Runner, engine: Engine, name: Data) -> None:
        self._runner = runner
        self._queue = queue.Queue(engine, arguments.key("name", name))

    async def put(self, value: Data) -> None:
        """Add an item."""
        await self._runner.run(self._queue.put(arguments.data("value", value)))

    async def get(self, timeout: float | None = None) -> bytes:
        """Take the oldest item, waiting for one if there is none; raises TimeoutError."""
        return await self._runner.run(self._queue.get(arguments.deadline(timeout)))


class PriorityQueue:
    """The smallest priority first; made by `AsyncClient.priority_queue`."""

    def __init__(self, runner: Runner, engine: Engine, name: Data) -> None:
        self._runner = runner
        self._queue = queue.PriorityQueue(engine, arguments.key("name", name))

    async def put(self, value: Data, priority: int) -> None:
        """Add an item with a priority from 0 (first) to 65535."""
        await self._runner.run(self._queue.put(arguments.data("value", value), priority))

    async def get(self, timeout: float | None = None) -> bytes:
        """Take the first item, waiting for one if there is none; raises TimeoutError."""
        return await self._runner.run(self._queue.get(arguments.deadline(timeout)))
