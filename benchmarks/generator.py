"""Runs one workload from several processes at once and merges what they counted."""

import asyncio
import gc
import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Self

import uvloop

from benchmarks.closed_loop import Outcome, Share
from benchmarks.errors import BenchmarkError
from benchmarks.workload import Figures, Workload
from benchmarks.workloads import BY_NAME

_CONNECT_SECONDS = 0.4  # before the warm-up, for connections and watchers
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Duration:
    """How long the callers run before anything counts, and how long everything counts."""

    warm_up_seconds: float
    measured_seconds: float


class Generator:
    """A pool of load-generating processes, used as a context manager."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool = ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), initializer=gc.disable
        )

    def __enter__(self) -> Self:
        """Start every process, so that imports do not eat into the first warm-up."""
        for started in [self._pool.submit(time.sleep, 0.3) for _ in range(self._processes)]:
            started.result()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def measure(
        self, workload: Workload, port: int, duration: Duration, followers: Iterable[int] = ()
    ) -> Figures:
        """Run `workload` on the server at `port`, or on the cluster that it leads.

        Raises BenchmarkError for any failed call.
        """
        processes = 1 if workload.single_process else self._processes
        begin = time.monotonic() + _CONNECT_SECONDS + duration.warm_up_seconds
        begin_ns = int(begin * 1e9)
        end_ns = begin_ns + int(duration.measured_seconds * 1e9)
        shares = [
            self._pool.submit(
                _run_share,
                workload.row.name,
                Share(port, index, processes, begin_ns, end_ns, tuple(followers)),
            )
            for index in range(processes)
        ]
        outcome = _merge(shares, duration)
        if not outcome.latencies.count:
            raise BenchmarkError("nothing was answered in the measured time")
        return workload.figures(outcome, duration.measured_seconds)


def _merge(shares: list[Future[Outcome]], duration: Duration) -> Outcome:
    merged = Outcome()
    timeout = duration.warm_up_seconds + duration.measured_seconds + _PATIENCE_SECONDS
    failures = []
    for share in shares:
        try:
            merged.merge(share.result(timeout))
        except (BenchmarkError, OSError) as error:
            failures.append(error)
    if failures:
        raise BenchmarkError(str(failures[0])) from failures[0]
    return merged


def _run_share(name: str, share: Share) -> Outcome:
    """Runs in a generator process."""

    async def run() -> Outcome:
        cpu_begin, begin = time.process_time(), time.monotonic()
        outcome = await BY_NAME[name].run(share)
        outcome.busy = (time.process_time() - cpu_begin) / (time.monotonic() - begin)
        await asyncio.sleep(0)  # lets the closed connections say goodbye
        return outcome

    return uvloop.run(run())
