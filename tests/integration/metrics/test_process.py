"""The process and its surroundings: systemd, signals, log files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def process(home: Path, *flags: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that logs to `home/log`."""
    argv = [
        *(f"--data-dir={home}/data", f"--log-outputs={home}/log"),
        *("--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://a:1"),
        "--listen-peer-urls=http://127.0.0.1:0",
        *flags,
    ]
    command = [sys.executable, "-m", "pykvd", *argv]
    with subprocess.Popen(command, env={**os.environ, **environment}) as running:
        try:
            wait_until(lambda: "ready to serve client requests" in text(home), "it to be ready")
            yield running
        finally:
            running.kill()


def text(home: Path, name: str = "log") -> str:
    path = home / name
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(tmp_path: Path, abstract: bool) -> None:
    name = f"@pykvd-test-{os.getpid()}-{time.monotonic_ns()}" if abstract else f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(60)
        with process(tmp_path, NOTIFY_SOCKET=name) as running:
            assert manager.recv(100) == b"READY=1"
            running.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert running.wait(60) == 0
    assert "successfully notified init daemon" in text(tmp_path)


def test_a_service_manager_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    with process(tmp_path, NOTIFY_SOCKET=f"{tmp_path}/nobody") as running:
        running.terminate()
        assert running.wait(60) == 0
    assert "failed to notify init daemon" in text(tmp_path)


def test_sighup_reopens_the_log_at_once(tmp_path: Path) -> None:
    with process(tmp_path) as running:
        (tmp_path / "log").rename(tmp_path / "log.1")
        running.send_signal(signal.SIGHUP)
        wait_until((tmp_path / "log").exists, "the new file")
        running.terminate()
        assert running.wait(60) == 0
    lines = [json.loads(line)["msg"] for line in text(tmp_path).splitlines()]
    assert "received signal; shutting down" in lines


def test_rotation_by_size(tmp_path: Path) -> None:
    flags = ("--enable-log-rotation", '--log-rotation-config-json={"maxsize": 1}')
    (tmp_path / "log").write_text("x" * (1 << 20) + "\n")
    with process(tmp_path, *flags):
        pass
    old = [path for path in tmp_path.iterdir() if path.name.startswith("log-20")]
    assert len(old) == 1
    assert "x" not in text(tmp_path)[:1]


def test_wrong_rotation_settings_stop_the_start(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "pykvd", f"--data-dir={tmp_path}/data"),
        *(f"--log-outputs={tmp_path}/log", "--enable-log-rotation"),
        "--log-rotation-config-json=5",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "improperly formatted log rotation config" in done.stderr
    assert "Traceback" not in done.stderr
