"""Latency histograms with buckets of constant relative width, which merge across processes."""

from collections import Counter
from collections.abc import Iterable
from math import ceil, exp, log

_BUCKET_RATIO = 1.01
_SCALE = 1 / log(_BUCKET_RATIO)


class Histogram:
    """Counts of durations in nanoseconds; a percentile is within 1 % of the exact one."""

    def __init__(self, durations_ns: Iterable[int] = ()) -> None:
        self._counts: Counter[int] = Counter(
            int(log(duration) * _SCALE) if duration > 0 else 0 for duration in durations_ns
        )

    def record(self, duration_ns: int, times: int = 1) -> None:
        """Count `duration_ns`, which happened `times` times."""
        self._counts[int(log(duration_ns) * _SCALE) if duration_ns > 0 else 0] += times

    def merge(self, other: "Histogram") -> None:
        """Add all that `other` has counted."""
        self._counts.update(other._counts)

    @property
    def count(self) -> int:
        """How many durations were recorded."""
        return self._counts.total()

    def percentile(self, percent: float) -> float:
        """The duration in nanoseconds that `percent` % of all do not exceed; NaN when empty."""
        rank = max(1, ceil(self.count * percent / 100))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return exp((bucket + 0.5) / _SCALE)
        return float("nan")
