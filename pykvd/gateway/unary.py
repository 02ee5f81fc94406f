"""Unary calls: one JSON object in, one out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from pykvd.gateway.context import DEADLINE_TEXT, SUCCESS_HEADERS, CallContext
from pykvd.gateway.errors import error_response
from pykvd.gateway.pieces import Pieces
from pykvd.http import Response
from pykvd.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.gateway.codec import Codec
    from pykvd.http import Exchange
    from pykvd.transport import UnaryHandler
    from pykvd.transport.statistics import MethodCounters

#: Replies above this are converted in pieces, so that nobody else waits for it (about a
#: millisecond of the loop).
PIECE_BYTES: Final = 32 << 10
INTERNAL_TEXT: Final = "internal error"

_logger = logging.getLogger("pykvd.gateway")
_tasks: set[asyncio.Task[None]] = set()


class GatewayCall(CallContext):
    """A unary call (see `transport.Call`)."""

    def __init__(
        self, exchange: Exchange, codec: Codec, counts: MethodCounters, *, timed: bool
    ) -> None:
        super().__init__(exchange, counts, timed=timed)
        self.on_done: Callable[[], None] | None = None
        self._codec = codec

    def run(self, handler: UnaryHandler, payload: bytes) -> None:
        """Give the request to the service; whatever it raises is answered."""
        try:
            self.start_clock()
            reply = handler(self, payload)
        except RpcError as error:
            self.fail(error.code, error.message)
        except Exception:
            _logger.exception("handler of %s failed", self._exchange.head.path)
            self.fail(Code.UNKNOWN, INTERNAL_TEXT)
        else:
            if reply is not None:
                self.reply(reply)

    def reply(self, message: bytes) -> None:
        """As `Call.reply`."""
        if self.done:
            return
        self.settle(Code.OK)
        if len(message) <= PIECE_BYTES:
            body = self._codec.convert(message)
            self._exchange.respond(Response(200, SUCCESS_HEADERS, body))
        else:
            task = asyncio.get_running_loop().create_task(self._reply_in_pieces(message))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    async def _reply_in_pieces(self, message: bytes) -> None:
        exchange = self._exchange
        room = asyncio.Event()
        exchange.on_writable = exchange.on_gone = room.set
        exchange.begin(200, SUCCESS_HEADERS)
        for piece in Pieces(self._codec, message, PIECE_BYTES):
            exchange.write(piece)
            await asyncio.sleep(0)
            while exchange.congested and not exchange.done:
                room.clear()
                await room.wait()
            if exchange.done:
                return
        exchange.end()

    def fail(self, code: int, message: str) -> None:
        """As `Call.fail`."""
        if not self.done:
            self.settle(code)
            self._exchange.respond(error_response(code, message))

    def expire(self) -> None:
        """Answer that the client's time is over."""
        self.fail(Code.DEADLINE_EXCEEDED, DEADLINE_TEXT)

    def abandoned(self) -> None:
        """Tell the service that nobody waits any more."""
        if self.on_done is not None:
            callback, self.on_done = self.on_done, None
            try:
                callback()
            except Exception:
                _logger.exception("handler of %s failed", self._exchange.head.path)
