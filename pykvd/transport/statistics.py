"""Counters of a server."""

from dataclasses import dataclass


class Counters:
    """Running totals, shared by all connections of a server. Only ever grow."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "calls",
        "connections_accepted",
        "connections_refused",
    )

    def __init__(self) -> None:
        self.connections_accepted = 0
        self.connections_refused = 0
        self.calls = 0
        self.bytes_received = 0
        self.bytes_sent = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot: two gauges, then totals since the server was made."""

    connections: int
    streams_open: int
    connections_accepted: int
    connections_refused: int
    calls: int
    bytes_received: int
    bytes_sent: int
