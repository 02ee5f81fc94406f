"""What a workload is, which row of the table it fills, and what the row must show."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from benchmarks.closed_loop import Outcome, Share


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: a headline figure and its target as the ratio pykvd / etcd.

    `unit` is that of the headline. Where higher is better the ratio must be at least `target`,
    otherwise at most. `p99_target` bounds the ratio of the 99th percentiles as well.
    """

    name: str
    about: str
    unit: str
    higher_is_better: bool
    target: float | None = None
    p99_target: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What one round measured for a row.

    `generator_busy` is how many processors making the load took; close to the number of its
    processes it says that the generator and not the server was measured.
    """

    value: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    generator_busy: float | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """Load that generator processes make together on a running server.

    Each process awaits `run` with its share. `needs_keys` asks for the keys of
    `benchmarks.workloads.dataset` to be there first. With `tls` the share's port is that for TLS.
    `prepare` is awaited with the server's port before, and what it does stays done.
    """

    row: Row
    run: Callable[[Share], Awaitable[Outcome]]
    single_process: bool = False
    needs_keys: bool = False
    tls: bool = False
    prepare: Callable[[int], Coroutine[None, None, None]] | None = None

    def figures(self, outcome: Outcome, seconds: float) -> Figures:
        """The row's figures for what all processes counted in `seconds`."""
        p50, p99 = (outcome.latencies.percentile(percent) / 1e6 for percent in (50, 99))
        value = outcome.latencies.count / seconds if self.row.higher_is_better else p50
        return Figures(value, p50, p99, outcome.busy)


def throughput_row(
    name: str,
    about: str,
    *,
    unit: str = "calls/s",
    target: float = 1.5,
    p99_target: float | None = 1.0,
) -> Row:
    """A row that compares rates: at least 1.5 times etcd's, with a p99 that is no worse."""
    return Row(name, about, unit, True, target, p99_target)


def latency_row(name: str, about: str, *, target: float = 1.1) -> Row:
    """A row that compares the median latency of a single caller: at most 1.1 times etcd's."""
    return Row(name, about, "ms p50", False, target)
