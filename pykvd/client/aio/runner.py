"""Runs plans with `await`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, TypeVar, cast

from pykvd.client.errors import ClientClosed
from pykvd.client.steps import Await, Open, Pause, Plan, Receive, Send, Step
from pykvd.client.transport import AsyncStream, CallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.client.transport import AsyncTransport

T = TypeVar("T")


class Runner:
    """Does what plans say, over one transport an endpoint. Belongs to one event loop."""

    def __init__(self, dial: Callable[[str], AsyncTransport]) -> None:
        self._dial = dial
        self._transports: dict[str, AsyncTransport] = {}
        self._pid = os.getpid()
        self.closed = False
        """Whether it runs nothing any more."""

    async def run(self, plan: Plan[T]) -> T:
        """The plan's result; raises what the plan raises, and ClientClosed."""
        self.check()
        try:
            step = next(plan)
            while True:
                try:
                    result = await self._do(step)
                except GeneratorExit:  # the caller is thrown away: nothing can be awaited any more
                    plan.close()
                    raise
                except BaseException as failure:  # noqa: BLE001 - the plan decides
                    step = plan.throw(self._seen(failure))
                else:
                    step = plan.send(result)
        except StopIteration as done:
            return cast(T, done.value)

    def check(self) -> None:
        """Raises ClientClosed, or RuntimeError in a child process after `fork`."""
        if self.closed:
            raise ClientClosed
        if self.forked:
            raise RuntimeError("a client cannot be used after a fork: make another one")

    @property
    def forked(self) -> bool:
        """Whether this is a child process: the connections are its parent's."""
        return os.getpid() != self._pid

    def end(self, close: Callable[[], None]) -> None:
        """Close something that has a connection, but not the parent's in a child process."""
        if not self.forked:
            close()

    async def close(self) -> None:
        """End all calls."""
        self.closed = True
        for transport in self._transports.values():
            await transport.close()

    async def _do(self, step: Step) -> object:
        if isinstance(step, Send):
            transport = self._transport(step.endpoint)
            return await transport.unary(step.path, step.request, step.deadline, step.metadata)
        if isinstance(step, Receive):
            return await cast(AsyncStream, step.stream).receive(step.deadline)
        if isinstance(step, Open):
            transport = self._transport(step.endpoint)
            return await transport.stream(step.path, step.deadline, step.metadata)
        if isinstance(step, Await):
            left = None if step.deadline is None else max(0.0, step.deadline - time.monotonic())
            async with asyncio.timeout(left):
                await cast(asyncio.Event, step.signal).wait()
            return None
        assert isinstance(step, Pause)
        await asyncio.sleep(step.seconds)
        self.check()
        return None

    def _seen(self, failure: BaseException) -> BaseException:
        """What has failed because the client was closed says so."""
        if self.closed and isinstance(failure, CallError):
            return ClientClosed()
        return failure

    def _transport(self, endpoint: str) -> AsyncTransport:
        transport = self._transports.get(endpoint)
        if transport is None:
            self.check()
            transport = self._transports[endpoint] = self._dial(endpoint)
        return transport
