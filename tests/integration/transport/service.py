"""A service with all four kinds of call, and a running server for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pykvd.transport import AsyncStream, Call, Code, Limits, RpcError, Server, Stream, async_stream

ECHO = "/test.Test/Echo"
SIZED = "/test.Test/Sized"
FAIL = "/test.Test/Fail"
NEVER = "/test.Test/Never"
METADATA = "/test.Test/Metadata"
COUNT = "/test.Test/Count"
SUM = "/test.Test/Sum"
CHAT = "/test.Test/Chat"
HANG = "/test.Test/Hang"


class Service:
    """Handlers that write down how calls ended."""

    def __init__(self) -> None:
        self.waiting: list[Call] = []
        self.abandoned = 0
        self.closed = 0
        self.cancelled = 0

    def echo(self, call: Call, message: bytes) -> bytes | None:
        if message == b"later":
            asyncio.get_running_loop().call_soon(call.reply, b"here it is")
            return None
        return message

    def sized(self, _: Call, message: bytes) -> bytes:
        return bytes(int(message))

    def fail(self, _: Call, message: bytes) -> bytes:
        raise RpcError(Code.FAILED_PRECONDITION, message.decode())

    def never(self, call: Call, _: bytes) -> None:
        self.waiting.append(call)
        call.on_done = self._abandon

    def _abandon(self) -> None:
        self.abandoned += 1

    def metadata(self, call: Call, _: bytes) -> bytes:
        return repr((call.metadata["token"], call.metadata["raw-bin"])).encode()

    async def count(self, stream: AsyncStream) -> None:
        request = await stream.recv()
        assert request is not None
        count, size = map(int, request.split())
        for number in range(count):
            await stream.send(b"%d" % number + bytes(size))

    async def sum(self, stream: AsyncStream) -> None:
        total = 0
        async for message in stream:
            total += int(message)
        await stream.send(b"%d" % total)

    async def chat(self, stream: AsyncStream) -> None:
        async for message in stream:
            if message == b"fail":
                raise RpcError(Code.ABORTED, "as you wish")
            if message == b"explode":
                raise ValueError(message)
            await stream.send(message.upper())

    async def hang(self, stream: AsyncStream) -> None:
        stream.send_headers()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def quiet(self, stream: Stream) -> "Quiet":
        return Quiet(self, stream)


class Quiet:
    """A receiver that answers nothing and counts its end."""

    def __init__(self, service: Service, stream: Stream) -> None:
        self.service = service
        stream.send_headers()

    def message_received(self, message: bytes) -> None:
        pass

    def half_closed(self) -> None:
        pass

    def closed(self) -> None:
        self.service.closed += 1

    def writable(self) -> None:
        pass


QUIET = "/test.Test/Quiet"


@asynccontextmanager
async def started(server: Server) -> AsyncIterator[str]:
    """The server on a free port; its "host:port"."""
    host, port = await server.listen_tcp("127.0.0.1", 0)
    try:
        yield f"{host}:{port}"
    finally:
        await server.close()


@asynccontextmanager
async def running(limits: Limits | None = None) -> AsyncIterator[tuple[Server, Service, str]]:
    """A server on a free port: (server, service, "host:port")."""
    service = Service()
    server = Server(
        unary={
            ECHO: service.echo,
            SIZED: service.sized,
            FAIL: service.fail,
            NEVER: service.never,
            METADATA: service.metadata,
        },
        streams={
            COUNT: async_stream(service.count),
            SUM: async_stream(service.sum),
            CHAT: async_stream(service.chat),
            HANG: async_stream(service.hang),
            QUIET: service.quiet,
        },
        limits=limits,
    )
    async with started(server) as target:
        yield server, service, target


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; fails after a minute."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is not ours to signal
            await asyncio.sleep(0.005)
