"""Streams as coroutines, for the few methods where speed does not matter and order of steps does.

Each stream gets a task, so this is for slow paths only (locks, elections, snapshots).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from pykvd.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from pykvd.transport.service import Stream, StreamHandler

MAX_WAITING_MESSAGES = 16
"""Unread requests above which the client gets no more receive window."""

_logger = logging.getLogger("pykvd.transport")


class AsyncStream:
    """One stream as seen by its coroutine.

    Iterating gives the client's messages until it half-closes.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._messages: deque[bytes] = deque()
        self._half_closed = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """As `Call.metadata`."""
        return self._stream.metadata

    @property
    def deadline(self) -> float | None:
        """As `Call.deadline`."""
        return self._stream.deadline

    @property
    def peer(self) -> str:
        """As `Call.peer`."""
        return self._stream.peer

    @property
    def common_name(self) -> str:
        """As `Call.common_name`."""
        return self._stream.common_name

    def send_headers(self) -> None:
        """Send the response headers now."""
        self._stream.send_headers()

    async def send(self, message: bytes) -> None:
        """Queue one message; waits while the client is slow."""
        self._stream.send(message)
        if self._stream.done:
            await asyncio.sleep(0)  # lets the cancellation in; a loop of sends has no other chance
        while self._stream.congested and not self._stream.done:
            self._room.clear()
            await self._room.wait()

    async def recv(self) -> bytes | None:
        """The next message, or None when the client has half-closed and all is read."""
        while not self._messages:
            if self._half_closed:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.popleft()
        if len(self._messages) < MAX_WAITING_MESSAGES:
            self._stream.resume_reading()
        return message

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self.recv()) is not None:
            yield message

    def put(self, message: bytes) -> None:
        """A message from the client (called by the adapter)."""
        self._messages.append(message)
        self._arrived.set()
        if len(self._messages) >= MAX_WAITING_MESSAGES:
            self._stream.pause_reading()

    def end_input(self) -> None:
        """The client half-closed (called by the adapter)."""
        self._half_closed = True
        self._arrived.set()

    def make_room(self) -> None:
        """The queue of replies has drained (called by the adapter)."""
        self._room.set()


class _Receiver:
    """Feeds an AsyncStream and runs its handler in a task."""

    def __init__(self, handler: Callable[[AsyncStream], Awaitable[None]], stream: Stream) -> None:
        self._handler = handler
        self._raw = stream
        self._stream = AsyncStream(stream)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._handler(self._stream)
        except RpcError as error:
            self._raw.finish(error.code, error.message)
        except asyncio.CancelledError:
            self._raw.finish(Code.CANCELLED, "context canceled")
            raise
        except Exception:
            _logger.exception("stream handler failed")
            self._raw.finish(Code.UNKNOWN, "internal error")
        else:
            self._raw.finish()

    def message_received(self, message: bytes) -> None:
        self._stream.put(message)

    def half_closed(self) -> None:
        self._stream.end_input()

    def closed(self) -> None:
        self._task.cancel()

    def writable(self) -> None:
        self._stream.make_room()


def async_stream(handler: Callable[[AsyncStream], Awaitable[None]]) -> StreamHandler:
    """A StreamHandler that runs this coroutine function in a task for each stream.

    Returning finishes the stream with OK, raising RpcError with its status; any other exception is
    logged and becomes UNKNOWN. The task is cancelled when the client goes away.
    """

    def start(stream: Stream) -> _Receiver:
        return _Receiver(handler, stream)

    return start
