"""How long a client that puts one key after another waits when the leader is killed."""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import uvloop

from benchmarks.closed_loop import close_all
from benchmarks.cluster import fresh_cluster
from benchmarks.connection import Connection, call, connect
from benchmarks.errors import BenchmarkError, CallError
from benchmarks.headers import Method
from benchmarks.messages import framed
from benchmarks.workload import Figures, Row
from benchmarks.workloads.put import VALUE
from pykvd.pb import rpc_pb2

_KILLS = 3
_STEADY_SECONDS = 0.5  # of Puts before the kill
_ATTEMPT_SECONDS = 0.1  # then the next member is asked: the resolution of the figure
_PAUSE_SECONDS = 0.005  # before that, so that refusals are not a busy loop
_DEADLINE_SECONDS = 30.0

FAILOVER = Row("cluster-failover", "kill -9 of the leader to the next Put, 1 caller", "s", False)

ROWS = (FAILOVER,)


def measure(name: str, data_root: Path) -> Iterator[tuple[Row, Figures]]:
    """Kill the leader of a fresh cluster several times; the figures of each kill."""
    with fresh_cluster(name, data_root) as cluster:
        cluster.start()
        for _ in range(_KILLS):
            ports = cluster.ports()
            leader = cluster.server(ports[0])
            yield FAILOVER, Figures(uvloop.run(_time_to_next_put(ports, leader.kill)))
            leader.start()


async def _time_to_next_put(ports: list[int], kill: Callable[[], None]) -> float:
    """Put for a while, kill, and return the seconds until the next Put is acknowledged."""
    client = _RetryingClient(ports)
    try:
        steady = time.monotonic() + _STEADY_SECONDS
        while time.monotonic() < steady:
            await client.put()
        killed = time.monotonic()
        kill()
        await client.put()
        return time.monotonic() - killed
    finally:
        client.close()


class _RetryingClient:
    """Puts through one member until that fails or does not answer, then through the next."""

    def __init__(self, ports: list[int]) -> None:
        self._method = Method("/etcdserverpb.KV/Put", "127.0.0.1")
        self._message = framed(rpc_pb2.PutRequest(key=b"failover", value=VALUE))
        self._ports = cycle(ports)
        self._port = next(self._ports)
        self._connections: dict[int, Connection] = {}

    async def put(self) -> None:
        """Put until a member acknowledges it; raises BenchmarkError after half a minute."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while time.monotonic() < deadline:
            try:
                async with asyncio.timeout(_ATTEMPT_SECONDS):
                    await self._attempt()
                return
            except (OSError, CallError):  # TimeoutError is an OSError
                self._forget()
                self._port = next(self._ports)
                await asyncio.sleep(_PAUSE_SECONDS)
        raise BenchmarkError(f"no Put was acknowledged in {_DEADLINE_SECONDS:g} s")

    async def _attempt(self) -> None:
        connection = self._connections.get(self._port)
        if connection is None:
            connection = self._connections[self._port] = await connect(self._port)
        await call(connection, self._method, self._message)

    def _forget(self) -> None:
        connection = self._connections.pop(self._port, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close the connections."""
        close_all(list(self._connections.values()))
