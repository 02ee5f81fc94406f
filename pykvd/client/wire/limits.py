"""The times that connections keep, and what they say, for both drivers."""

from __future__ import annotations

from typing import Final, NamedTuple

from pykvd.transport.keepalive import KeepAlive
from pykvd.transport.limits import Limits

DEADLINE: Final = "context deadline exceeded"
CLOSED: Final = "the client is closed"
SILENT: Final = "the server does not answer"

KEEPALIVE_PAUSE: Final = 1.0
"""How often silence is looked at."""
DOUBT_AFTER: Final = 0.25
"""Seconds that a call waited in vain, and nothing came, after which no more calls go there."""
READ_BYTES: Final = 1 << 18
"""The most that is read at once."""


class Times(NamedTuple):
    """What a connection waits for, in seconds."""

    dial: float = 3.0
    """Longest wait for one server to greet us; then another one is tried."""
    keepalive_interval: float = 10.0
    """Silence, while calls are open, after which a PING asks whether the server is still there.

    Servers end connections that are pinged more often than every five seconds.
    """
    keepalive_timeout: float = 5.0
    """Wait for its answer; then the connection counts as lost."""

    def keepalive(self) -> KeepAlive:
        """What decides about pings of one connection."""
        return KeepAlive(
            Limits(
                keepalive_interval=self.keepalive_interval,
                keepalive_timeout=self.keepalive_timeout,
            )
        )
