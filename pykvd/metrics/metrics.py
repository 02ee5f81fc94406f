"""`Metrics`: everything that one server counts, gathered for a scrape."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from pykvd.metrics.exposition import Family, counter, counters, labels, render
from pykvd.metrics.health import HealthCounts
from pykvd.metrics.process import LoopLag
from pykvd.node.consistency import CHECKS, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.config import Config
    from pykvd.node.consistency import ConsistencyMonitor
    from pykvd.node.node import Node
    from pykvd.node.prober import Prober
    from pykvd.transport.statistics import Counters


class Metrics:
    """The metrics of one server; belongs to its event loop.

    `clients` are the counters of the listeners for clients, `health` is counted by whoever serves
    the health endpoints.
    """

    def __init__(
        self, node: Node, config: Config, prober: Prober, monitor: ConsistencyMonitor
    ) -> None:
        self.clients: list[Counters] = []
        self.health = HealthCounts()
        self._prober = prober
        self._monitor = monitor
        self._node = node
        self._config = config
        self._lag = LoopLag()

    def start(self) -> None:
        """Begin to measure how late the loop is."""
        self._lag.start()

    def stop(self) -> None:
        """End that."""
        self._lag.stop()

    def render(self) -> bytes:
        """All metrics as they are now; `exposition.CONTENT_TYPE` says what it is."""
        return render(self._families())

    def _families(self) -> Iterator[Family]:
        # Not every server is asked.
        from pykvd.metrics import calls, network, process, server, storage  # noqa: PLC0415

        timed = self._config.metrics == "extensive"
        yield from calls.families(self.clients, timed=timed)
        yield from server.families(self._node, self._config)
        yield from storage.families(self._node, self.clients)
        yield from network.families(self._node, self._prober)
        yield from self._comparisons()
        yield from process.families()
        yield from self.health.families()
        yield from self._lag.families()

    def _comparisons(self) -> Iterator[Family]:
        """Of members with each other, which the leader makes."""
        yield counters(
            "pykvd_consistency_checks_total",
            "Comparisons of this member, as leader, with the others.",
            (
                (labels(check=check, outcome=outcome), self._monitor.outcomes[check, outcome])
                for check, outcome in product(CHECKS, OUTCOMES)
            ),
        )
        yield counter(
            "pykvd_consistency_passes_total",
            "Times that all stored records were read and compared.",
            self._monitor.passes,
        )
