"""Calls that tell how long they took: a clock twice a call, only where that is asked for."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from pykvd.transport.calls import StreamCall, UnaryCall

if TYPE_CHECKING:
    from pykvd.transport.connection import ServerConnection
    from pykvd.transport.request import RequestHead


class TimedUnaryCall(UnaryCall):
    """A unary call, timed from its headers to its reply."""

    __slots__ = ("_begun",)

    def __init__(
        self, connection: ServerConnection, stream_id: int, head: RequestHead, timeout: str | None
    ) -> None:
        self._begun = perf_counter()
        super().__init__(connection, stream_id, head, timeout)

    def reply(self, message: bytes) -> None:
        """As `Call.reply`."""
        if not self.done:
            self.head.counts.seconds.observe(perf_counter() - self._begun)
        super().reply(message)

    def _note_end(self, code: int) -> None:
        self.head.counts.seconds.observe(perf_counter() - self._begun)
        super()._note_end(code)


class TimedStreamCall(StreamCall):
    """A streaming call, timed from its headers to its end."""

    __slots__ = ("_begun",)

    def __init__(
        self, connection: ServerConnection, stream_id: int, head: RequestHead, timeout: str | None
    ) -> None:
        self._begun = perf_counter()
        super().__init__(connection, stream_id, head, timeout)

    def _note_end(self, code: int) -> None:
        self.head.counts.seconds.observe(perf_counter() - self._begun)
        super()._note_end(code)
