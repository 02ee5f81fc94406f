"""Writing pairs as many clients at once, at a given rate or as fast as they are answered."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import pstdev

from pykvctl.client import Client
from pykvctl.errors import RequestError
from pykvctl.methods import PUT
from pykvd.pb import rpc_pb2 as rpc

REQUEST_TIMEOUT_S = 30.0


@dataclass
class Results:
    """What became of the requests: seconds that the good ones took, texts of the others' errors."""

    times: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    took: float = 0.0
    cpu: float = 0.0
    """Processor seconds that this process spent on it."""

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
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def turn(self) -> bool:
        """Wait for a turn; False if there is none any more."""
        with self._lock:
            if self._left == 0:
                return False
            if self._left is not None:
                self._left -= 1
            now = time.monotonic()
            # Turns that nobody was free to take are lost.
            start = max(now, self._next)
            self._next = start + self._interval
        return not self._stopped.wait(start - now) if self._interval else not self._stopped.is_set()

    def stop(self) -> None:
        """No more turns."""
        self._stopped.set()


@dataclass(frozen=True)
class Load:
    """Puts of random keys with `prefix`; sizes in bytes, the prefix not counted."""

    prefix: bytes
    key_size: int
    value_size: int
    clients: int

    def run(self, client: Client, pace: Pace, wait: Callable[[Callable[[], int]], None]) -> Results:
        """Put until the pace ends.

        `wait` is called with a function that tells the number of answers; when it returns, the
        pace is stopped.
        """
        # Appending is all that the threads do, which needs no lock.
        results = Results()
        value = bytes(self.value_size)

        def work() -> None:
            while pace.turn():
                request = rpc.PutRequest(key=self._key(), value=value)
                start = time.monotonic()
                try:
                    client.unary(PUT, request, REQUEST_TIMEOUT_S, quiet=True)
                except RequestError as error:
                    results.errors.append(str(error))
                else:
                    results.times.append(time.monotonic() - start)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(self.clients)]
        start, cpu = time.monotonic(), time.process_time()
        for thread in threads:
            thread.start()
        try:
            wait(lambda: len(results.times) + len(results.errors))
        finally:
            pace.stop()
            for thread in threads:
                thread.join()
            results.took = time.monotonic() - start
            results.cpu = time.process_time() - cpu
        return results

    def _key(self) -> bytes:
        """Random at its start, zeros behind."""
        return self.prefix + random.randbytes(8).ljust(self.key_size, b"\0")
