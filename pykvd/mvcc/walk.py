"""Reads everything in a data file: `python -m pykvd.mvcc.walk FILE`.

LMDB reads through memory and trusts its pages, so that a file which was cut short or damaged may
kill the process that reads it. `can_be_read` lets another process try.
"""

import subprocess
import sys
from pathlib import Path

from pykvd.mvcc.environment import Environment


def can_be_read(path: Path) -> bool:
    """Whether every record of a data file, or of the directory that holds one, can be read."""
    command = [sys.executable, "-m", "pykvd.mvcc.walk", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    for _ in Environment(Path(sys.argv[1]), readonly=True).everything():
        pass
