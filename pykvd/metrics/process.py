"""The process as the kernel sees it, and how late its event loop is."""

import asyncio
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from pykvd.histogram import REQUEST_BOUNDS, Histogram
from pykvd.metrics.exposition import Family, counter, gauge, histogram

#: Seconds between two looks at the loop.
LOOK_INTERVAL = 0.25

_PROC = Path("/proc/self")


class LoopLag:
    """Measures how late a timer fires: what any request may have to wait for others."""

    def __init__(self) -> None:
        self.seconds = Histogram(REQUEST_BOUNDS)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        due = self._loop.time() + LOOK_INTERVAL
        self._timer = self._loop.call_at(due, self._look, due)

    def _look(self, due: float) -> None:
        self.seconds.observe(max(0.0, self._loop.time() - due))
        self.start()

    def stop(self) -> None:
        """End it."""
        if self._timer:
            self._timer.cancel()

    def families(self) -> Iterator[Family]:
        """The samples."""
        yield histogram(
            "pykvd_loop_lag_seconds", "How late a timer of the event loop fired.", self.seconds
        )


def families() -> Iterator[Family]:
    """Memory, time and descriptors; nothing where there is no /proc."""
    try:
        fields = (_PROC / "stat").read_text().rpartition(")")[2].split()
        descriptors = len(os.listdir(_PROC / "fd"))
        booted = _boot_time()
    except OSError:
        return
    # proc(5): utime is field 14, and `fields` begins with field 3.
    user, system, threads = int(fields[11]), int(fields[12]), int(fields[17])
    started, virtual, resident = int(fields[19]), int(fields[20]), int(fields[21])
    tick = os.sysconf("SC_CLK_TCK")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield counter("process_cpu_seconds_total", "CPU time in seconds.", (user + system) / tick)
    yield gauge("process_open_fds", "Open file descriptors.", descriptors)
    yield gauge("process_max_fds", "Limit on open file descriptors.", limit)
    yield gauge("os_fd_used", "Open file descriptors.", descriptors)
    yield gauge("os_fd_limit", "Limit on open file descriptors.", limit)
    yield gauge("process_virtual_memory_bytes", "Virtual memory, mapped files too.", virtual)
    yield gauge(
        "process_resident_memory_bytes",
        "Memory in use, mapped pages of the store too.",
        resident * os.sysconf("SC_PAGE_SIZE"),
    )
    yield gauge("process_threads", "Threads.", threads)
    yield gauge(
        "process_start_time_seconds", "Start, in seconds since the epoch.", booted + started / tick
    )


def _boot_time() -> float:
    """When the machine was started, in seconds since the epoch."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
