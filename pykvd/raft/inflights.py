"""The window of appends on their way to one follower (thesis 10.2.1, pipelining)."""

from __future__ import annotations

from collections import deque


class Inflights:
    """Last index and bytes of each append that was sent and not yet acknowledged.

    Invariant: indexes increase from left to right; `bytes` is the sum of the sizes. The window is
    bounded in messages and in bytes; the message that crosses the byte limit is still sent.
    """

    __slots__ = ("_max_bytes", "_max_messages", "_window", "bytes")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._window: deque[tuple[int, int]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._window)

    @property
    def full(self) -> bool:
        """Whether nothing more may be sent until an acknowledgement arrives."""
        return len(self._window) >= self._max_messages or self.bytes >= self._max_bytes

    def add(self, last_index: int, size: int) -> None:
        """Record an append of `size` bytes whose last entry is `last_index`."""
        self._window.append((last_index, size))
        self.bytes += size

    def free_to(self, index: int) -> None:
        """Forget the appends that an acknowledgement of `index` covers."""
        window = self._window
        while window and window[0][0] <= index:
            self.bytes -= window.popleft()[1]

    def clear(self) -> None:
        """Forget all, when the follower must be probed anew."""
        self._window.clear()
        self.bytes = 0
