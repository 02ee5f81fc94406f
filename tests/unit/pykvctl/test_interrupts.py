"""Signals while commands have something to undo."""

import signal
import subprocess
import sys

import pytest

from pykvctl.interrupts import interruptible, uninterrupted

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_interrupts_and_the_second_does_not(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    undone = []

    def use() -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            undone.append(number)

    with uninterrupted():
        with pytest.raises(KeyboardInterrupt), interruptible():
            use()
        signal.raise_signal(number)
    assert undone == [number]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", SIGNALS)
def test_one_that_comes_too_early_interrupts_later(number: signal.Signals) -> None:
    """Otherwise it would be lost, and with it the only Ctrl-C that somebody presses."""
    with uninterrupted():
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt), interruptible():
            pytest.fail("not interrupted")
        # It has done so once.
        with interruptible():
            pass


def test_one_during_a_program_does_not_interrupt_what_follows() -> None:
    """The program got it too, and has ended by it or on purpose not."""
    with uninterrupted(), interruptible():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
        with interruptible():
            pass


def test_one_of_a_command_before_is_forgotten() -> None:
    with uninterrupted():
        signal.raise_signal(signal.SIGINT)
    with uninterrupted(), interruptible():
        pass


WITHIN = {
    "interruptible": "with interruptible(): signal.raise_signal(number)",
    "uninterrupted": "with uninterrupted(): signal.raise_signal(number)",
    "both": "with uninterrupted(), interruptible(): signal.raise_signal(number)",
}


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("block", WITHIN.values(), ids=WITHIN)
def test_the_second_signal_does_not_kill_what_is_ending(block: str, number: str) -> None:
    program = (
        "import signal\n"
        "from contextlib import suppress\n"
        "from pykvctl.interrupts import end_after_signals, interruptible, uninterrupted\n"
        "end_after_signals()\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        f"number = signal.{number}\n"
        "with suppress(KeyboardInterrupt):\n"
        f"    {block}\n"
        "signal.raise_signal(number)\n"
        "print('ended by itself')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ended by itself\n", b"")
