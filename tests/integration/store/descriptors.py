"""Breaking a disk under a running server: its open files are made to lead somewhere else.

`/dev/full` refuses every write, `/dev/null` swallows writes but cannot be synced: what a full and
what a dying disk do, without a line of the server's code replaced.
"""

import os
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")


def open_files() -> dict[int, str]:
    """Descriptors of this process and what they lead to."""
    found = {}
    for link in DESCRIPTORS.iterdir():
        try:
            found[int(link.name)] = str(link.readlink())
        except FileNotFoundError:
            continue
    return found


def redirect(pattern: str, data_dir: Path, device: str) -> int:
    """Let the open files below `data_dir` whose names end so lead to `device`; returns how many."""
    target = os.open(device, os.O_RDWR)
    count = 0
    for number, name in open_files().items():
        if name.startswith(f"{data_dir}/") and name.endswith(pattern):
            os.dup2(target, number, inheritable=False)
            count += 1
    os.close(target)
    return count
