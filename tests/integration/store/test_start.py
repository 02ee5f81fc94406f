"""Starts that fail: what is said, and what is left behind."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ANY = "http://127.0.0.1:0"


@contextmanager
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def started(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pykvd", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("which", ["client", "peer"])
def test_a_port_in_use_leaves_no_founded_directory(tmp_path: Path, which: str) -> None:
    with taken() as port:
        urls = {"client": ANY, "peer": ANY, which: f"http://127.0.0.1:{port}"}
        done = started(
            f"--data-dir={tmp_path / 'data'}",
            f"--listen-client-urls={urls['client']}",
            "--advertise-client-urls=http://127.0.0.1:1",
            f"--listen-peer-urls={urls['peer']}",
        )
    assert done.returncode == 1
    assert f"listen tcp 127.0.0.1:{port}: bind: address already in use" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = started(f"--data-dir={tmp_path / 'file' / 'data'}", f"--listen-peer-urls={ANY}")
    assert done.returncode == 1
    assert f"open {tmp_path / 'file' / 'data'}" in done.stderr
    assert "not a directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_output_that_cannot_be_written(flag: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pykvd", flag],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "write /dev/stdout: no space left on device\n")
