"""What a member does beside serving: compaction on its own, probes of the others, measurements."""

from pykvd.config import Config
from pykvd.metrics import Metrics
from pykvd.node.autocompaction import AutoCompactor
from pykvd.node.node import Node
from pykvd.node.prober import Prober


class Upkeep:
    """The background work of one member; made before it listens to others, who may ask it."""

    def __init__(self, node: Node, config: Config) -> None:
        self._compactor = AutoCompactor(
            node, config.auto_compaction_mode, config.compaction_retention
        )
        self._prober = Prober(node)
        self.metrics = Metrics(node, config, self._prober)

    def start(self) -> None:
        """Begin; the node has started."""
        self._compactor.start()
        self._prober.start()
        self.metrics.start()

    def stop(self) -> None:
        """End all of it."""
        self._compactor.stop()
        self._prober.stop()
        self.metrics.stop()
