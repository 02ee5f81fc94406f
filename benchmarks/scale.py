"""Memory and restart time with a million small keys."""

import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.servers import fresh_server
from benchmarks.workload import Figures, Row
from benchmarks.workloads import dataset

_VALUE_SIZE = 64
_SETTLE_SECONDS = 2.0
_MEGABYTE = 1e6

LOADED = Row("memory-loaded", "resident memory, {} keys of 64 B just put", "MB", False, 1.0)
RESTART = Row("restart", "start to first Range with {} keys of 64 B", "s", False, 1.0)
RESTARTED = Row("memory-restarted", "resident memory after that restart", "MB", False, 1.0)
ANONYMOUS = Row("memory-restarted-anonymous", "of it not pages of mapped files", "MB", False)

ROWS = (LOADED, RESTART, RESTARTED, ANONYMOUS)


@dataclass(frozen=True, slots=True)
class Scale:
    """A store of `keys` keys of 20 bytes with values of 64 bytes."""

    keys: int

    def measure(self, name: str, data_root: Path) -> dict[str, Figures]:
        """Fill a fresh server, restart it, and look at it twice; figures by row name."""
        with fresh_server(name, data_root) as server:
            server.start()
            uvloop.run(dataset.load(server.port, self.keys, _VALUE_SIZE))
            time.sleep(_SETTLE_SECONDS)
            loaded = server.memory()
            server.stop()
            seconds = server.start()
            time.sleep(_SETTLE_SECONDS)
            restarted = server.memory()
        return {
            LOADED.name: Figures(loaded.total / _MEGABYTE),
            RESTART.name: Figures(seconds),
            RESTARTED.name: Figures(restarted.total / _MEGABYTE),
            ANONYMOUS.name: Figures(restarted.anonymous / _MEGABYTE),
        }
