"""Things that need the server before they can be used: `await` them, or enter them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator


class Enterable(Protocol):
    """An asynchronous context manager that stands for itself."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...


T = TypeVar("T", bound=Enterable)


class Starting(Generic[T]):
    """`await` starts it; `async with` starts it and ends it after the block."""

    def __init__(self, start: Callable[[], Awaitable[T]]) -> None:
        self._start = start
        self._used = False
        self._started: T | None = None

    def __await__(self) -> Generator[object, None, T]:
        return self._once().__await__()

    def _once(self) -> Awaitable[T]:
        """Raises RuntimeError the second time: another one would be made, or nothing at all."""
        if self._used:
            raise RuntimeError("can be awaited or entered only once: keep the result of that")
        self._used = True
        return self._start()

    async def __aenter__(self) -> T:
        self._started = await self._once()
        return await self._started.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        assert self._started is not None
        await self._started.__aexit__(*error)
