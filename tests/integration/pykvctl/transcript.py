"""Reads transcripts of etcdctl runs.

A file is a list of steps: `$ command`, its standard output, lines of standard error behind `! `,
and `[exit N]`. Lines behind `# ` between steps are remarks. `[no newline]` tells that the output
did not end with one; bytes that are no UTF-8 stand as `\\xNN`.
"""

from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Outcome:
    """What a command line left behind: lines of both streams and the status."""

    stdout: list[str]
    stderr: list[str]
    status: int


@dataclass(frozen=True)
class Step:
    """A command as typed and what it did when it was recorded."""

    number: int
    command: str
    outcome: Outcome


def read_transcript(name: str) -> list[Step]:
    """The steps of a file in the golden folder."""
    steps: list[Step] = []
    lines = iter((GOLDEN / name).read_text().split("\n"))
    for line in lines:
        if not line.startswith("$ "):
            continue
        stdout: list[str] = []
        stderr: list[str] = []
        for answer in lines:
            if answer.startswith("[exit "):
                status = int(answer.removeprefix("[exit ").rstrip("]"))
                break
            if answer.startswith("! "):
                stderr.append(answer.removeprefix("! "))
            elif answer != "[no newline]":
                stdout.append(answer)
        steps.append(Step(len(steps) + 1, line.removeprefix("$ "), Outcome(stdout, stderr, status)))
    return steps


def outcome_of(stdout: bytes, stderr: bytes, status: int) -> Outcome:
    """The outcome of a run in the form of a transcript."""
    return Outcome(_lines(stdout), _lines(stderr), status)


def _lines(data: bytes) -> list[str]:
    text = data.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    return text.removesuffix("\n").split("\n") if text else []
