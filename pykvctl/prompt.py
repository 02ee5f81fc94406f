"""Questions that must not be echoed."""

import termios
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from pykvctl.interrupts import interruptible
from pykvctl.streams import Streams


def read_password(streams: Streams, prompt: str) -> str:
    """Ask on standard output and read a line, unseen if standard input is a terminal."""
    at_terminal = streams.stdin.isatty()
    # What is typed before the echo is off is dropped, so the prompt comes afterwards.
    with _silenced(streams.stdin.fileno()) if at_terminal else nullcontext():
        streams.write(prompt.encode("utf-8", "surrogateescape"))
        try:
            line = streams.stdin.readline()
        finally:
            streams.write(b"\n")
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


@contextmanager
def _silenced(terminal: int) -> Iterator[None]:
    """No echo inside; Ctrl-C brings it back before it ends the command."""
    before = termios.tcgetattr(terminal)
    silent = list(before)
    silent[3] &= ~termios.ECHO
    with interruptible():
        try:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
            yield
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
