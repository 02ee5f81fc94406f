"""Handlers that are easier to write as coroutines."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pykvd.http.application import Handler
from pykvd.http.exchange import Exchange
from pykvd.http.message import Response, text_response

_logger = logging.getLogger("pykvd.http")
_tasks: set[asyncio.Task[None]] = set()


def async_handler(answer: Callable[[Exchange], Awaitable[Response]]) -> Handler:
    """A handler that runs this coroutine function in a task; a client that leaves cancels it."""

    async def run(exchange: Exchange) -> None:
        try:
            response = await answer(exchange)
        except Exception:
            _logger.exception("the handler of %s failed", exchange.head.path)
            response = text_response(500, "internal error\n")
        exchange.respond(response)

    def handle(exchange: Exchange) -> None:
        task = asyncio.get_running_loop().create_task(run(exchange))
        exchange.on_gone = task.cancel
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    return handle
