"""All members but one are lost for good, and the one goes on alone (--force-new-cluster)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.cluster.membership import Member
from pykvd.node.storage import APPLIED, APPLIED_KEY

if TYPE_CHECKING:
    from tests.simulation.member import Process
    from tests.simulation.world import World

RETRY_SECONDS = 0.5


def lose_all_but(left: Process) -> None:
    """Power off everything, but one member for good."""
    world = left.world
    world.note("all but m%d are lost", left.id)
    world.count("disaster")
    for process in world.members.values():
        process.crash()
        process.gone = process is not left
    world.checks.raft.forget_others()


class Disaster:
    """Strikes once. Who is left has everything that was committed, or nothing could be promised."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng_for("disaster")

    def begin(self) -> None:
        """Strike in the second half of the run."""
        when = self._world.plan.seconds * self._rng.uniform(0.5, 0.9)
        self._world.scheduler.after(when, self._strike)

    def _strike(self) -> None:
        if self._world.healed:
            return
        able = [each for each in self._world.members.values() if self._has_all(each)]
        if able:
            self._leave(self._rng.choice(able))
        else:
            self._world.scheduler.after(RETRY_SECONDS, self._strike)

    def _has_all(self, process: Process) -> bool:
        """Whether a member's disk has every committed entry."""
        checks = self._world.checks
        members = {Member.decode(each).id for each in checks.truth.newest.members}
        meta = dict(process.disk.environment.table("meta"))
        applied, _ = APPLIED.unpack(meta[APPLIED_KEY])
        commit = checks.raft.commit
        term = checks.raft.log_of(process).durable_term(commit)
        has_it = applied >= commit or term == checks.raft.committed[commit][0]
        return process.id in members and has_it and not process.gone

    def _leave(self, left: Process) -> None:
        """Only one comes back, after some accidents."""
        world, rng = self._world, self._rng
        lose_all_but(left)
        for _ in range(rng.choice((0, 1, 2))):
            left.start_torn()
        if rng.random() < 0.3:
            left.start()
            world.scheduler.after(rng.uniform(0.0, 2.0), lambda: self._restart(left, 2))
        else:
            self._restart(left, 2)

    def _restart(self, left: Process, times: int) -> None:
        """Start with the flag; crash soon, and start again with it or without."""
        world, rng = self._world, self._rng
        if times < 2 and world.healed:
            return
        left.crash()
        left.forced = times == 2 or rng.random() < 0.5
        world.note("m%d starts%s", left.id, " with --force-new-cluster" * left.forced)
        world.faults.heal()
        left.start()
        if times:
            delay = rng.choice((0.001, 0.01, 0.1, 1.0)) * rng.random()
            world.scheduler.after(delay, lambda: self._restart(left, times - 1))
