"""What `benchmarks.clients` runs in a process: one client, all loads; prints a JSON object.

`python -m benchmarks.client_loads NAME PORT CALLS`
"""
# A client is imported only in the process that measures it.
# ruff: noqa: PLC0415

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import queue
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

KEY: Final = b"benchmark/key"
WATCHED: Final = b"benchmark/watched"
VALUE: Final = b"v" * 256
CALLERS: Final = 100
WATCHES: Final = 100
CHANGES: Final = 100

Figures = dict[str, float]


class Plain(Protocol):
    """A blocking client."""

    def put(self, key: bytes, value: bytes) -> object:
        """Put a key."""

    def get(self, key: bytes) -> object:
        """Get a key."""


class Asynchronous(Protocol):
    """An asyncio client."""

    async def put(self, key: bytes, value: bytes) -> object:
        """Put a key."""

    async def get(self, key: bytes) -> object:
        """Get a key."""


class Timer:
    """Wall clock and CPU time of this process from its making on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def rate(self, count: int) -> float:
        """How many a second."""
        return count / (time.perf_counter() - self._wall)

    def cpu_us(self, count: int) -> float:
        """Microseconds of CPU each."""
        return (time.process_time() - self._cpu) / count * 1e6


def run_plain(client: Plain, calls: int) -> Figures:
    """The loads of a blocking client."""
    figures: Figures = {}
    loads = {"put": lambda: client.put(KEY, VALUE), "get": lambda: client.get(KEY)}
    for name, call in loads.items():
        repeat(call, calls // 10)
        timer = Timer()
        repeat(call, calls)
        figures[f"{name} 1"] = timer.rate(calls)
        threads = [
            threading.Thread(target=repeat, args=(call, calls // CALLERS * 2))
            for _ in range(CALLERS)
        ]
        timer = Timer()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done = calls // CALLERS * 2 * CALLERS
        figures[f"{name} 100"] = timer.rate(done)
        figures[f"{name} 100 cpu us"] = timer.cpu_us(done)
    return figures


def repeat(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


async def run_asynchronous(client: Asynchronous, calls: int) -> Figures:
    """The loads of an asyncio client."""
    figures: Figures = {}
    loads = {"put": lambda: client.put(KEY, VALUE), "get": lambda: client.get(KEY)}
    for name, call in loads.items():
        await repeat_awaiting(call, calls // 10)
        timer = Timer()
        await repeat_awaiting(call, calls)
        figures[f"{name} 1"] = timer.rate(calls)
        timer = Timer()
        each = calls // CALLERS * 4
        await asyncio.gather(*(repeat_awaiting(call, each) for _ in range(CALLERS)))
        figures[f"{name} 100"] = timer.rate(each * CALLERS)
        figures[f"{name} 100 cpu us"] = timer.cpu_us(each * CALLERS)
    return figures


async def repeat_awaiting(call: Callable[[], Awaitable[object]], count: int) -> None:
    for _ in range(count):
        await call()


# The clients.


def ours(port: int, calls: int) -> Figures:
    """`pykvd.client.Client`."""
    from pykvd.client import Client

    with Client(f"127.0.0.1:{port}") as client, contextlib.ExitStack() as stack:
        figures = run_plain(client, calls)
        watches = [stack.enter_context(client.watch(WATCHED)) for _ in range(WATCHES)]
        timer = Timer()
        for _ in range(CHANGES):
            client.put(WATCHED, VALUE)
        for watch in watches:
            for _ in range(CHANGES):
                next(watch)
        figures["watch events"] = timer.rate(WATCHES * CHANGES)
    return figures


async def ours_aio(port: int, calls: int) -> Figures:
    """`pykvd.client.AsyncClient`."""
    from pykvd.client import AsyncClient

    async with AsyncClient(f"127.0.0.1:{port}") as client:
        figures = await run_asynchronous(client, calls)
        watches = [await client.watch(WATCHED) for _ in range(WATCHES)]

        async def receive(watch: Any) -> None:
            for _ in range(CHANGES):
                await anext(watch)

        timer = Timer()
        receivers = [asyncio.ensure_future(receive(watch)) for watch in watches]
        for _ in range(CHANGES):
            await client.put(WATCHED, VALUE)
        await asyncio.gather(*receivers)
        figures["watch events"] = timer.rate(WATCHES * CHANGES)
    return figures


async def aetcd(port: int, calls: int) -> Figures:
    """`aetcd` (asyncio, over grpcio)."""
    client_module: Any = importlib.import_module("aetcd")
    async with client_module.Client(host="127.0.0.1", port=port, timeout=30) as client:
        figures = await run_asynchronous(client, calls)
        watches = [await client.watch(WATCHED) for _ in range(WATCHES)]

        async def receive(watch: Any) -> None:
            seen = 0
            async for _ in watch:
                seen += 1
                if seen == CHANGES:
                    return

        timer = Timer()
        receivers = [asyncio.ensure_future(receive(watch)) for watch in watches]
        for _ in range(CHANGES):
            await client.put(WATCHED, VALUE)
        await asyncio.gather(*receivers)
        figures["watch events"] = timer.rate(WATCHES * CHANGES)
    return figures


def etcd_sdk(port: int, calls: int) -> Figures:
    """`etcd-sdk-python` (blocking, over grpcio)."""
    client_module: Any = importlib.import_module("pyetcd")
    with client_module.client(host="127.0.0.1", port=port, timeout=30) as client:
        figures = run_plain(client, calls)
        events: queue.SimpleQueue[object] = queue.SimpleQueue()

        def receive(response: Any) -> None:
            for event in response.events:
                events.put(event)

        for _ in range(WATCHES):
            client.add_watch_callback(WATCHED, receive)
        timer = Timer()
        for _ in range(CHANGES):
            client.put(WATCHED, VALUE)
        for _ in range(WATCHES * CHANGES):
            events.get(timeout=30)
        figures["watch events"] = timer.rate(WATCHES * CHANGES)
    return figures


def bare(port: int, calls: int) -> Figures:
    """Grpcio's blocking calls."""
    import grpc

    from pykvd.pb import rpc_pb2 as rpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        putting = channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=rpc.PutRequest.SerializeToString,
            response_deserializer=rpc.PutResponse.FromString,
        )
        getting = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=rpc.RangeRequest.SerializeToString,
            response_deserializer=rpc.RangeResponse.FromString,
        )

        class Bare:
            def put(self, key: bytes, value: bytes) -> object:
                return putting(rpc.PutRequest(key=key, value=value), timeout=30)

            def get(self, key: bytes) -> object:
                return getting(rpc.RangeRequest(key=key), timeout=30)

        figures = run_plain(Bare(), calls)
        requests = _watch_requests(rpc)
        watching = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=rpc.WatchRequest.SerializeToString,
            response_deserializer=rpc.WatchResponse.FromString,
        )
        stop = threading.Event()

        def ask() -> Iterator[Any]:
            yield from requests
            stop.wait()

        answers = watching(ask())
        for _ in range(WATCHES):
            next(answers)
        timer = Timer()
        for _ in range(CHANGES):
            putting(rpc.PutRequest(key=WATCHED, value=VALUE), timeout=30)
        seen = 0
        while seen < WATCHES * CHANGES:
            seen += len(next(answers).events)
        figures["watch events"] = timer.rate(seen)
        stop.set()
        answers.cancel()
    return figures


