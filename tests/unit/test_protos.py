"""The generated protobuf code is what `scripts/protos.py` makes of `protos/`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "pykvd" / "pb"


def test_generated_code_is_current(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    script = [sys.executable, str(ROOT / "scripts" / "protos.py"), str(tmp_path)]
    subprocess.run(script, check=True, timeout=60, cwd=ROOT)
    fresh = {path.name: path.read_text() for path in tmp_path.glob("*_pb2.py*")}
    kept = {path.name: path.read_text() for path in GENERATED.glob("*_pb2.py*")}
    assert fresh.keys() == kept.keys()
    stale = [name for name in sorted(fresh) if fresh[name] != kept[name]]
    assert not stale, f"run `make protos`: {', '.join(stale)}"
