"""Where and when a table was made."""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.servers import version


def describe(servers: Iterable[str], data_root: Path) -> list[str]:
    """Lines about processor, system, disk, versions and date."""
    return [
        f"- processor: {_processor()}, {os.cpu_count()} cores",
        f"- kernel: {platform.system()} {platform.release()}",
        f"- disk: write + fdatasync of 256 B in {_sync_seconds(data_root) * 1e3:.2f} ms (median)",
        f"- python: {platform.python_implementation()} {sys.version.split()[0]}",
        *(f"- {version(name)}" for name in servers),
        f"- date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _sync_seconds(directory: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(50):
            begin = time.perf_counter()
            file.write(bytes(256))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begin)
    return median(times)
