"""Checks of arguments, before anything is sent: the error names the field."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from google.protobuf.message import Message

T = TypeVar("T")

Data = str | bytes
"""Keys and values: bytes, or text that is sent as UTF-8."""

INT64_MAX: Final = 2**63 - 1
UINT64_MAX: Final = 2**64 - 1
MAX_REQUEST_BYTES: Final = 2 << 20
"""Requests above this are refused here: servers take no more (1.5 MiB and some) by default."""


MAX_SECONDS: Final = 1e9
"""The longest time; clocks of the system take no infinite ones."""


class HasId(Protocol):
    """A granted lease."""

    @property
    def id(self) -> int:
        """Its id."""


def data(field: str, given: object) -> bytes:
    """Bytes of a key or value; raises TypeError or ValueError."""
    if isinstance(given, bytes):
        return given
    if isinstance(given, str):
        return text(field, given).encode()
    raise TypeError(f"{field}: expected str or bytes, got {type(given).__name__}")


def key(field: str, given: object) -> bytes:
    """The same, not empty; raises TypeError or ValueError."""
    found = data(field, given)
    if not found:
        raise ValueError(f"{field}: must not be empty")
    return found


def keys(field: str, given: Iterable[Data]) -> list[bytes]:
    """Several keys, each once; raises TypeError or ValueError."""
    return list(dict.fromkeys(key(field, one) for one in several(field, given)))


def text(field: str, given: object) -> str:
    """A string that UTF-8 can carry; raises TypeError or ValueError."""
    if not isinstance(given, str):
        raise TypeError(f"{field}: expected str, got {type(given).__name__}")
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{field}: {given!r} is no text: {error.reason}") from None
    return given


def several(field: str, given: Iterable[T]) -> list[T]:
    """A list of what can be iterated, but is not one text; raises TypeError."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{field}: expected several, got {type(given).__name__}")
    return list(given)


def choice(field: str, given: object, choices: Iterable[str]) -> str:
    """One of some words; raises ValueError."""
    words = list(choices)
    if not isinstance(given, str) or given not in words:
        raise ValueError(f"{field}: {given!r} is not one of {', '.join(words)}")
    return given


def flag(field: str, given: object) -> bool:
    """True or False; raises TypeError."""
    if not isinstance(given, bool):
        raise TypeError(f"{field}: expected bool, got {type(given).__name__}")
    return given


def integer(field: str, given: object, low: int = 0, high: int = INT64_MAX) -> int:
    """A whole number in bounds; raises TypeError or ValueError."""
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"{field}: expected int, got {type(given).__name__}")
    if not low <= given <= high:
        raise ValueError(f"{field}: {given} is not between {low} and {high}")
    return given


def lease(given: object, field: str = "lease") -> int:
    """The id of a lease, given as such or as a lease; 0 for None."""
    if given is None:
        return 0
    number: object = given if isinstance(given, int) else getattr(given, "id", given)
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{field}: expected a lease or its id, got {type(given).__name__}")
    return integer(field, number, -INT64_MAX - 1)


def seconds(field: str, given: object) -> float:
    """A positive time; raises TypeError or ValueError."""
    if not isinstance(given, int | float) or isinstance(given, bool):
        raise TypeError(f"{field}: expected seconds, got {type(given).__name__}")
    if not 0 < given <= MAX_SECONDS:
        raise ValueError(f"{field}: {given} is not above 0 and up to {MAX_SECONDS:g}")
    return given


def deadline(timeout: float | None) -> float | None:
    """When a wait with this timeout ends, on the clock of `time.monotonic()`; None for never."""
    return None if timeout is None else time.monotonic() + seconds("timeout", timeout)


def message(request: Message, limit: int) -> bytes:
    """The request as bytes; raises ValueError that names its largest field."""
    size = request.ByteSize()
    if size > limit:
        field = max(request.ListFields(), key=lambda item: len(str(item[1])))[0].name
        raise ValueError(f"{field}: a request of {size} bytes is above the limit of {limit}")
    return request.SerializeToString()
