"""What a process holds, to be compared before and after."""

import asyncio
import gc
import tempfile
import threading
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")


def held() -> dict[str, object]:
    """Threads, tasks of the running loop, descriptors, temporary directories of ours."""
    gc.collect()
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:
        tasks = 0
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": tasks,
        "descriptors": sorted(_descriptors()),
        "directories": sorted(Path(tempfile.gettempdir()).glob("pykvd-*")),
    }


def _descriptors() -> list[str]:
    found = []
    for link in DESCRIPTORS.iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        # Of sockets, pipes and the like the number alone would differ.
        found.append(target.partition("[")[0])
    return found
