"""Budgets for what a client may do that costs us more than it costs the client.

Pings that come too early (as grpc-go counts them), streams opened and reset (CVE-2023-44487, and
streams that the client makes us reset, CVE-2025-8671), and frames without work.
"""

from pykvd.transport.frames import ErrorCode, Http2ConnectionError
from pykvd.transport.limits import Limits


class AbuseGuard:
    """The budgets of one connection.

    A spent budget raises Http2ConnectionError(ENHANCE_YOUR_CALM).
    """

    __slots__ = (
        "_last_ping_at",
        "_limits",
        "_ping_strikes",
        "_resets_left",
        "_resets_refilled_at",
        "data_sent",
        "idle_frames",
    )

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._ping_strikes = 0
        self._last_ping_at: float | None = None
        self._resets_left = float(limits.reset_burst)
        self._resets_refilled_at = now
        self.idle_frames = 0
        """Frames without work since the last one with some; the connection sets it back to 0."""
        self.data_sent = False
        """Set whenever HEADERS or DATA were sent: forgives the next ping and all strikes."""

    def count_idle_frame(self) -> None:
        """A frame arrived that carries no work."""
        self.idle_frames += 1
        if self.idle_frames > self._limits.max_idle_frames:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without work")

    def count_reset(self, now: float) -> None:
        """A stream ended by the client's reset or by its fault."""
        limits = self._limits
        refill = (now - self._resets_refilled_at) * limits.resets_per_second
        self._resets_refilled_at = now
        self._resets_left = min(float(limits.reset_burst), self._resets_left + refill) - 1.0
        if self._resets_left < 0.0:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many stream resets")

    def count_ping(self, now: float, *, streams_open: bool) -> None:
        """A PING arrived. Its distance to the one before counts, unless we sent data in between."""
        limits = self._limits
        previous = self._last_ping_at
        self._last_ping_at = now
        if self.data_sent:
            self.data_sent = False
            self._ping_strikes = 0
            return
        least = limits.keepalive_min_time if streams_open else limits.keepalive_min_time_idle
        if previous is None or now - previous >= least:
            return
        self._ping_strikes += 1
        if self._ping_strikes > limits.ping_strikes:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
