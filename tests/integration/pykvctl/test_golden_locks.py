"""Replays the transcripts of lock and elect.

Each call is a process. Where a transcript waits for some seconds, the replay waits for what was to
happen in that time: a line of output, or keys below the name.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from tests.harness import PYKVD, Server, kind_from_environment, running, wait_until
from tests.integration.pykvctl.conftest import GOLDEN_IDS, environment
from tests.integration.pykvctl.normalise import recorded, replayed
from tests.integration.pykvctl.runner import run_cli
from tests.integration.pykvctl.test_golden import start_at_revision
from tests.integration.pykvctl.transcript import Outcome, Step, outcome_of, read_transcript

WAIT_S = 60.0
PROGRAM = [sys.executable, "-m", "pykvctl"]

# Steps that pykvctl does not have, and why.
NOT_OURS = {
    r"^etcdctl get --prefix mylock --keys-only$": "below: pykvctl gives the lock back",
    r"elect -l nobody$": "below: nothing tells when it has begun to listen",
}
_TIMED = re.compile(r"timeout --preserve-status -s (?P<signal>\w+) [\d.]+ etcdctl (?P<words>.*)")


class Live:
    """A running pykvctl whose output can be awaited."""

    def __init__(self, words: list[str], environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
        )
        self.out, self.err = b"", b""
        self._threads = [
            threading.Thread(target=self._read, args=(name,)) for name in ("out", "err")
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, name: str) -> None:
        pipe = cast(BinaryIO, self.process.stdout if name == "out" else self.process.stderr)
        while chunk := os.read(pipe.fileno(), 65536):
            setattr(self, name, getattr(self, name) + chunk)
        pipe.close()

    def wait_lines(self, count: int) -> None:
        """Wait until so many lines are printed."""
        wait_until(lambda: self.out.count(b"\n") >= count, f"{count} lines", WAIT_S)

    def send(self, number: int) -> None:
        """Send a signal, twice: that is how it comes when a wrapper passes on what it got."""
        self.process.send_signal(number)
        self.process.send_signal(number)

    def finish(self) -> Outcome:
        """The outcome, once it has ended."""
        status = self.process.wait(WAIT_S)
        for thread in self._threads:
            thread.join(WAIT_S)
        return outcome_of(self.out, self.err, 128 - status if status < 0 else status)


class Replay:
    """A server, and the drivers of steps."""

    def __init__(self, server: Server) -> None:
        self.environ = environment(server)
        self._started: list[Live] = []

    def start(self, command: str) -> Live:
        """Start one call."""
        script = f"printf '%s\\0' {command.removeprefix('etcdctl ')}"
        expanded = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
        words = [os.fsdecode(word) for word in expanded.split(b"\0")[:-1]]
        self._started.append(Live(words, self.environ))
        return self._started[-1]

    def end(self) -> None:
        """Kill what a failed test has left running."""
        for live in self._started:
            if live.process.poll() is None:
                live.process.kill()
                live.finish()

    def keys(self, name: str) -> int:
        """How many contend for a name."""
        out, _, _ = run_cli(["get", "--prefix", f"{name}/", "--keys-only"], self.environ)
        return out.count(b"/")

    def wait_keys(self, name: str, count: int) -> None:
        """Wait until so many contend."""
        wait_until(lambda: self.keys(name) == count, f"{count} keys of {name}", WAIT_S)

    def revoke_newest(self) -> None:
        """End the lease granted last, as somebody else might."""
        out, _, _ = run_cli(["lease", "list"], self.environ)
        assert run_cli(["lease", "revoke", out.split()[-1].decode()], self.environ)[2] == 0

    def run(self, step: Step) -> Outcome:
        """Run a step that consists of one call."""
        command = step.command
        if command.startswith("sleep 4; "):
            self.wait_keys("mylock", 0)
            command = command.partition("; ")[2]
        if "lease revoke" in command:
            live = self.start(command.rpartition(" & ")[2])
            live.wait_lines(len(step.outcome.stdout))
            self.revoke_newest()
            return live.finish()
        timed = _TIMED.fullmatch(command)
        live = self.start(timed["words"] if timed else command)
        if timed and step.outcome.stdout:
            live.wait_lines(len(step.outcome.stdout))
            live.send(signal.Signals[f"SIG{timed['signal']}"])
        return live.finish()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD), GOLDEN_IDS) as started:
        yield started


@pytest.fixture
def replay(server: Server, tmp_path: Path) -> Iterator[Replay]:
    """A replay whose programs find pykvctl under the name of etcdctl."""
    shim = tmp_path / "etcdctl"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m pykvctl "$@"\n')
    shim.chmod(0o755)
    replay = Replay(server)
    replay.environ["PATH"] = f"{tmp_path}:{replay.environ['PATH']}"
    yield replay
    replay.end()


def without_leases(outcome: Outcome) -> Outcome:
    """An outcome without the IDs of leases, also where they are parts of keys."""
    patterns = [
        (r"/[0-9a-f]{14,16}\b", "/LEASE"),
        (r'"key":"[^"]+"', '"key":K'),
        (r'"lease":\d+', '"lease":L'),
        (r'"Lease" : \d+', '"Lease" : L'),
    ]
    stdout = outcome.stdout
    for pattern, text in patterns:
        stdout = [re.sub(pattern, text, line) for line in stdout]
    return replace(outcome, stdout=stdout)


def check(step: Step, actual: Outcome) -> None:
    """Compare with what was recorded."""
    expected = without_leases(recorded(step.outcome, step.command))
    assert without_leases(replayed(actual, step.command)) == expected


def single_calls(name: str) -> list[Step]:
    """The steps of a transcript in which only one lock or election is under way."""
    return [
        step
        for step in read_transcript(name)
        if not re.search(r"(lock|elect) .* & ", step.command)
        and not any(re.search(pattern, step.command) for pattern in NOT_OURS)
    ]


@pytest.mark.parametrize(
    ("name", "revision"), [("17-lock.txt", 1), ("18-elect.txt", 43)], ids=["lock", "elect"]
)
def test_transcript(
    server: Server, replay: Replay, name: str, revision: int, subtests: pytest.Subtests
) -> None:
    start_at_revision(server, revision)
    steps = single_calls(name)
    assert len(steps) > 8
    for step in steps:
        with subtests.test(msg=step.command, number=step.number):
            check(step, replay.run(step))
    assert replay.keys("") == 0


def step_like(name: str, pattern: str) -> Step:
    """The step of a transcript whose command matches."""
    [step] = [each for each in read_transcript(name) if re.search(pattern, each.command)]
    return step


def test_a_lock_whose_output_fails_is_given_back(replay: Replay) -> None:
    """etcdctl leaves it to the lease."""
    assert replay.start("lock mylock -w table").finish().status == 4
    assert replay.keys("mylock") == 0


def test_a_second_holder_waits(replay: Replay, tmp_path: Path) -> None:
    step = step_like("17-lock.txt", r"lock mylock sleep 1 & ")
    gate = tmp_path / "gate"
    first = replay.start(f"lock second -- sh -c 'until [ -e {gate} ]; do sleep 0.02; done'")
    replay.wait_keys("second", 1)
    second = replay.start("lock second echo second")
    replay.wait_keys("second", 2)
    assert second.out == b""
    gate.touch()
    assert first.finish().status == 0
    check(step, second.finish())


def test_a_signal_while_waiting_leaves_no_key(replay: Replay) -> None:
    step = step_like("17-lock.txt", r"lock mylock sleep 3 & ")
    first = replay.start("lock waits")
    first.wait_lines(1)
    second = replay.start("lock waits echo second")
    replay.wait_keys("waits", 2)
    second.send(signal.SIGINT)
    # The status of the recorded step is that of `wait`; api.md tells the client's own.
    check(step, replace(second.finish(), status=0))
    replay.wait_keys("waits", 1)
    first.send(signal.SIGTERM)
    assert first.finish().status == 0
    assert replay.keys("waits") == 0


def test_observers_see_one_leader_after_the_other(replay: Replay) -> None:
    step = step_like("18-elect.txt", r"elect --listen myelection")
    observer = replay.start("elect --listen follows")
    first = replay.start("elect follows leaderA")
    first.wait_lines(2)
    observer.wait_lines(2)
    second = replay.start("elect follows leaderB")
    replay.wait_keys("follows", 2)
    first.send(signal.SIGINT)
    assert first.finish().status == 0
    second.wait_lines(2)
    observer.wait_lines(4)
    observer.send(signal.SIGINT)
    second.send(signal.SIGTERM)
    assert second.finish().status == 0
    seen = observer.finish()
    assert seen.status == 0
    lines = [line.replace("follows/", "myelection/") for line in seen.stdout]
    check(step, replace(seen, stdout=lines))


def test_a_candidate_that_is_interrupted_withdraws(replay: Replay) -> None:
    first = replay.start("elect withdraws A")
    first.wait_lines(2)
    second = replay.start("elect withdraws B")
    replay.wait_keys("withdraws", 2)
    second.send(signal.SIGINT)
    assert second.finish() == Outcome([], ["Error: context canceled"], 1)
    first.send(signal.SIGINT)
    assert first.finish().status == 0
    assert replay.keys("withdraws") == 0
