"""What goes wrong, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft import ProposalDropped

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.member import Process
    from tests.simulation.world import World


class Faults:
    """Draws faults one after the other until `heal`; the methods can also be called by a test."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng_for("faults")
        self._stopped = False
        self._kinds: dict[str, Callable[[], None]] = {
            "partition": self.partition,
            "one-way partition": self.cut_one_way,
            "isolate leader": self.isolate_leader,
            "flapping": self.flap,
            "crash": self.crash_one,
            "crash all": self.crash_all,
            "pause": self.pause_one,
            "pause leader": self.pause_leader,
            "slow disk": self.slow_disk,
            "stop": self.stop_one,
            "transfer": self.transfer,
            "bad network": self.bad_network,
        }

    def begin(self) -> None:
        """Let things go wrong from now on."""
        self._schedule()

    def _schedule(self) -> None:
        if self._world.plan.faults:
            delay = self._rng.expovariate(1 / self._world.plan.fault_interval)
            self._world.scheduler.after(delay, self._strike)

    def _strike(self) -> None:
        if not self._stopped:
            self.cause(self._rng.choice(self._world.plan.faults))
            self._schedule()

    def cause(self, kind: str) -> None:
        """One fault, by its name in `plan.FAULTS`."""
        self._world.count(kind)
        self._kinds[kind]()

    def heal(self) -> None:
        """No more faults; what is broken is mended."""
        self._stopped = True
        world = self._world
        world.note("healed")
        world.network.heal()
        conditions = world.network.conditions
        conditions.loss = conditions.duplication = conditions.straggler = 0.0
        conditions.jitter = min(conditions.jitter, 0.01)
        for process in world.members.values():
            if process.running and process.stopping:
                process.crash()
            process.disk.speed = world.plan.disk
            if process.running:
                process.loop.paused_until = 0.0
            process.start()

    def _later(self, work: Callable[[], None], *, longest: float = 3.0) -> None:
        """Do something after a while, unless all is healed by then."""
        delay = min(longest, self._rng.choice((0.2, 0.5, 1.5, 3.0)) * (0.5 + self._rng.random()))
        self._world.scheduler.after(delay, lambda: None if self._stopped else work())

    # Network

    def partition(self) -> None:
        """Split the members in two."""
        ids = list(self._world.members)
        self._rng.shuffle(ids)
        self._isolate(ids[: self._rng.randint(1, len(ids) - 1)])

    def isolate_leader(self) -> None:
        """Cut the leader off from the others."""
        leader = self._world.leader()
        if leader is not None:
            self._isolate([leader.id])

    def _isolate(self, group: list[int]) -> None:
        world = self._world
        others = [each for each in world.members if each not in group]
        world.note("cut %s from %s", group, others)
        world.network.cut(group, others)
        world.network.cut(others, group)
        self._later(self._mend)

    def cut_one_way(self) -> None:
        """One member no longer hears, or is no longer heard by, another or all others."""
        world = self._world
        one = self._rng.choice(list(world.members))
        others = [each for each in world.members if each != one]
        if self._rng.random() < 0.5:
            others = [self._rng.choice(others)]
        deaf = self._rng.random() < 0.5
        world.note("cut one way %s -> %s", *((others, one) if deaf else (one, others)))
        world.network.cut(*((others, [one]) if deaf else ([one], others)))
        self._later(self._mend)

    def flap(self) -> None:
        """Cut and mend a few times in short succession."""
        rng, world = self._rng, self._world
        one = rng.choice(list(world.members))
        others = [each for each in world.members if each != one]
        world.note("flapping links of m%d", one)

        def toggle(left: int, *, cut: bool) -> None:
            if self._stopped:
                return
            world.network.heal()
            if cut:
                world.network.cut([one], others)
                world.network.cut(others, [one])
            if left:
                delay = rng.uniform(0.05, 0.6)
                world.scheduler.after(delay, lambda: toggle(left - 1, cut=not cut))

        toggle(5, cut=True)

    def bad_network(self) -> None:
        """Lose, double and delay much for a while."""
        world = self._world
        conditions, planned = world.network.conditions, world.plan.network
        conditions.loss, conditions.duplication, conditions.straggler = 0.3, 0.2, 0.2
        world.note("bad network")

        def better() -> None:
            conditions.loss, conditions.duplication = planned.loss, planned.duplication
            conditions.straggler = planned.straggler

        self._later(better)

    def _mend(self) -> None:
        self._world.note("network mended")
        self._world.network.heal()

    # Processes and disks

    def _running(self) -> list[Process]:
        return [each for each in self._world.members.values() if each.running]

    def crash_one(self) -> None:
        """Power off one member, often the leader."""
        running = self._running()
        leader = self._world.leader()
        if running:
            some = leader if leader is not None and self._rng.random() < 0.4 else None
            self._crash(some or self._rng.choice(running))

    def crash_all(self) -> None:
        """Power off everything at once."""
        for process in self._running():
            self._crash(process, longest=0.5)

    def stop_one(self) -> None:
        """End one member as SIGTERM does, often the leader; it hands over first."""
        running = [each for each in self._running() if each.serving]
        leader = self._world.leader()
        if not running:
            return
        process = self._rng.choice(running)
        if leader is not None and leader.serving and self._rng.random() < 0.6:
            process = leader
        self._world.note("m%d is told to stop", process.id)
        process.stop()
        self._later(lambda: self._start(process))

    def _crash(self, process: Process, *, longest: float = 3.0) -> None:
        self._world.note("m%d crashes", process.id)
        process.crash()
        self._later(lambda: self._start(process), longest=longest)

    def _start(self, process: Process) -> None:
        self._world.note("m%d starts", process.id)
        process.start()

    def pause_one(self) -> None:
        """Stop a process for longer than an election takes, or shorter."""
        running = self._running()
        if running:
            self._pause(self._rng.choice(running))

    def pause_leader(self) -> None:
        """Stop the leader."""
        leader = self._world.leader()
        if leader is not None:
            self._pause(leader)

    def _pause(self, process: Process) -> None:
        seconds = self._rng.choice((0.3, 1.5, 3.0, 4.0))
        self._world.note("m%d pauses for %gs", process.id, seconds)
        process.pause(seconds)

    def slow_disk(self) -> None:
        """A member's disk takes long for everything."""
        process = self._rng.choice(list(self._world.members.values()))
        planned = self._world.plan.disk
        slow = type(planned)(sync=(0.05, 0.8), commit=(0.2, 2.0))
        self._world.note("m%d has a slow disk", process.id)
        process.disk.speed = slow

        def mend() -> None:
            process.disk.speed = planned

        self._later(mend)

    # Requests

    def transfer(self) -> None:
        """Ask the leader to hand over."""
        leader = self._world.leader()
        if leader is None:
            return
        target = self._rng.choice(list(self._world.members))
        self._world.note("m%d is asked to hand over to m%d", leader.id, target)

        def ask() -> None:
            try:
                leader.node.raft.transfer_leader(target)
            except ProposalDropped:
                return
            leader.node._driver.process()

        leader.loop.run(ask)
