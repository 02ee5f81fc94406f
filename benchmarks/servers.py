"""The programs under test: started on free ports with an empty data directory, and ended again."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.closed_loop import close_all
from benchmarks.connection import Connection, call, connect
from benchmarks.errors import BenchmarkError, CallError
from benchmarks.headers import Method
from benchmarks.messages import framed
from pykvd.pb import rpc_pb2
from pykvd.tls.self_signed import self_signed

_READY_SECONDS = 120.0
_STOP_SECONDS = 30.0
_RETRY_SECONDS = 0.005
_QUOTA_BYTES = 8 << 30  # no workload shall meet the quota
_LOG_TAIL = 2000
# Below the ports that Linux gives to outgoing connections.
_PORTS = count(random.randrange(20_000, 30_000))
_REPOSITORY = Path(__file__).parents[1]  # where `-m benchmarks.responder` is found


def _free_port() -> int:
    """A port that nobody uses and that no outgoing connection is given while its owner is down."""
    for port in _PORTS:
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("counting never ends")


@dataclass(frozen=True, slots=True)
class Member:
    """Where one member of a cluster listens and keeps its data and its log."""

    name: str
    directory: Path
    port: int = field(default_factory=_free_port)
    peer_port: int = field(default_factory=_free_port)
    tls_port: int = field(default_factory=_free_port)

    @property
    def url(self) -> str:
        """Where it serves clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Where it serves clients over TLS when it is alone."""
        return f"https://127.0.0.1:{self.tls_port}"

    @property
    def peer_url(self) -> str:
        """Where it serves the other members."""
        return f"http://127.0.0.1:{self.peer_port}"


# Makes the command line of one of the members of a cluster.
Command = Callable[[Member, Sequence[Member]], list[str]]


def _etcd_flags(member: Member, cluster: Sequence[Member]) -> list[str]:
    everyone = ",".join(f"{one.name}={one.peer_url}" for one in cluster)
    alone = len(cluster) == 1
    return [
        *(_tls_flags(member) if alone else []),
        f"--name={member.name}",
        f"--data-dir={member.directory / 'data'}",
        f"--listen-client-urls={member.url}{',' + member.tls_url if alone else ''}",
        f"--advertise-client-urls={member.url}",
        f"--listen-peer-urls={member.peer_url}",
        f"--initial-advertise-peer-urls={member.peer_url}",
        f"--initial-cluster={everyone}",
        f"--quota-backend-bytes={_QUOTA_BYTES}",
        "--log-level=error",
    ]


def _tls_flags(member: Member) -> list[str]:
    """A certificate for P-256, the same kind for all servers; nobody verifies it."""
    pair = self_signed(member.directory / "tls", ["127.0.0.1"], years=1)
    return [f"--cert-file={pair.certificate}", f"--key-file={pair.key}"]


def _pykvd(member: Member, cluster: Sequence[Member]) -> list[str]:
    return [sys.executable, "-m", "pykvd", *_etcd_flags(member, cluster)]


def _etcd(member: Member, cluster: Sequence[Member]) -> list[str]:
    return ["etcd", "--logger=zap", *_etcd_flags(member, cluster)]


def _empty(member: Member, cluster: Sequence[Member]) -> list[str]:  # noqa: ARG001
    return [sys.executable, "-m", "benchmarks.responder", str(member.port)]


COMMANDS: dict[str, Command] = {"pykvd": _pykvd, "etcd": _etcd, "empty": _empty}


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of a server: all, and without the pages of files that it maps."""

    total: int
    anonymous: int


class Server:
    """One program under test with its directory; `start` may follow `stop` or `kill`.

    Alone, or as one of the members of `cluster`.
    """

    def __init__(self, name: str, member: Member, cluster: Sequence[Member] = ()) -> None:
        self.name = name
        self.port = member.port
        self.tls_port = member.tls_port
        self._command = COMMANDS[name](member, cluster or [member])
        self._log = member.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def ports(self) -> list[int]:
        """The one client port."""
        return [self.port]

    def start(self) -> float:
        """Start the program; returns the seconds until it answered its first Range.

        Raises BenchmarkError when it exits or does not answer in two minutes.
        """
        begin = time.monotonic()
        self.launch()
        self.wait()
        return time.monotonic() - begin

    def launch(self) -> None:
        """Start the program and do not wait for it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=_REPOSITORY)

    def wait(self) -> None:
        """Wait for the answer to a linearizable Range; raises BenchmarkError like `start`."""
        asyncio.run(self._first_range(time.monotonic() + _READY_SECONDS))

    def stop(self) -> None:
        """End the program with SIGTERM, or SIGKILL when it does not obey."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the program with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def check(self) -> None:
        """Raise BenchmarkError, with the end of its log, when the program has exited."""
        if self._process is None or self._process.poll() is not None:
            tail = self._log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
            code = self._process.returncode if self._process else "never started"
            raise BenchmarkError(f"{self.name} is gone ({code}):\n{tail}")

    def memory(self) -> Memory:
        """Resident memory of the process and its children, from /proc."""
        assert self._process is not None
        total = anonymous = 0
        for pid in _family(self._process.pid):
            fields = dict(
                line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            )
            total += _kilobytes(fields["VmRSS"])
            anonymous += _kilobytes(fields["RssAnon"])
        return Memory(total, anonymous)

    async def _first_range(self, deadline: float) -> None:
        method = Method("/etcdserverpb.KV/Range", f"127.0.0.1:{self.port}")
        message = framed(rpc_pb2.RangeRequest(key=b"any"))
        error: Exception | None = None
        while time.monotonic() < deadline:
            self.check()
            connections: list[Connection] = []
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    connections.append(await connect(self.port))
                    await call(connections[0], method, message)
                return
            except (OSError, CallError) as failure:
                error = failure
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                close_all(connections)
        raise BenchmarkError(f"{self.name} did not answer in time: {error}")


@contextmanager
def fresh_server(name: str, data_root: Path) -> Iterator[Server]:
    """A server that is not started yet; afterwards it is ended and its data is removed."""
    directory = Path(tempfile.mkdtemp(prefix=f"benchmark-{name}-", dir=data_root.resolve()))
    server = Server(name, Member("benchmark", directory))
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def version(name: str) -> str:
    """The version of a program, or the reason why there is none."""
    commands: dict[str, Sequence[str]] = {
        "etcd": ["etcd", "--version"],
        "pykvd": [sys.executable, "-m", "pykvd", "--version"],
    }
    if name not in commands:
        return name
    try:
        done = subprocess.run(
            commands[name], check=False, capture_output=True, text=True, timeout=20
        )
    except OSError as error:
        return str(error)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else f"exit status {done.returncode}"


def _family(pid: int) -> list[int]:
    family = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        for child in children:
            family += _family(int(child))
    return family


def _kilobytes(field: str) -> int:
    number, unit = field.split()
    assert unit == "kB"
    return int(number) * 1024
