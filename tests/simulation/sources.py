"""Replaces the sources of chance, time and files that the node takes from its modules."""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pykvd.api.auth as auth_module
import pykvd.api.lease as lease_module
import pykvd.api.watch as watch_module
import pykvd.node.leases as keeper_module
import pykvd.node.node as node_module
import pykvd.node.proposals as proposals_module
import pykvd.node.raft_core as core_module
import pykvd.node.reconfigurer as reconfigurer_module
import pykvd.node.shipper as shipper_module
from pykvd.node.storage import APPLIED, APPLIED_KEY, CONF_STATE_KEY
from pykvd.raft import ConfState
from tests.simulation.loop import ProcessLoop
from tests.simulation.member import current_disk
from tests.simulation.watch_client import WINDOW_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CHECKPOINT_SECONDS = 1.0
"""So short that leases are recorded within a run."""


class _Clock:
    """Stands in for the module `time`: the clock of the machine that asks."""

    @staticmethod
    def time_ns() -> int:
        return cast(ProcessLoop, asyncio.get_running_loop()).time_of_day()


class _Chance:
    """Stands in for the modules `random` and `secrets`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.random = rng.random
        self.choice = rng.choice

    def Random(self) -> random.Random:
        return random.Random(self._rng.getrandbits(64))


class _TemporaryDirectories:
    """Stands in for `tempfile` and `shutil`: directories of the simulated disk."""

    @staticmethod
    def mkdtemp(prefix: str, dir: Path) -> str:  # noqa: A002
        return str(current_disk().incoming().with_suffix(f".{prefix}"))

    @staticmethod
    def rmtree(directory: Path) -> None:
        files = current_disk().files_by_path
        for path in [path for path in files if path.is_relative_to(directory)]:
            del files[path]


def _read_state(directory: Path) -> tuple[tuple[int, int], ConfState]:
    """As `pykvd.node.storage.read_state`."""
    meta = dict(current_disk().files_by_path[directory / "data.mdb"].table("meta"))
    index, term = APPLIED.unpack(meta[APPLIED_KEY])
    return (index, term), ConfState.decode(meta[CONF_STATE_KEY])


@contextmanager
def simulated_sources(rng: random.Random) -> Iterator[None]:
    """While it lasts, nodes draw from `rng`, and their loop gives them time and a disk."""
    chance = _Chance(rng)
    replacements: list[tuple[Any, str, object]] = [
        (auth_module, "secrets", chance),
        (lease_module, "time", _Clock),
        (node_module, "CHECKPOINT_INTERVAL", CHECKPOINT_SECONDS),
        (keeper_module, "CHECKPOINT_INTERVAL", CHECKPOINT_SECONDS),
        (proposals_module, "time", _Clock),
        (reconfigurer_module, "time", _Clock),
        (core_module, "random", chance),
        (watch_module, "random", chance),
        (watch_module, "CONGESTED_BYTES", WINDOW_BYTES),
        (shipper_module, "tempfile", _TemporaryDirectories),
        (shipper_module, "shutil", _TemporaryDirectories),
        (shipper_module, "read_state", _read_state),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in replacements]
    for module, name, value in replacements:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
