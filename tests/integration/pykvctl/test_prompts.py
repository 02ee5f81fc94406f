"""Replays the transcript of password prompts, at a terminal and without one."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

from tests.harness import PYKVD, Server, kind_from_environment, running
from tests.integration.pykvctl.conftest import GOLDEN_IDS, environment
from tests.integration.pykvctl.normalise import recorded, replayed
from tests.integration.pykvctl.runner import Runner, run_cli
from tests.integration.pykvctl.transcript import (
    GOLDEN,
    Outcome,
    Step,
    outcome_of,
    read_transcript,
)

NAME = "15-auth-prompts.txt"
PROGRAM = [sys.executable, "-m", "pykvctl"]
# Users that the transcript before this one has made.
USERS = ("alice", "bob", "carol", "eve", "frank", "gina", "hank")
WAIT_S = 60.0


def typed_lines() -> dict[int, list[str]]:
    """What was typed, by the number of the step."""
    typed: dict[int, list[str]] = {}
    number = 0
    for line in (GOLDEN / NAME).read_text().splitlines():
        if line.startswith("$ "):
            number += 1
        elif line.startswith("< ") or line == "<":
            typed.setdefault(number, []).append(line[2:])
    return typed


@pytest.fixture
def server() -> Iterator[Server]:
    kind = kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)
    with running(kind, [*GOLDEN_IDS, "--bcrypt-cost=4"]) as started:
        for name in USERS:
            run_cli(["user", "add", name, "--no-password"], environment(started))
        yield started


def at_a_terminal(words: list[str], typed: list[str], environ: dict[str, str]) -> Outcome:
    """Run a call at a terminal; each line is typed when its prompt has appeared."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *words], stdin=slave, stdout=slave, stderr=slave, env=environ
    )
    os.close(slave)
    shown = b""
    left = list(typed)
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # The other side is closed.
            break
        if not chunk:
            break
        shown += chunk
        if left and shown.endswith(b": "):
            os.write(master, left.pop(0).encode() + b"\n")
    os.close(master)
    return outcome_of(shown.replace(b"\r\n", b"\n"), b"", process.wait(WAIT_S))


def check(step: Step, actual: Outcome) -> None:
    """Compare: log lines by message, without the complaints of etcdctl's helper program."""
    stderr = [line for line in step.outcome.stderr if not line.startswith("stty: ")]
    expected = Outcome(step.outcome.stdout, stderr, step.outcome.status)
    assert without_times(replayed(actual, step.command)) == without_times(
        recorded(expected, step.command)
    )


def without_times(outcome: Outcome) -> Outcome:
    """Log lines that a terminal shows among the output, reduced to the error."""
    pattern = r'^\{"level".*"error":"(.*)"\}$'
    stdout = [re.sub(pattern, r"LOG \1", line) for line in outcome.stdout]
    return Outcome(stdout, outcome.stderr, outcome.status)


def test_transcript(
    server: Server, tmp_path_factory: pytest.TempPathFactory, subtests: pytest.Subtests
) -> None:
    typed = typed_lines()
    assert len(typed) == 6
    environ = environment(server)
    runner = Runner(tmp_path_factory.mktemp("cwd"), environ)
    for step in read_transcript(NAME):
        with subtests.test(msg=step.command, number=step.number):
            if step.number in typed:
                lines = typed[step.number]
                words = step.command.removeprefix("etcdctl ").split()
                shown = [line for line in step.outcome.stdout if not line.startswith("< ")]
                expected = Step(step.number, step.command, Outcome(shown, [], step.outcome.status))
                check(expected, at_a_terminal(words, lines, environ))
            else:
                check(step, runner.run(step.command))


def test_ctrl_c_at_a_prompt_leaves_the_echo_on(server: Server) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "--user=root", "get", "k"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment(server),
    )
    assert os.read(master, 100) == b"Password: "
    assert not termios.tcgetattr(slave)[3] & termios.ECHO
    for _ in range(2):
        process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) in {130, -signal.SIGINT}
    assert termios.tcgetattr(slave)[3] & termios.ECHO
    os.close(slave)
    os.close(master)
