"""The server's own pings: they find peers that are gone without a word (half-open connections)."""

from enum import Enum, auto

from pykvd.transport.limits import Limits


class Action(Enum):
    """What the connection has to do now."""

    NOTHING = auto()
    SEND_PING = auto()
    CUT = auto()


class KeepAlive:
    """Decides from silence. Any byte received is a sign of life, as in grpc-go."""

    __slots__ = ("_interval", "_ping_sent_at", "_timeout")

    def __init__(self, limits: Limits) -> None:
        self._interval = limits.keepalive_interval
        self._timeout = limits.keepalive_timeout
        self._ping_sent_at: float | None = None

    def tick(self, now: float, last_received: float) -> Action:
        """Call now and then; times in seconds."""
        if not self._interval:
            return Action.NOTHING
        sent_at = self._ping_sent_at
        if sent_at is not None and last_received >= sent_at:
            sent_at = self._ping_sent_at = None
        if sent_at is None:
            if now - last_received < self._interval:
                return Action.NOTHING
            self._ping_sent_at = now
            return Action.SEND_PING
        return Action.CUT if now - sent_at >= self._timeout else Action.NOTHING
