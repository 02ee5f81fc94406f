"""A watch that is iterated."""
# A timeout here bounds the call itself, also at the server.
# ruff: noqa: ASYNC109

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from pykvd.client import arguments
from pykvd.client.errors import ClientClosed

if TYPE_CHECKING:
    from pykvd.client.aio.runner import Runner
    from pykvd.client.values import Event
    from pykvd.client.watching import Watcher


class Watch:
    """Changes of keys, in order, none twice and none left out; made by `AsyncClient.watch`.

    Iterating waits until there is an event and ends when the watch is closed, also by another
    task. A watch survives lost connections and servers; it raises Compacted if the history that
    it would go on from is gone, and Unavailable if it found no server for too long.
    """

    def __init__(self, runner: Runner, watcher: Watcher) -> None:
        self._runner = runner
        self._watcher = watcher
        self._events: deque[Event] = deque()

    @classmethod
    async def start(cls, runner: Runner, watcher: Watcher, deadline: float) -> Self:
        """A watch that the server has confirmed."""
        watch = cls(runner, watcher)
        try:
            await runner.run(watcher.start(deadline))
        except BaseException:
            watcher.close()
            raise
        return watch

    @property
    def revision(self) -> int:
        """Every change up to this revision has been received."""
        return self._watcher.revision

    async def get(self, timeout: float | None = None) -> Event:
        """The next event.

        Raises:
            TimeoutError: none within `timeout` seconds; the watch goes on.
            ClientClosed: the watch is closed.

        """
        deadline = arguments.deadline(timeout)
        while not self._events:
            if self._watcher.closed:
                raise ClientClosed("the watch is closed")
            self._events += await self._runner.run(self._watcher.fill(deadline))
        return self._events.popleft()

    def close(self) -> None:
        """End it."""
        self._runner.end(self._watcher.close)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self.get()
        except ClientClosed:
            if self._watcher.closed:
                raise StopAsyncIteration from None
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