async def bare_aio(port: int, calls: int) -> Figures:
    """Grpcio's asyncio calls."""
    import grpc.aio

    from pykvd.pb import rpc_pb2 as rpc

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        putting: Any = channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=rpc.PutRequest.SerializeToString,
            response_deserializer=rpc.PutResponse.FromString,
        )
        getting: Any = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=rpc.RangeRequest.SerializeToString,
            response_deserializer=rpc.RangeResponse.FromString,
        )

        class Bare:
            async def put(self, key: bytes, value: bytes) -> object:
                return await putting(rpc.PutRequest(key=key, value=value), timeout=30)

            async def get(self, key: bytes) -> object:
                return await getting(rpc.RangeRequest(key=key), timeout=30)

        figures = await run_asynchronous(Bare(), calls)
        stop = asyncio.Event()

        async def ask() -> AsyncIterator[Any]:
            for request in _watch_requests(rpc):
                yield request
            await stop.wait()

        watching: Any = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=rpc.WatchRequest.SerializeToString,
            response_deserializer=rpc.WatchResponse.FromString,
        )
        answers = watching(ask())
        for _ in range(WATCHES):
            await answers.read()
        timer = Timer()
        for _ in range(CHANGES):
            await putting(rpc.PutRequest(key=WATCHED, value=VALUE), timeout=30)
        seen = 0
        while seen < WATCHES * CHANGES:
            seen += len((await answers.read()).events)
        figures["watch events"] = timer.rate(seen)
        stop.set()
        answers.cancel()
    return figures


def _watch_requests(rpc: Any) -> list[Any]:
    create = rpc.WatchCreateRequest(key=WATCHED)
    return [rpc.WatchRequest(create_request=create) for _ in range(WATCHES)]


LOADS: Final[dict[str, tuple[str, Callable[[int, int], Any]]]] = {
    "Client": ("pykvd.client", ours),
    "etcd-sdk-python": ("pyetcd", etcd_sdk),
    "grpcio": ("grpc, pykvd.pb.rpc_pb2", bare),
    "AsyncClient": ("pykvd.client.aio.client", ours_aio),
    "aetcd": ("aetcd", aetcd),
    "grpcio.aio": ("grpc.aio, pykvd.pb.rpc_pb2", bare_aio),
}
"""For each client what a program imports, and its loads."""


def import_ms(modules: str) -> float:
    """Milliseconds to import something in a new interpreter, without the start of that."""
    program = (
        f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter()-t)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return float(done.stdout) * 1000


def main() -> None:
    """The loads of the client that the command line names."""
    name, port, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    modules, load = LOADS[name]
    figures = {"import ms": import_ms(modules)}
    result = load(port, calls)
    if asyncio.iscoroutine(result):
        result = asyncio.run(result)
    print(json.dumps(figures | result))


if __name__ == "__main__":
    main()
