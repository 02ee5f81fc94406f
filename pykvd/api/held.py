"""A stream whose handler starts later."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from pykvd.errors import Code, RpcError
from pykvd.logs import get_logger
from pykvd.transport import Stream, StreamHandler, StreamReceiver

#: Messages kept before the client is given no more receive window.
MAX_HELD = 16

_log = get_logger("api")


class HeldStream:
    """Keeps what the client sends until `ready` has happened, then hands everything over.

    `ready` may raise RpcError, which ends the stream, and so may the handler.
    """

    def __init__(
        self, stream: Stream, handler: StreamHandler, ready: Callable[[], Awaitable[None]]
    ) -> None:
        self._stream = stream
        self._handler = handler
        self._held: deque[bytes] = deque()
        self._half_closed = False
        self._receiver: StreamReceiver | None = None
        self._task = asyncio.get_running_loop().create_task(self._start(ready))

    async def _start(self, ready: Callable[[], Awaitable[None]]) -> None:
        try:
            await ready()
            self._receiver = receiver = self._handler(self._stream)
            self._stream.resume_reading()
            while self._held and not self._stream.done:
                receiver.message_received(self._held.popleft())
            if self._half_closed and not self._stream.done:
                receiver.half_closed()
        except RpcError as error:
            self._end(error.code, error.message)
        except Exception:  # noqa: BLE001  # whatever failed, the caller must hear
            _log.exception("a stream could not be started")
            self._end(Code.UNKNOWN, "pykvd: internal error")

    def _end(self, code: int, message: str) -> None:
        self._stream.finish(code, message)
        if self._receiver:
            self._receiver.closed()

    def message_received(self, message: bytes) -> None:
        """Keep it, or pass it on."""
        if self._receiver:
            self._receiver.message_received(message)
            return
        self._held.append(message)
        if len(self._held) >= MAX_HELD:
            self._stream.pause_reading()

    def half_closed(self) -> None:
        """Remember it, or pass it on."""
        self._half_closed = True
        if self._receiver:
            self._receiver.half_closed()

    def closed(self) -> None:
        """The client is gone."""
        self._task.cancel()
        if self._receiver:
            self._receiver.closed()

    def writable(self) -> None:
        """Pass it on; before the handler has started nothing was sent."""
        if self._receiver:
            self._receiver.writable()
