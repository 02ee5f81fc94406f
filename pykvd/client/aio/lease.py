"""Leases that are renewed in the background while they are needed."""
# A timeout here bounds the call itself, also at the server.
# ruff: noqa: ASYNC109

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from pykvd.client import leases
from pykvd.client.errors import ClientClosed, LeaseNotFound

if TYPE_CHECKING:
    from pykvd.client.aio.runner import Runner
    from pykvd.client.engine import Engine
    from pykvd.client.leases import Keeper
    from pykvd.client.values import LeaseInfo


class LeaseTask:
    """Renews the leases of a client. The task runs only while there is one to renew."""

    def __init__(self, runner: Runner, keeper: Keeper) -> None:
        self._runner = runner
        self._keeper = keeper
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def keep(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        self._keeper.add(lease.id, lease.ttl, lease.lost.set)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="pykvd-leases")

    def forget(self, lease: Lease) -> None:
        """Renew it no longer."""
        self._keeper.remove(lease.id)
        self._changed.set()

    async def close(self) -> None:
        """End the task."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        try:
            while (seconds := self._keeper.wait_seconds()) is not None:
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._changed.wait()
                with contextlib.suppress(ClientClosed):
                    await self._runner.run(self._keeper.renew_due())
        finally:
            self._task = None


class Lease:
    """A lease; made by `AsyncClient.lease`. Keys put with it vanish when it ends.

    As a context manager it is renewed until the end of the block and then revoked.
    """

    def __init__(
        self, runner: Runner, engine: Engine, task: LeaseTask, lease_id: int, ttl: int
    ) -> None:
        self._runner = runner
        self._engine = engine
        self._task = task
        self.id = lease_id
        self.ttl = ttl
        """Seconds that it lives after each renewal."""
        self.lost = asyncio.Event()
        """Set once it is gone: revoked, found to be gone, or not renewed in time."""

    def __repr__(self) -> str:
        return f"<Lease {self.id:x}, {self.ttl} s>"

    @property
    def alive(self) -> bool:
        """Whether it is still there, as far as we know."""
        return not self.lost.is_set()

    def keep_alive(self) -> None:
        """Renew it in the background until it is revoked or the client is closed."""
        self._runner.check()
        self._task.keep(self)

    async def refresh(self, *, timeout: float | None = None) -> int:
        """Renew it once; the seconds it lives from now on. Raises LeaseNotFound."""
        return await self._runner.run(leases.renew_once(self._engine, self.id, timeout))

    async def info(self, *, keys: bool = False, timeout: float | None = None) -> LeaseInfo:
        """The time left, and which keys are attached."""
        plan = leases.time_to_live(self._engine, self.id, timeout, keys=keys)
        return await self._runner.run(plan)

    async def revoke(self, *, timeout: float | None = None) -> None:
        """End it and delete its keys; raises LeaseNotFound."""
        self._task.forget(self)
        await self._runner.run(leases.revoke(self._engine, self.id, timeout))
        self.lost.set()

    async def __aenter__(self) -> Self:
        self.keep_alive()
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(LeaseNotFound):
            await self.revoke()
