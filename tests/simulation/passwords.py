"""Passwords without bcrypt: a hash is the password itself, and a look at it takes virtual time."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING, TypeVar

from pykvd.api.passwords import DEFAULT_COST, Passwords

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

T = TypeVar("T")

SECONDS = (0.001, 0.2)


class SimulatedPasswords(Passwords):
    """See `pykvd.api.passwords.Passwords`; its threads and its memory of passwords are not used."""

    def __init__(self, rng: Random) -> None:
        super().__init__(DEFAULT_COST, clock=asyncio.get_running_loop().time)
        self._rng = rng

    async def hash(self, password: str) -> str:
        """The password, in base64."""
        return await self.run(lambda: b64encode(password.encode()).decode())

    async def check(
        self,
        name: str,
        password: str,
        stored: bytes | None,
        revision: int,
        *,
        gone: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Whether they are the same."""
        return await self.run(lambda: password.encode() == stored)

    async def run(self, work: Callable[[], T]) -> T:
        """Do it a little later."""
        await asyncio.sleep(self._rng.uniform(*SECONDS))
        return work()
