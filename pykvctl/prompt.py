"""Questions that must not be echoed."""

import termios

from pykvctl.streams import Streams


def read_password(streams: Streams, prompt: str) -> str:
    """Ask on standard output and read a line unseen; empty if standard input is no terminal."""
    streams.write(prompt.encode())
    if not streams.stdin.isatty():
        streams.write(b"\n")
        return ""
    terminal = streams.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = list(before)
    silent[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        line = streams.stdin.readline()
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        streams.write(b"\n")
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
