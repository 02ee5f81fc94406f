"""A histogram as Prometheus has it: counts of observations by upper bound, and their sum.

The modules that measure something own one; `pykvd.metrics` reads it at a scrape.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """`count` upper bounds, each `factor` times the one before (etcd's buckets are such)."""
    return tuple(start * factor**step for step in range(count))


#: Upper bounds in seconds of what takes a disk or a short piece of work: 1 ms to 8.192 s.
DISK_BOUNDS = exponential(0.001, 2, 14)
#: Of what takes a part of a request: 0.1 ms to 52 s.
REQUEST_BOUNDS = exponential(0.0001, 2, 20)


class Histogram:
    """Observations by bucket. One thread observes at a time; reading needs no lock."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` ascend; what lies above the last one counts beyond it."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value; a bound belongs to the bucket below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_many(self, total: float, count: int) -> None:
        """Count `count` values, alike, that make `total` together."""
        self.counts[bisect_left(self.bounds, total / count)] += count
        self.sum += total


@contextmanager
def timing(histogram: Histogram) -> Iterator[None]:
    """Observe the seconds that the block takes, also when it fails."""
    started = perf_counter()
    try:
        yield
    finally:
        histogram.observe(perf_counter() - started)
