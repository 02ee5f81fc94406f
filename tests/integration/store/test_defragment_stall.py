"""Defragmentation holds nobody up: how long the slowest request of a running client takes."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pykvd.pb import rpc_pb2
from tests.harness import PYKVD, Client
from tests.harness.methods import DEFRAGMENT, PUT, RANGE, STATUS
from tests.harness.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Mebibytes of the store; the figure in docs/monitoring.md was measured with 1024.
SIZE = int(os.environ.get("PYKVD_DEFRAGMENT_MIB", "256"))
VALUE = os.urandom(64 << 10)
#: A machine that does other things too stalls by itself: this is far above what is measured alone.
LONGEST_S = 1.0


@dataclass
class Worker:
    """Writes and reads small keys, one request after the other."""

    endpoint: str
    longest: dict[str, float] = field(default_factory=lambda: {"put": 0.0, "range": 0.0})
    requests: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with Client(self.endpoint) as client:
            while not self.stopping.is_set():
                key = b"small%d" % (self.requests % 100)
                self.timed("put", lambda: client.call(PUT, rpc_pb2.PutRequest(key=key)))  # noqa: B023
                request = rpc_pb2.RangeRequest(key=b"big%d" % (self.requests % 100))
                self.timed("range", lambda: client.call(RANGE, request))  # noqa: B023
                self.requests += 1

    def timed(self, kind: str, call: Callable[[], object]) -> None:
        started = time.perf_counter()
        call()
        self.longest[kind] = max(self.longest[kind], time.perf_counter() - started)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_longest_stall_of_a_running_client(tmp_path: Path) -> None:
    # On a disk, not in memory as other tests.
    server = Server(PYKVD, tmp_path, ["--quota-backend-bytes=8589934592"])
    server.start()
    try:
        with Client(server.endpoint) as client:
            for number in range(SIZE * 16):
                request = rpc_pb2.PutRequest(key=b"big%d" % number, value=VALUE)
                client.call(PUT, request, timeout=60.0)
        quiet = busy_for(server.endpoint, lambda: time.sleep(5.0))
        with Client(server.endpoint) as client:
            size = client.call(STATUS).dbSize
            took = time.perf_counter()
            during = busy_for(server.endpoint, lambda: client.call(DEFRAGMENT, timeout=600.0))
            took = time.perf_counter() - took
        print(f"{size >> 20} MiB defragmented in {took:.1f} s, {during.requests} pairs meanwhile")
        for kind in ("put", "range"):
            print(
                f"longest {kind}: {during.longest[kind] * 1000:.1f} ms during it, "
                f"{quiet.longest[kind] * 1000:.1f} ms before"
            )
        assert during.requests > 10
        assert max(during.longest.values()) < LONGEST_S
    finally:
        server.kill()


def busy_for(endpoint: str, work: Callable[[], object]) -> Worker:
    """A worker that ran while `work` did."""
    worker = Worker(endpoint)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        work()
    finally:
        worker.stopping.set()
        thread.join()
    return worker
