"""Writing pairs as many clients at once, at a given rate or as fast as they are answered."""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import pstdev

import uvloop

from pykvctl.client import Client
from pykvctl.errors import RequestError
from pykvd.client import AsyncClient, EtcdError
from pykvd.status import Code

REQUEST_TIMEOUT_S = 30.0
# Clients that share a connection.
SHARING = 10


@dataclass
class Results:
    """What became of the requests: seconds that the good ones took, texts of the others' errors."""

    times: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    took: float = 0.0
    """Seconds until the last of them."""
    cpu: float = 0.0
    """Processor seconds that the thread of the clients spent on it."""

    @property
    def rate(self) -> float:
        """Successful requests a second."""
        return len(self.times) / self.took if self.took else 0.0

    @property
    def slowest(self) -> float:
        """The longest time."""
        return max(self.times, default=0.0)

    @property
    def deviation(self) -> float:
        """The standard deviation of the times."""
        return pstdev(self.times) if self.times else 0.0


class Pace:
    """Hands out turns: `rate` a second if that is given, `count` of them or until stopped."""

    def __init__(self, *, rate: float | None = None, count: int | None = None) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._left = count
        self._next = time.monotonic()
        self._stopped = False

    async def turn(self) -> bool:
        """Wait for a turn; False if there is none any more."""
        if self._left == 0:
            return False
        if self._left is not None:
            self._left -= 1
        if self._interval:
            now = time.monotonic()
            # Turns that nobody was free to take are lost.
            start = max(now, self._next)
            self._next = start + self._interval
            await asyncio.sleep(start - now)
        return not self._stopped

    def stop(self) -> None:
        """No more turns. From any thread."""
        self._stopped = True


@dataclass(frozen=True)
class Load:
    """Puts of random keys with `prefix`; sizes in bytes, the prefix not counted."""

    prefix: bytes
    key_size: int
    value_size: int
    clients: int

    def run(self, client: Client, pace: Pace, wait: Callable[[Callable[[], int]], None]) -> Results:
        """Put until the pace ends, from a thread beside this one.

        `wait` is called with a function that tells the number of answers; when it returns, the
        pace is stopped.
        """
        results = Results()
        clients = [client.asynchronous() for _ in range(-(-self.clients // SHARING))]
        with (
            ThreadPoolExecutor(1) as thread,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            running = thread.submit(runner.run, self._put_all(clients, pace, results))

            def answered() -> int:
                if running.done():
                    running.result()
                return len(results.times) + len(results.errors)

            try:
                wait(answered)
            finally:
                pace.stop()
                running.result()
        return results

    async def _put_all(self, clients: list[AsyncClient], pace: Pace, results: Results) -> None:
        cpu = time.thread_time()
        await asyncio.gather(
            *(self._put(clients[n % len(clients)], pace, results) for n in range(self.clients))
        )
        results.cpu = time.thread_time() - cpu
        for client in clients:
            await client.close()

    async def _put(self, client: AsyncClient, pace: Pace, results: Results) -> None:
        """One client's part."""
        value = bytes(self.value_size)
        began = time.monotonic()
        while await pace.turn():
            start = time.monotonic()
            try:
                await client.put(self._key(), value, timeout=REQUEST_TIMEOUT_S)
            except EtcdError as error:
                name = Code(error.code).name.title().replace("_", "")
                results.errors.append(str(RequestError(name, error.message)))
            else:
                results.times.append(time.monotonic() - start)
            results.took = time.monotonic() - began

    def _key(self) -> bytes:
        """Random at its start, zeros behind."""
        return self.prefix + random.randbytes(8).ljust(self.key_size, b"\0")
