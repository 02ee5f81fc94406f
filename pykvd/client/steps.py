"""What plans say: the steps that whoever runs a plan does for it.

A *plan* is a generator that yields steps and returns a result; failures of a step are thrown into
it. Whoever runs it does the I/O: `Client` with blocking calls, `AsyncClient` with `await`. So
everything that decides (retries, logins, watches that resume, locks) is written once, reads from
top to bottom, and is tested without a socket.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.client.transport import AsyncStream, Metadata, Stream

T = TypeVar("T")
U = TypeVar("U")

REQUIRE_LEADER: Final[Metadata] = (("hasleader", "true"),)
"""Asks a member to end a stream when it has lost its leader, so that another one is found."""


class Signal(Protocol):
    """What a plan can wait for: `threading.Event` or `asyncio.Event`."""

    def set(self) -> None:
        """Wake who waits, also later."""

    def clear(self) -> None:
        """Let who waits from now on sleep."""


class Send(NamedTuple):
    """Make a unary call; the result is the reply's bytes, a failure CallError."""

    endpoint: str
    path: str
    request: bytes
    deadline: float
    metadata: Metadata


class Open(NamedTuple):
    """Open a stream; the result is the stream, a failure CallError."""

    endpoint: str
    path: str
    deadline: float
    metadata: Metadata


class Receive(NamedTuple):
    """Wait for a message of a stream: bytes, or None at its end; CallError or TimeoutError."""

    stream: Stream | AsyncStream
    deadline: float | None


class Await(NamedTuple):
    """Wait until a signal is set; a failure is TimeoutError."""

    signal: Signal
    deadline: float | None


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


Step = Send | Open | Receive | Await | Pause
Plan = Generator[Step, Any, T]


def mapped(plan: Plan[T], convert: Callable[[T], U]) -> Plan[U]:
    """The plan's result, converted."""
    return convert((yield from plan))
