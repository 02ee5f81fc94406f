"""How the end of a user's command is told."""

import signal

import pytest

from pykvctl.programs import run_program

ENVIRON = {"PATH": "/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGINT, "interrupt"),
        (signal.SIGKILL, "killed"),
        (signal.SIGTERM, "terminated"),
        (signal.SIGHUP, "hangup"),
        (signal.SIGUSR1, "user defined signal 1"),
        (signal.SIGVTALRM, "signal 26"),
    ],
)
def test_signals_have_the_names_that_go_gives_them(number: int, name: str) -> None:
    program = ["sh", "-c", f"kill -{int(number)} $$"]
    assert run_program(program, ENVIRON) == (-1, f"signal: {name}")


def test_exit_statuses_are_passed_on() -> None:
    assert run_program(["true"], ENVIRON) == (0, "")
    assert run_program(["sh", "-c", "exit 7"], ENVIRON) == (7, "exit status 7")
