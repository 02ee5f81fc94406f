"""Questions that must not be echoed."""

import termios

from pykvctl.streams import Streams


def read_password(streams: Streams, prompt: str) -> str:
    """Ask on standard output and read a line, unseen if standard input is a terminal."""
    streams.write(prompt.encode("utf-8", "surrogateescape"))
    try:
        line = _read_unseen(streams) if streams.stdin.isatty() else streams.stdin.readline()
    finally:
        streams.write(b"\n")
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _read_unseen(streams: Streams) -> bytes:
    terminal = streams.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = list(before)
    silent[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        return streams.stdin.readline()
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
