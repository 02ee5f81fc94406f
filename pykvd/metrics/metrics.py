"""`Metrics`: everything that one server counts, gathered for a scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.metrics import calls
from pykvd.metrics.exposition import Family, render
from pykvd.metrics.health import HealthCounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.config import Config
    from pykvd.node.node import Node
    from pykvd.transport.statistics import Counters


class Metrics:
    """The metrics of one server; belongs to its event loop.

    `clients` are the counters of the listeners for clients, `health` is counted by whoever serves
    the health endpoints.
    """

    def __init__(self, node: Node, config: Config) -> None:
        self.clients: list[Counters] = []
        self.health = HealthCounts()
        self._node = node
        self._timed = config.metrics == "extensive"

    def render(self) -> bytes:
        """All metrics as they are now; `exposition.CONTENT_TYPE` says what it is."""
        return render(self._families())

    def _families(self) -> Iterator[Family]:
        yield from calls.families(self.clients, timed=self._timed)
        yield from self.health.families()
