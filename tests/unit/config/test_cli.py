"""The command `pykvd` as a process."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pykvd.version import API_VERSION, VERSION


def pykvd(*argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pykvd", *argv],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version() -> None:
    done = pykvd("--version")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == [
        f"pykvd Version: {VERSION}",
        f"etcd API Version: {API_VERSION}",
    ]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(flag: str) -> None:
    done = pykvd(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n  --data-dir ''\n      Data directory; empty means <name>.etcd.\n" in done.stdout
    assert "\n  --max-txn-ops 128\n" in done.stdout


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("--data-dri", "Did you mean --data-dir? `pykvd --help` lists all flags."),
        ("--qqq", "`pykvd --help` lists all flags."),
    ],
)
def test_unknown_flag(flag: str, hint: str) -> None:
    done = pykvd(flag, "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [f"flag provided but not defined: {flag[1:]}", hint]


def test_wrong_configuration_is_one_log_line() -> None:
    done = pykvd("--heartbeat-interval=0")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = [json.loads(text) for text in done.stderr.splitlines()]
    assert (line["level"], line["msg"]) == ("warn", "failed to verify flags")
    assert line["error"] == "--heartbeat-interval must be >0 (set to 0ms)"


def test_a_word_is_no_flag() -> None:
    done = pykvd("serve")
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads(done.stderr)["error"] == '"serve" is not a valid flag'


def test_flag_and_variable_together() -> None:
    done = pykvd("--name=a", ETCD_NAME="b")
    assert done.returncode == 1
    line = json.loads(done.stderr)
    assert line["level"] == "fatal"
    assert line["msg"].startswith("conflicting environment variable is shadowed by")
    assert line["environment-variable"] == "ETCD_NAME"


def test_log_file_that_cannot_be_opened(tmp_path: Path) -> None:
    done = pykvd("--log-outputs", f"{tmp_path}/none/log")
    assert done.returncode == 1
    assert done.stderr == f"open {tmp_path}/none/log: no such file or directory\n"


def test_help_does_not_load_the_server() -> None:
    program = (
        "import sys; from pykvd.cli import main; main(['--help']);"
        "sys.exit(bool({'grpc', 'lmdb', 'uvloop', 'pykvd.server'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0


def wait_for(path: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not (path.exists() and text in path.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_log_files_can_be_rotated(tmp_path: Path) -> None:
    path = tmp_path / "log"
    argv = ["--log-outputs", str(path), "--data-dir", str(tmp_path / "data")]
    argv += ["--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://a:1"]
    argv += ["--listen-peer-urls=http://127.0.0.1:0"]
    with subprocess.Popen([sys.executable, "-m", "pykvd", *argv]) as process:
        try:
            wait_for(path, "ready to serve client requests", process)
            path.rename(tmp_path / "log.1")
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert "received signal; shutting down" in path.read_text()
