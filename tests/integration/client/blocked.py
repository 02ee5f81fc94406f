"""The asynchronous client seen as a blocking one, so that one scenario tests both.

A loop runs in a thread; every call goes there and is waited for. What the client returns is wrapped
in the same way.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any

from pykvd.client import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_debug(True)
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop")
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def close(self) -> None:
        """End it; fails if a task was left behind."""
        left = self.run(_other_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not left, left


async def _other_tasks() -> list[str]:
    return [str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]


class Blocked:
    """One object of the asynchronous client."""

    def __init__(self, loop: Loop, target: Any) -> None:
        self._loop = loop
        self._target = target

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        async def call() -> Any:
            result = function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        result = self._loop.run(call())
        wrap = type(result).__module__.startswith("pykvd.client.aio") or hasattr(
            result, "__aiter__"
        )
        return Blocked(self._loop, result) if wrap else result

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if inspect.ismethod(found):
            return lambda *args, **kwargs: self._call(found, *args, **kwargs)
        if type(found).__module__.startswith("pykvd.client.aio"):
            return Blocked(self._loop, found)
        return found

    def __enter__(self) -> Any:
        return self._call(self._target.__aenter__)

    def __exit__(self, *error: object) -> None:
        self._call(self._target.__aexit__, None, None, None)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            return self._call(self._target.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None


class Making:
    """Makes clients of one kind, and closes them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._loop = Loop() if kind == "async" else None
        self._made: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Client:
        """A client; the arguments are those of `Client`."""
        client: Any
        if self._loop is None:
            client = Client(*args, **kwargs)
        else:
            client = Blocked(self._loop, AsyncClient(*args, **kwargs))
        self._made.append(client)
        return client  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the clients and the loop."""
        for client in self._made:
            client.close()
        if self._loop is not None:
            self._loop.close()
