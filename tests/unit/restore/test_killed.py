"""A restore that is killed before any one of its steps leaves a whole directory, or none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pykvd.node.storage import StorageMismatchError
from pykvd.restore import RestoreError, Target, restore
from tests.unit.restore.test_restore import closed, opened, tables, target

if TYPE_CHECKING:
    from tests.unit.restore.conftest import Old

ROOT = Path(__file__).parents[3]
#: Restores into directories 1, 2, 3 and so on, each time killed one file operation later, until one
#: is not killed any more. The children are forked before anything has a thread.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from pykvd.restore import restore
from tests.unit.restore.test_restore import target

def run(folder, last):
    left = last

    def hook(event, arguments):
        nonlocal left
        if event in {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}:
            left -= folder in str(arguments[0])
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    changes = {"wal_dir": Path(folder, "wal")} if sys.argv[3] == "apart" else {}
    restore(Path(sys.argv[1]), target(Path(folder), **changes))

step, killed = 0, True
while killed:
    step += 1
    folder = os.path.join(sys.argv[2], f"try-{step}")
    os.mkdir(folder)
    child = os.fork()
    if not child:
        run(folder, step)
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
print(step)
"""


def is_whole(place: Target, old: Old, tmp_path: Path) -> bool:
    """Whether a member that starts there has everything; otherwise it must refuse to."""
    try:
        storage = opened(place)
    except StorageMismatchError:
        return False
    closed(storage)
    reference = target(tmp_path / "reference")
    if not reference.data_dir.exists():
        restore(old.file, reference)
    assert tables(place.data_dir) == tables(reference.data_dir)
    return True


@pytest.mark.parametrize("where", ["inside", "apart"])
def test_killed_before_any_step(old: Old, tmp_path: Path, where: str) -> None:
    command = [sys.executable, "-c", SCRIPT, str(old.file), str(tmp_path), where]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    steps = int(shown)
    outcomes = set()
    for step in range(1, steps + 1):
        folder = tmp_path / f"try-{step}"
        wal = folder / "wal" if where == "apart" else None
        place = target(folder, wal_dir=wal)
        found = place.data_dir.exists() and any(place.data_dir.iterdir()), place.wal.exists()
        outcomes.add(found)
        if found == (False, False):
            restore(old.file, place)
        else:
            with pytest.raises(RestoreError, match=r"not empty|exists"):
                restore(old.file, place)
        assert is_whole(place, old, tmp_path) == (found != (False, True))
    halfway = {(False, True)} if where == "apart" else set()
    assert outcomes == {(False, False), (True, True)} | halfway
