"""Transactional memory with blocking calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.client.arguments import Data, HasId
    from pykvd.client.recipes.stm import Memory
    from pykvd.client.sync.runner import Runner

T = TypeVar("T")


class STM:
    """What the function given to `Client.stm` reads and writes with."""

    def __init__(self, runner: Runner, memory: Memory) -> None:
        self._runner = runner
        self._memory = memory

    def get(self, key: Data) -> bytes | None:
        """The value of a key; None if there is none."""
        return self._runner.run(self._memory.get(key))

    def revision(self, key: Data) -> int:
        """The revision that changed a key last; 0 if there is none."""
        return self._runner.run(self._memory.revision(key))

    def put(self, key: Data, value: Data, *, lease: HasId | int | None = None) -> None:
        """Put a key, when all is committed."""
        self._memory.put(key, value, lease)

    def delete(self, key: Data) -> None:
        """Delete a key, when all is committed."""
        self._memory.delete(key)


def run(runner: Runner, memory: Memory, function: Callable[[STM], T]) -> T:
    """Call the function until what it did could be committed; its result."""
    while True:
        runner.run(memory.begin())
        result = function(STM(runner, memory))
        if runner.run(memory.commit()):
            return result
