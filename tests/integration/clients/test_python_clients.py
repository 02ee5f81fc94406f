"""Python clients from PyPI against the server, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import Server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PARTS = ["keys", "transaction", "watch", "lease_and_lock", "maintenance"]


def run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=environment
    )


@pytest.mark.parametrize("session", ["aetcd_session", "pyetcd_session"])
def test_a_whole_session(server: Server, session: str) -> None:
    program = [sys.executable, str(HERE / "sessions" / f"{session}.py"), str(server.client_port)]
    done = run(program)
    assert done.stdout.split() == PARTS, done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("order", ["pykvd.pb.{name}, {module}", "{module}, pykvd.pb.{name}"])
@pytest.mark.parametrize("module", ["aetcd", "pyetcd"])
def test_generated_code_coexists(module: str, order: str) -> None:
    """Both descriptor sets load in one process, in either order, and stay apart."""
    names = ["kv_pb2", "auth_pb2", "rpc_pb2", "v3lock_pb2", "v3election_pb2", "health_pb2"]
    imports = "\n".join("import " + order.format(name=name, module=module) for name in names)
    program = f"{imports}\nassert pykvd.pb.rpc_pb2.RangeResponse(count=3).count == 3"
    done = run([sys.executable, "-W", "error", "-c", program])
    assert done.returncode == 0, done.stderr
