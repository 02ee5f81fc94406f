"""Long reads take turns: a few milliseconds of the loop each, then everybody else has theirs."""

import asyncio
import io
from collections.abc import Callable, Generator
from time import perf_counter
from typing import TypeVar

from pykvd.api.access import Access, Caller
from pykvd.errors import Code, Failure, RpcError
from pykvd.mvcc.errors import CompactedError
from pykvd.transport import Call

T = TypeVar("T")
R = TypeVar("R")

#: What a read may do in its turn, in seconds; the step that is under way then is finished.
TURN_S = 0.005
#: Pieces up to so many bytes are joined at once, which takes about two milliseconds.
JOINED_BYTES = 4 << 20
#: A buffer so large is mapped by itself: it costs only what is used of it, and grows without being
#: copied.
MAPPED_BYTES = 40 << 20


def may_go_on(access: Access, call: Call, caller: Caller) -> None:
    """Raise where nobody waits any more, or the caller's rights must be asked for again."""
    if call.done:
        raise RpcError(Code.CANCELLED, "context canceled")
    access.recheck(caller)


class Turns:
    """One read of all has its turn in a pass of the loop; they come in order."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def run(
        self, steps: Generator[T, None, R], take: Callable[[T], object], check: Callable[[], None]
    ) -> R:
        """Give every result of `steps` to `take`, and return what the steps return.

        `check` is called before each turn but the first and may raise. Raises RpcError where
        a compaction has overtaken the read.
        """
        first = True
        while True:
            async with self._lock:
                try:
                    if not first:
                        check()
                    end = perf_counter() + TURN_S
                    while perf_counter() < end:
                        take(next(steps))
                except StopIteration as stopped:
                    result: R = stopped.value
                    return result
                except CompactedError:
                    raise Failure.COMPACTED.error() from None
                first = False
                await asyncio.sleep(0)


class Assembly:
    """An answer that is put together a piece at a time, never copied as a whole once it is long."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._buffer: io.BytesIO | None = None

    def add(self, pieces: list[bytes]) -> None:
        """Append some pieces."""
        self._size += sum(map(len, pieces))
        if self._buffer is None:
            self._pieces += pieces
            if self._size > JOINED_BYTES:
                self._buffer = io.BytesIO(bytes(MAPPED_BYTES))
                self._buffer.writelines(self._pieces)
                self._pieces.clear()
        else:
            self._buffer.writelines(pieces)

    def finish(self) -> bytes:
        """All of it."""
        if self._buffer is None:
            return b"".join(self._pieces)
        self._buffer.truncate()
        return self._buffer.getvalue()
