"""The three byte streams of an invocation.

Keys and values are bytes and need not be UTF-8, so nothing here is text. Each `write` is flushed:
the process may be ended by a signal at any time, and a reader of a pipe wants events at once.
"""

import os
import sys
import threading
from dataclasses import dataclass, field
from typing import BinaryIO, TextIO, cast


@dataclass
class Streams:
    """Standard input, output and error; writes are whole, also from several threads."""

    stdin: BinaryIO
    stdout: BinaryIO
    stderr: BinaryIO
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, data: bytes) -> None:
        """Write to standard output."""
        with self._lock:
            self.stdout.write(data)
            self.stdout.flush()

    def line(self, text: str) -> None:
        """Write a line to standard output."""
        self.write(encode(text) + b"\n")

    def error_line(self, text: str) -> None:
        """Write a line to standard error, unless its disk is full: the status tells enough."""
        with self._lock:
            try:
                self.stderr.write(encode(text) + b"\n")
                self.stderr.flush()
            except BrokenPipeError:
                raise
            except OSError:
                return


def encode(text: str) -> bytes:
    """Bytes of a text that may hold undecodable command line arguments."""
    return text.encode("utf-8", "surrogateescape")


def standard_streams() -> Streams:
    """Those of the process."""
    return Streams(_open(sys.stdin, "rb"), _open(sys.stdout, "wb"), _open(sys.stderr, "wb"))


def _open(stream: TextIO | None, mode: str) -> BinaryIO:
    """The bytes of a standard stream, which is None if the caller has closed its descriptor.

    Unlike `stream.buffer` it writes all it is given also with PYTHONUNBUFFERED.
    """
    if stream is None:
        return cast(BinaryIO, open(os.devnull, mode))
    return cast(BinaryIO, open(stream.fileno(), mode, closefd=False))
