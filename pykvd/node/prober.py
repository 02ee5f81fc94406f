"""Measures the way to the other members and back."""

import asyncio
from time import perf_counter

from pykvd.errors import RpcError
from pykvd.histogram import Histogram, exponential
from pykvd.node.node import Node

#: Seconds between two probes of a member (etcd's figure).
INTERVAL = 3.0
#: What a member answers at once.
PING = "ping"
ROUND_TRIP_BOUNDS = exponential(0.0001, 2, 16)


class Prober:
    """Asks every other member now and then; `seconds` are the round trips by member."""

    def __init__(self, node: Node) -> None:
        self.seconds: dict[int, Histogram] = {}
        self._node = node
        self._task: asyncio.Task[None] | None = None
        node.answers[PING] = _pong

    def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """End it."""
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self._round()
            await asyncio.sleep(INTERVAL)

    async def _round(self) -> None:
        members = [each for each in self._node.membership.members if each != self._node.member_id]
        for gone in self.seconds.keys() - set(members):
            del self.seconds[gone]
        await asyncio.gather(*map(self._probe, members))

    async def _probe(self, member: int) -> None:
        seconds = self.seconds.setdefault(member, Histogram(ROUND_TRIP_BOUNDS))
        network = self._node.network
        assert network
        started = perf_counter()
        try:
            await network.call(member, PING, b"", INTERVAL)
        except RpcError:
            return
        seconds.observe(perf_counter() - started)


async def _pong(_payload: bytes) -> bytes:
    return b""
