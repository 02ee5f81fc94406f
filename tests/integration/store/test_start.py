"""Starts that fail: what is said, and what is left behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ANY = "http://127.0.0.1:0"
NEW_PROCESSES = ("unshare", "--map-root-user", "--pid", "--fork", "--kill-child")


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


@pytest.mark.parametrize("wrapper", [(), NEW_PROCESSES], ids=["as any process", "as process 1"])
def test_a_signal_during_the_start_ends_it(tmp_path: Path, wrapper: tuple[str, ...]) -> None:
    """Also as the first process of a container, which no signal ends by itself."""
    if wrapper and subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("process namespaces cannot be made here")
    options = tmp_path / "options"
    os.mkfifo(options)
    command = [*wrapper, sys.executable, "-m", "pykvd", f"--config-file={options}"]
    with subprocess.Popen(command) as process:
        try:
            with options.open("wb"):  # opened when it begins to read
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
                os.kill(int(children or process.pid), signal.SIGTERM)
                assert process.wait(60) in {-signal.SIGTERM, 128 + signal.SIGTERM}
        finally:
            process.kill()
