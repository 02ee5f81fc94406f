"""What a run is made of: every choice is drawn from its seed.

Each run has its own mix (swarm testing, Groce et al., ISSTA 2012): a mean of all faults would
rarely be extreme, and some bugs only show while others keep quiet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulation.disk import DiskSpeed
from tests.simulation.network import NetworkConditions

if TYPE_CHECKING:
    from random import Random

FAULTS = (
    "partition",
    "one-way partition",
    "isolate leader",
    "flapping",
    "crash",
    "crash all",
    "pause",
    "pause leader",
    "slow disk",
    "stop",
    "transfer",
    "bad network",
)
"""What may go wrong; `faults` has a method for each."""


@dataclass(slots=True)
class Plan:
    """Times in virtual seconds."""

    size: int = 3
    seconds: float = 12.0
    """How long faults happen and clients work."""
    quiet_seconds: float = 12.0
    """How long the cluster has, without faults, to elect a leader and agree."""
    faults: tuple[str, ...] = ()
    fault_interval: float = 1.5
    network: NetworkConditions = field(default_factory=NetworkConditions)
    disk: DiskSpeed = field(default_factory=DiskSpeed)
    clock_skew: float = 0.0
    """Clocks run at 1 - skew .. 1 + skew."""
    snapshot_count: int = 1000
    """Entries after which the log is released."""
    snapshot_catchup: int = 5
    """Entries that are kept then for followers that lag a little."""
    pre_vote: bool = True
    clients: int = 3
    think_seconds: float = 0.3
    keys: int = 4
    watchers: int = 2
    compaction: bool = False
    membership: bool = False
    users: tuple[str, ...] = ()
    """Auth is turned on, and clients are these users."""
    token_seconds: int = 300
    """How long a token lives that nobody uses."""
    quota_bytes: int = 0
    """What the store may hold before the alarm; 0 is no limit."""
    wall_skew: float = 0.0
    """Seconds by which the time of day of a process is wrong at most."""
    disaster: bool = False
    """Whether all members but one are lost in the end (--force-new-cluster)."""
    weights: dict[str, float] = field(default_factory=dict)
    """How often clients do what, by name of the operation."""


def draw_plan(rng: Random) -> Plan:
    """A random mix."""
    kinds = rng.sample(FAULTS, rng.choice((1, 2, 3, 5, len(FAULTS))))
    pre_vote = rng.random() < 0.8
    return Plan(
        size=rng.choice((3, 3, 3, 5)),
        seconds=rng.choice((6.0, 9.0, 12.0)),
        faults=tuple(sorted(kinds)),
        fault_interval=rng.choice((1.0, 2.0, 4.0)),
        network=_draw_network(rng),
        disk=_draw_disk(rng),
        # Without pre-votes a member whose log is old and whose clock is fast keeps the others
        # from electing anybody, for longer than the quiet phase may be.
        clock_skew=rng.choice((0.0, 0.02, 0.2 if pre_vote else 0.02)),
        snapshot_count=rng.choice((5, 20, 1000)),
        snapshot_catchup=rng.choice((0, 5, 50)),
        pre_vote=pre_vote,
        clients=rng.choice((2, 3, 5)),
        think_seconds=rng.choice((0.1, 0.3, 0.5)),
        keys=rng.choice((2, 4, 8)),
        watchers=rng.choice((1, 2, 3)),
        compaction=rng.random() < 0.5,
        membership=rng.random() < 0.3,
        users=rng.choice(((), (), ("u1",), ("u1", "u2"))),
        token_seconds=rng.choice((2, 300)),
        quota_bytes=rng.choice((0, 0, 0, 1500, 4000)),
        wall_skew=rng.choice((0.0, 0.1, 5.0)),
        disaster=rng.random() < 0.1,
        weights=_draw_weights(rng),
    )


def _draw_weights(rng: Random) -> dict[str, float]:
    often = {name: rng.choice((0.2, 1.0, 3.0)) for name in ("put", "get", "delete", "txn", "lease")}
    rare = {name: rng.choice((0.0, 0.0, 1.0)) for name in ("alarm", "downgrade", "move")}
    return often | rare | {"time": rng.choice((0.0, 0.5))}


def _draw_network(rng: Random) -> NetworkConditions:
    return NetworkConditions(
        delay=rng.choice((0.001, 0.01)),
        jitter=rng.choice((0.001, 0.01, 0.1)),
        straggler=rng.choice((0.0, 0.0, 0.02)),
        straggler_delay=rng.choice((0.5, 2.0)),
        loss=rng.choice((0.0, 0.0, 0.01, 0.1)),
        duplication=rng.choice((0.0, 0.0, 0.05)),
    )


def _draw_disk(rng: Random) -> DiskSpeed:
    return DiskSpeed(
        sync=rng.choice(((0.0005, 0.002), (0.001, 0.02), (0.01, 0.1))),
        commit=rng.choice(((0.005, 0.02), (0.05, 0.3))),
        at_once=rng.choice((0.0, 0.5, 1.0)),
    )
