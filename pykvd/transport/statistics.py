"""Counters of a server."""

from typing import NamedTuple

from pykvd.histogram import Histogram
from pykvd.status import Code

#: Versions of client APIs told apart; clients make the text up, so that there must be a bound.
MAX_CLIENT_VERSIONS = 16
#: Seconds that a call took, the default of Prometheus clients.
CALL_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: Metadata by which clients tell what they were made for.
CLIENT_VERSION = "client-api-version"


class MethodCounters:
    """Calls of one method by clients of one version."""

    __slots__ = ("failed", "ok", "received", "seconds", "sent", "started")

    def __init__(self) -> None:
        self.started = 0
        self.ok = 0
        self.failed: dict[int, int] = {}
        """Calls that ended otherwise, by status code."""
        self.received = 0
        """Messages from the client; counted for streams only, a unary call has one."""
        self.sent = 0
        """Messages to the client; counted for streams only, a unary call that is OK has one."""
        self.seconds = Histogram(CALL_BOUNDS)
        """How long calls took, where they are timed."""

    def ended(self, code: int) -> None:
        """A call is over."""
        if code == Code.OK:
            self.ok += 1
        else:
            self.failed[code] = self.failed.get(code, 0) + 1


class Counters:
    """Running totals, shared by all connections of a server. Only ever grow."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "calls",
        "connections_accepted",
        "connections_refused",
        "methods",
    )

    def __init__(self) -> None:
        self.connections_accepted = 0
        self.connections_refused = 0
        self.calls = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.methods: dict[str, dict[str, MethodCounters]] = {}
        """By path, then by version of the client API."""

    def of_method(self, path: str, version: str = "unknown") -> MethodCounters:
        """The counters of a method, made if need be; beyond a few versions all are `unknown`."""
        versions = self.methods.setdefault(path, {})
        found = versions.get(version)
        if found is None:
            if len(versions) >= MAX_CLIENT_VERSIONS:
                return self.of_method(path)
            found = versions[version] = MethodCounters()
        return found


class Statistics(NamedTuple):
    """A snapshot: two gauges, then totals since the server was made."""

    connections: int
    streams_open: int
    connections_accepted: int
    connections_refused: int
    calls: int
    bytes_received: int
    bytes_sent: int
