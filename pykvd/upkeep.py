"""What a member does beside serving: compaction on its own, comparisons, probes, measurements."""

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from pykvd.api.services import Services
from pykvd.config import Config
from pykvd.logs import get_logger
from pykvd.metrics import Metrics
from pykvd.node.autocompaction import AutoCompactor
from pykvd.node.consistency import ConsistencyMonitor
from pykvd.node.node import Node
from pykvd.node.prober import Prober

if TYPE_CHECKING:
    from pykvd.tracing import CallTracer

_MEBIBYTE = 1 << 20
_log = get_logger("server")


class Upkeep:
    """The background work of one member; made before it listens to others, who may ask it."""

    def __init__(self, node: Node, config: Config) -> None:
        self._node = node
        self._config = config
        gates = config.feature_gates
        self._compactor = AutoCompactor(
            node, config.auto_compaction_mode, config.compaction_retention
        )
        self._prober = Prober(node)
        self._monitor = ConsistencyMonitor(
            node,
            hash_interval=config.corrupt_check_time,
            compact_hash_interval=(
                config.compact_hash_check_time if gates.enabled("CompactHashCheck") else 0.0
            ),
        )
        self.metrics = Metrics(node, config, self._prober, self._monitor)
        self._tracer = _make_tracer(config) if config.enable_distributed_tracing else None

    def traced(self, services: Services) -> Services:
        """The services, with spans for sampled calls where that is asked for."""
        if self._tracer is None:
            return services
        unary, streams = self._tracer.unary(services.unary), self._tracer.streams(services.streams)
        return replace(services, unary=unary, streams=streams)

    async def prepare(self) -> None:
        """What comes before the member takes part. Raises StorageMismatchError."""
        await self._defragment_if_worth_it()
        if self._config.feature_gates.enabled("InitialCorruptCheck"):
            self._node.reach_members()
            await self._monitor.check_at_start()

    async def _defragment_if_worth_it(self) -> None:
        """Defragment when that frees `--bootstrap-defrag-threshold-megabytes` or more."""
        threshold = self._config.bootstrap_defrag_threshold_megabytes * _MEBIBYTE
        backend = self._node.store.backend
        free = backend.size - backend.size_in_use
        if not 0 < threshold <= free:
            return
        before = backend.size
        await backend.defragment()
        _log.info("defragmented before the start", before=before, after=backend.size)

    def start(self) -> None:
        """Begin; the node has started."""
        self._compactor.start()
        self._prober.start()
        self._monitor.start()
        self.metrics.start()

    def stop(self) -> None:
        """End all of it."""
        self._compactor.stop()
        self._prober.stop()
        self._monitor.stop()
        self.metrics.stop()
        if self._tracer:
            self._tracer.close()


def _make_tracer(config: Config) -> "CallTracer":
    """Raises ConfigError where the packages are missing."""
    from pykvd.tracing import CallTracer, make_provider  # noqa: PLC0415 - heavy, and rarely used

    rate = config.distributed_tracing_sampling_rate
    return CallTracer(make_provider(config), rate, random.Random())
