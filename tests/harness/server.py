"""Server processes of either kind on loopback ports of their own.

Both kinds take etcd's flags and write JSON log lines to stderr, so that one class starts, watches
and ends them. Data lives in memory-backed storage where there is some: these tests are about
answers, and a sync to a shared disk is their slowest part.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.ports import free_port
from tests.harness.wait import wait_until

SHARED_MEMORY = Path("/dev/shm")
START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0


class ServerError(RuntimeError):
    """A server process that did not become ready; the text ends with its log."""


@dataclass(frozen=True)
class Kind:
    """How to start one implementation: its command, own flags and the log message of readiness."""

    name: str
    command: tuple[str, ...]
    flags: tuple[str, ...]
    ready: str

    def installed(self) -> bool:
        """Whether the program exists on this machine."""
        return shutil.which(self.command[0]) is not None


PYKVD = Kind("pykvd", (sys.executable, "-m", "pykvd"), (), "ready to serve client requests")
#: 3.4 writes its old log format unless told, and has no "ready" message in the new one.
ETCD = Kind("etcd", ("/usr/bin/etcd",), ("--logger=zap",), "serving client traffic")
KINDS = {kind.name: kind for kind in (PYKVD, ETCD)}


def kind_from_environment(variable: str, default: Kind) -> Kind:
    """The kind that an environment variable names (`pykvd`, `etcd`), else `default`."""
    return KINDS[os.environ.get(variable, default.name)]


class Server:
    """One single-node process. Made by `running`; `stop` and `kill` may be followed by `start`."""

    def __init__(self, kind: Kind, home: Path, flags: Sequence[str] = ()) -> None:
        self.kind = kind
        self.home = home
        self.flags = tuple(flags)
        self.data = home / "data"
        self.log_path = home / "stderr.log"
        self.client_port = free_port()
        self.peer_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def endpoint(self) -> str:
        """`host:port` of the client listener."""
        return f"127.0.0.1:{self.client_port}"

    @property
    def url(self) -> str:
        """The client listener as a URL."""
        return f"http://{self.endpoint}"

    @property
    def pid(self) -> int:
        """Process id; only while running."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start on the data there is and wait until it serves clients."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start without waiting for anything."""
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        command = [*self.kind.command, *self._addresses(), *self.kind.flags, *self.flags]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        """Wait until it serves clients; ServerError with its log if it ends instead."""
        try:
            wait_until(self._settled, f"{self.kind.name} to be ready", START_TIMEOUT)
        except AssertionError as error:
            self.kill()
            raise ServerError(f"{error}\n{self.log_text()}") from error
        if not self._ready():
            self.kill()
            raise ServerError(f"{self.kind.name} ended before it was ready\n{self.log_text()}")

    def terminate(self) -> None:
        """Send SIGTERM and return at once."""
        assert self.process is not None
        self.process.terminate()

    def stop(self) -> int:
        """SIGTERM and wait; the exit status (negative: ended by that signal)."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL and wait; the exit status."""
        return self._end(signal.SIGKILL)

    def log_text(self) -> str:
        """Everything the current (or last) process wrote to stderr."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def log(self) -> list[dict[str, Any]]:
        """The JSON lines of `log_text`; lines that are not JSON objects are left out."""
        lines = []
        for line in self.log_text().splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
        return [line for line in lines if isinstance(line, dict)]

    def _addresses(self) -> list[str]:
        """The flags that say where its data are, and where it listens."""
        peer = f"http://127.0.0.1:{self.peer_port}"
        return [
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _ready(self) -> bool:
        return self.kind.ready in self.log_text()

    def _settled(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None or self._ready()

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        return status


@contextlib.contextmanager
def memory_directory() -> Iterator[Path]:
    """A directory for the time of a test, in memory if there is a place for that."""
    parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="pykvd-test-", dir=parent) as path:
        yield Path(path)


@contextlib.contextmanager
def running(kind: Kind, flags: Sequence[str] = ()) -> Iterator[Server]:
    """A ready single-node server with fresh data; killed, and its data removed, at the end."""
    with memory_directory() as home:
        server = Server(kind, home, flags)
        try:
            server.start()
            yield server
        finally:
            server.kill()
