"""A watch that is iterated."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from pykvd.client import arguments
from pykvd.client.errors import ClientClosed

if TYPE_CHECKING:
    from pykvd.client.sync.runner import Runner
    from pykvd.client.values import Event
    from pykvd.client.watching import Watcher


class Watch:
    """Changes of keys, in order, none twice and none left out; made by `Client.watch`.

    Iterating blocks until there is an event and ends when the watch is closed, also by another
    thread. A watch survives lost connections and servers; it raises Compacted if the history that
    it would go on from is gone, and Unavailable if it found no server for too long.
    """

    def __init__(self, runner: Runner, watcher: Watcher, deadline: float) -> None:
        self._runner = runner
        self._watcher = watcher
        self._events: deque[Event] = deque()
        try:
            runner.run(watcher.start(deadline))
        except BaseException:
            watcher.close()
            raise

    @property
    def revision(self) -> int:
        """Every change up to this revision has been received."""
        return self._watcher.revision

    def get(self, timeout: float | None = None) -> Event:
        """The next event.

        Raises:
            TimeoutError: none within `timeout` seconds; the watch goes on.
            ClientClosed: the watch is closed.

        """
        deadline = arguments.deadline(timeout)
        while not self._events:
            if self._watcher.closed:
                raise ClientClosed("the watch is closed")
            self._events += self._runner.run(self._watcher.fill(deadline))
        return self._events.popleft()

    def close(self) -> None:
        """End it."""
        self._runner.end(self._watcher.close)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        try:
            return self.get()
        except ClientClosed:
            if self._watcher.closed:
                raise StopIteration from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
