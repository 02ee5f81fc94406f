"""From an HTTP request below `/v3/` to the handler of its RPC."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from pykvd.gateway.codec import Codec, JsonError, codec, load
from pykvd.gateway.errors import error_response
from pykvd.gateway.routes import OLD_PREFIXES, PREFIX, ROUTES, find_method
from pykvd.gateway.stream import GatewayStream
from pykvd.gateway.unary import GatewayCall
from pykvd.status import Code, RpcError
from pykvd.transport.grpc import message_too_large

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pykvd.http import Exchange, Handler
    from pykvd.transport import StreamHandler, UnaryHandler
    from pykvd.transport.statistics import Counters, MethodCounters

#: Bodies above this are read in a thread: JSON takes twenty times as long as the same protobuf.
LARGE_BODY_BYTES: Final = 32 << 10

_logger = logging.getLogger("pykvd.gateway")

_Reader = Callable[[bytes], list[bytes]]
_Starter = Callable[["Exchange", list[bytes]], None]


class _Kind(NamedTuple):
    """What the calls of a method have in common."""

    replies: Codec
    counts: MethodCounters
    timed: bool


class Gateway:
    """Answers `POST` below `/v3/` with the services' own handlers, and so with all their checks.

    `max_message_bytes` bounds a request as it does for gRPC; calls are counted in `counters`, and
    with `timed` timed, like those of a listener.
    """

    def __init__(
        self,
        unary: Mapping[str, UnaryHandler],
        streams: Mapping[str, StreamHandler],
        *,
        max_message_bytes: int,
        counters: Counters,
        timed: bool = False,
    ) -> None:
        self._max_message_bytes = max_message_bytes
        self._reader = ThreadPoolExecutor(1, "gateway-reader")
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[str, Handler] = {}
        for path, (service, name) in ROUTES.items():
            method = find_method(service, name)
            grpc_path = f"/{service}/{name}"
            kind = _Kind(codec(method.output_type), counters.of_method(grpc_path), timed)
            if grpc_path in unary:
                start = partial(_start_unary, unary[grpc_path], kind)
            elif grpc_path in streams:
                start = partial(_start_stream, streams[grpc_path], kind)
            else:
                start = partial(_unimplemented, f"unknown service {service}")
            read = partial(self._read, codec(method.input_type), method.client_streaming)
            self._handlers[path] = partial(self._serve, read, start)

    def routes(self) -> dict[str, Handler]:
        """The handlers by path, for the application of a listener."""
        routes: dict[str, Handler] = dict(self._handlers)
        for prefix in OLD_PREFIXES:
            for path, handler in self._handlers.items():
                routes[prefix + path.removeprefix(PREFIX)] = handler
            routes[prefix] = _unknown_path
        routes[PREFIX] = _unknown_path
        return routes

    def close(self) -> None:
        """Stop the thread that reads large bodies."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _serve(self, read: _Reader, start: _Starter, exchange: Exchange) -> None:
        if exchange.head.method != "POST":
            exchange.respond(_METHOD_NOT_ALLOWED)
            return
        if len(exchange.body) <= LARGE_BODY_BYTES:
            _start(exchange, start, lambda: read(exchange.body))
            return
        task = asyncio.get_running_loop().create_task(self._read_aside(read, start, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_aside(self, read: _Reader, start: _Starter, exchange: Exchange) -> None:
        reading = asyncio.get_running_loop().run_in_executor(self._reader, read, exchange.body)
        await asyncio.wait((reading,))
        if not exchange.done:
            _start(exchange, start, reading.result)

    def _read(self, requests: Codec, many: bool, body: bytes) -> list[bytes]:
        """The serialized requests in a body: one, or any number if there may be `many`."""
        messages = []
        for value in load(body):
            message = requests.parse(value).SerializeToString()
            if len(message) > self._max_message_bytes:
                raise message_too_large(len(message), self._max_message_bytes)
            messages.append(message)
            if not many:
                return messages  # what follows is not looked at (as grpc-gateway)
        if not messages and not many:
            messages.append(b"")
        return messages


def _start(exchange: Exchange, start: _Starter, read: Callable[[], list[bytes]]) -> None:
    """Begin the call, if its requests can be read."""
    try:
        messages = read()
    except JsonError as error:
        exchange.respond(error_response(Code.INVALID_ARGUMENT, str(error)))
    except RpcError as error:
        exchange.respond(error_response(error.code, error.message))
    else:
        exchange.body = b""  # a stream may last long
        start(exchange, messages)


def _start_unary(
    handler: UnaryHandler, kind: _Kind, exchange: Exchange, messages: list[bytes]
) -> None:
    call = GatewayCall(exchange, kind.replies, kind.counts, timed=kind.timed)
    call.run(handler, messages[0])


def _start_stream(
    handler: StreamHandler, kind: _Kind, exchange: Exchange, messages: list[bytes]
) -> None:
    stream = GatewayStream(exchange, kind.replies, messages, kind.counts, timed=kind.timed)
    stream.run(handler)


def _unimplemented(text: str, exchange: Exchange, messages: list[bytes]) -> None:
    del messages
    exchange.respond(error_response(Code.UNIMPLEMENTED, text))


def _unknown_path(exchange: Exchange) -> None:
    exchange.respond(_NOT_FOUND)


_NOT_FOUND = error_response(Code.NOT_FOUND, "Not Found")
_METHOD_NOT_ALLOWED = error_response(
    Code.UNIMPLEMENTED, "Method Not Allowed", status=405, extra=(("Allow", "POST"),)
)
