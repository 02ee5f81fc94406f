"""Who waits for the outcome of a command."""

import asyncio
from typing import Protocol

from pykvd.errors import RpcError


class Responder(Protocol):
    """Who waits for a command; a transport call is one."""

    def reply(self, message: bytes) -> None:
        """The serialized response."""

    def fail(self, code: int, message: str) -> None:
        """The command was refused, or its outcome is unknown (Unavailable, DeadlineExceeded)."""


class FutureResponder:
    """Lets a coroutine wait for a command."""

    def __init__(self) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def reply(self, message: bytes) -> None:
        """Resolve the future."""
        if not self.future.done():
            self.future.set_result(message)

    def fail(self, code: int, message: str) -> None:
        """Fail the future with RpcError."""
        if not self.future.done():
            self.future.set_exception(RpcError(code, message))


class Nobody:
    """Nobody waits."""

    def reply(self, message: bytes) -> None:
        """Ignore it."""

    def fail(self, code: int, message: str) -> None:
        """Ignore it."""


NOBODY = Nobody()
