"""The operator: adds, promotes and removes members while clients work and things break."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.cluster.membership import Action, Member
from pykvd.errors import RpcError

if TYPE_CHECKING:
    from tests.simulation.member import Process
    from tests.simulation.world import World

VOTERS_MAX = 5
CHANGE_TIMEOUT_SECONDS = 6.0


class Operator:
    """One change after the other, asked of any member; who is added is started."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng_for("operator")
        self._next_id = world.plan.size + 1
        self._change = 0

    def begin(self) -> None:
        """Make changes from now on."""
        self._world.scheduler.after(self._rng.uniform(1.0, 4.0), self._next)

    def _next(self) -> None:
        world = self._world
        self._change += 1
        if world.healed:
            return
        serving = [each for each in world.members.values() if each.serving and not each.gone]
        if serving:
            self._ask(self._rng.choice(serving), self._change)
        # Whoever was asked may be gone: do not wait for ever.
        number = self._change
        world.scheduler.after(
            CHANGE_TIMEOUT_SECONDS, lambda: self._next() if number == self._change else None
        )

    def _ask(self, process: Process, number: int) -> None:
        action, member = self._choose(process)
        self.ask(process, action, member, number)

    def ask(self, process: Process, action: Action, member: Member, number: int = -1) -> None:
        """Have a member make a change."""
        world = self._world
        words = (action.name.lower(), member.id, " as learner" if member.is_learner else "")
        world.note("m%d is asked to %s m%d%s", process.id, *words)
        world.count(f"member {action.name.lower()} asked")

        async def change() -> None:
            try:
                await process.node.change_member(action, member)
            except RpcError as error:
                world.note("%s of m%d failed: %s", action.name.lower(), member.id, error.message)
            else:
                world.note("%s of m%d is done", action.name.lower(), member.id)
                world.count(f"member {action.name.lower()}")
                self.start_missing(process)
            if number == self._change:
                world.scheduler.after(self._rng.uniform(0.1, 2.0), self._next)

        process.loop.run(lambda: process.loop.create_task(change()))

    def _choose(self, process: Process) -> tuple[Action, Member]:
        membership = process.node.membership
        voters = [member.id for member in membership.voters]
        learners = [each.id for each in membership.in_order() if each.is_learner]
        choices = []
        if len(voters) > 2:
            choices.append((Action.REMOVE, Member(self._rng.choice(voters), "", ())))
        if learners:
            choices.append((Action.PROMOTE, Member(self._rng.choice(learners), "", ())))
            choices.append((Action.REMOVE, Member(self._rng.choice(learners), "", ())))
        if len(voters) + len(learners) < VOTERS_MAX:
            added = self._next_id
            self._next_id += 1
            learner = self._rng.random() < 0.5
            choices.append((Action.ADD, Member(added, "", (f"http://m{added}",), (), learner)))
        return self._rng.choice(choices)

    def start_missing(self, process: Process) -> None:
        """Start those members, as `process` knows them, that never were."""
        for member in process.node.membership.in_order():
            if member.id not in self._world.members:
                self._world.add_member(member.id, process.node.membership.in_order())
