"""Watches and lease renewals live through restarts of the server and failover."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO, cast

import pytest

from tests.harness import PYKVD, Server, kind_from_environment, running, wait_until
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.runner import run_cli

WAIT_S = 60.0


class Live:
    """A running command whose lines of output can be awaited."""

    def __init__(self, environ: dict[str, str], *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pykvctl", *words], stdout=subprocess.PIPE, env=environ
        )
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in cast(BinaryIO, self.process.stdout):
            self.lines.append(line.decode().rstrip("\n"))

    def wait_for(self, count: int) -> None:
        """Wait until `count` lines have been printed."""
        wait_until(lambda: len(self.lines) >= count, f"{count} lines", WAIT_S)

    def end(self) -> None:
        """Kill it and read what is left."""
        self.process.kill()
        self.process.wait()
        self._thread.join()
        cast(BinaryIO, self.process.stdout).close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that tests stop and start again."""
    with running(kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)) as started:
        yield started


def put(server: Server, number: int) -> None:
    """Write one pair; a server that has just been started may not answer yet."""
    words = ["put", f"k{number}", f"v{number}", "--command-timeout=10s"]
    assert run_cli(words, environment(server))[2] == 0


def expected(count: int) -> list[str]:
    """What a watch over `count` writes prints."""
    return [line for n in range(count) for line in ("PUT", f"k{n}", f"v{n}")]


def test_watch_loses_and_repeats_nothing_over_kills(server: Server) -> None:
    """Events before, between and after three kills arrive once and in order."""
    live = Live(environment(server), "watch", "k", "--prefix", "--rev=1")
    try:
        count = 0
        for _ in range(3):
            for _ in range(4):
                put(server, count)
                count += 1
            live.wait_for(3 * count - 3)
            server.kill()
            server.start()
        put(server, count)
        live.wait_for(3 * (count + 1))
    finally:
        live.end()
    assert live.lines == expected(count + 1)


def test_watch_from_now_on_delivers_what_happened_while_it_was_cut_off(server: Server) -> None:
    """A watch without a start revision goes on behind the last revision it has seen."""
    put(server, 100)
    live = Live(environment(server), "watch", "k", "--prefix")
    try:
        probe = 0
        while not live.lines:  # The first event tells that the watch has begun.
            put(server, probe)
            probe += 1
        # Asleep, it cannot reconnect before the event has happened.
        live.process.send_signal(signal.SIGSTOP)
        server.kill()
        server.start()
        put(server, 200)
        live.process.send_signal(signal.SIGCONT)
        wait_until(lambda: "v200" in live.lines, "the event it slept through", WAIT_S)
    finally:
        live.end()
    keys = live.lines[1::3]
    assert len(keys) == len(set(keys))


def test_watch_waits_for_a_server_that_is_not_there_yet(server: Server) -> None:
    """A watch begins when its server does."""
    put(server, 0)
    environ = environment(server)
    server.kill()
    live = Live(environ, "watch", "k0", "--rev=1")
    try:
        server.start()
        live.wait_for(3)
    finally:
        live.end()
    assert live.lines == expected(1)


def test_compaction_during_an_outage_ends_the_watch(server: Server) -> None:
    """What cannot be delivered completely is not delivered at all."""
    for number in range(3):
        put(server, number)
    environ = environment(server)
    assert run_cli(["compaction", "4"], environ)[2] == 0
    out, err, status = run_cli(["watch", "k", "--prefix", "--rev=2"], environ)
    assert (out, status) == (b"", 5)
    assert b"required revision has been compacted" in err


def test_keep_alive_goes_on_after_a_restart(server: Server) -> None:
    """A lease is renewed again when the server is back."""
    environ = environment(server)
    out, _, _ = run_cli(["lease", "grant", "9", "-w", "simple"], environ)
    live = Live(environ, "lease", "keep-alive", out.split()[1].decode())
    try:
        live.wait_for(1)
        server.kill()
        server.start()
        live.wait_for(2)
    finally:
        live.end()


def test_dead_endpoints_are_passed_over(server: Server) -> None:
    """One endpoint that can be reached is enough, for calls and for watches."""
    put(server, 0)
    environ = environment(server) | {"ETCDCTL_ENDPOINTS": f"127.0.0.1:1,{server.endpoint}"}
    assert run_cli(["get", "k0"], environ) == (b"k0\nv0\n", b"", 0)
    enough = run_cli(["watch", "k0", "--rev=1"], environ, enough=lambda out: out.count(b"\n") == 3)
    assert enough == (b"PUT\nk0\nv0\n", b"", 130)


def test_closed_pipe_ends_quietly(server: Server) -> None:
    """`| head` ends the command by SIGPIPE, as it ends etcdctl."""
    put(server, 0)
    script = f"{sys.executable} -m pykvctl watch k --prefix --rev=1 | head -n 1"
    process = subprocess.Popen(
        ["bash", "-c", f"{script}; echo ${{PIPESTATUS[0]}}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(server),
    )
    # Nobody reads after the first line; the next event finds the pipe closed.
    line = os.read(cast(BinaryIO, process.stdout).fileno(), 4)
    number = 1
    while process.poll() is None:
        put(server, number)
        number += 1
    out, err = process.communicate()
    assert (line + out, err) == (b"PUT\n141\n", b"")
