"""The network between members and from clients to members: slow, lossy, cut in any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from tests.simulation.loop import Scheduler


@dataclass(slots=True)
class NetworkConditions:
    """How bad the network is; times in seconds, the others are probabilities of a message."""

    delay: float = 0.002
    jitter: float = 0.005
    straggler: float = 0.0
    straggler_delay: float = 0.5
    loss: float = 0.0
    duplication: float = 0.0


class Network:
    """Carries calls of `deliver` from one address to another; no order is kept."""

    def __init__(self, scheduler: Scheduler, rng: Random, conditions: NetworkConditions) -> None:
        self.conditions = conditions
        self.counts = {"sent": 0, "lost": 0, "cut": 0, "duplicated": 0, "straggled": 0}
        self._scheduler = scheduler
        self._rng = rng
        self._cut: set[tuple[int, int]] = set()

    def cut(self, sources: Iterable[int], targets: Iterable[int]) -> None:
        """Nothing passes from any of `sources` to any of `targets` from now on."""
        targets = list(targets)
        self._cut.update((source, target) for source in sources for target in targets)

    def heal(self) -> None:
        """Everything passes again."""
        self._cut.clear()

    def passes(self, source: int, target: int) -> bool:
        """Whether the way is not cut."""
        return (source, target) not in self._cut

    def send(
        self,
        source: int,
        target: int,
        deliver: Callable[[], None],
        lost: Callable[[], None] | None = None,
        *,
        transfer: float = 0.0,
        once: bool = False,
    ) -> None:
        """Deliver once, never or (but with `once`) twice; `lost` may be told when it is never.

        `transfer` seconds are added for the size of what is sent.
        """
        rng, conditions = self._rng, self.conditions
        self.counts["sent"] += 1
        luck = rng.random()
        if luck < conditions.loss:
            self.counts["lost"] += 1
            self._report(lost)
            return
        self._after(self._delay() + transfer, source, target, deliver, lost)
        if luck > 1 - conditions.duplication and not once:
            self.counts["duplicated"] += 1
            self._after(self._delay() + transfer, source, target, deliver, None)

    def _delay(self) -> float:
        rng, conditions = self._rng, self.conditions
        delay = conditions.delay + rng.random() * conditions.jitter
        if conditions.straggler and rng.random() < conditions.straggler:
            self.counts["straggled"] += 1
            delay += rng.random() * conditions.straggler_delay
        return delay

    def _after(
        self,
        delay: float,
        source: int,
        target: int,
        deliver: Callable[[], None],
        lost: Callable[[], None] | None,
    ) -> None:
        def arrive() -> None:
            # A cut also takes what is on its way.
            if self._cut and (source, target) in self._cut:
                self.counts["cut"] += 1
                self._report(lost)
            else:
                deliver()

        self._scheduler.after(delay, arrive)

    def _report(self, lost: Callable[[], None] | None) -> None:
        if lost is not None:
            self._scheduler.after(self._delay(), lost)
