"""One process on a data directory."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pykvd.wal import DataDirLock, DataDirLocked

if TYPE_CHECKING:
    from pathlib import Path

TRY_LOCK = """
import sys, pathlib
from pykvd.wal import DataDirLock, DataDirLocked
try:
    DataDirLock(pathlib.Path(sys.argv[1]))
except DataDirLocked as error:
    sys.exit(str(error))
"""


def lock_elsewhere(data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Try to take the lock in another process."""
    command = [sys.executable, "-c", TRY_LOCK, str(data_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_second_process_is_refused_by_name(tmp_path: Path) -> None:
    data_dir = tmp_path / "default.etcd"
    with DataDirLock(data_dir):
        refused = lock_elsewhere(data_dir)
        assert refused.returncode == 1
        path = data_dir / "LOCK"
        expected = f"data directory is in use by another process: cannot lock {path}"
        assert refused.stderr.strip() == expected
    assert lock_elsewhere(data_dir).returncode == 0


def test_the_same_process_is_refused_as_well(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path)
    with pytest.raises(DataDirLocked) as caught:
        DataDirLock(tmp_path)
    assert caught.value.path == tmp_path / "LOCK"
    lock.release()
    lock.release()
    DataDirLock(tmp_path).release()
