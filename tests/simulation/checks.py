"""Everything that is checked while a run goes on; `history` checks the clients' view at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.command_check import CommandChecks
from tests.simulation.raft_checks import LogChecks, RaftChecks, Violation
from tests.simulation.state import State
from tests.simulation.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pykvd.mvcc.store import Event
    from pykvd.node.storage import Storage
    from pykvd.raft import Entry
    from tests.simulation.member import Process
    from tests.simulation.world import World


class Checks:
    """Told by the processes what they do."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.raft = RaftChecks()
        self.truth = Truth()
        self.commands = CommandChecks(world)

    def opened(self, process: Process, storage: Storage) -> None:
        """The disk was read."""
        self.raft.opened(process, storage)

    def started(self, process: Process) -> None:
        """The node of a new life is made; see what its state machine does from now on."""
        node = process.node
        self.loaded(process)
        self.commands.watch(process)
        watches = node.applier.notify

        def notify(revision: int, events: list[Event]) -> None:
            self.truth.applied(process.id, revision, events)
            watches(revision, events)

        node.applier.notify = notify
        sweep = node.applier.compacted

        def compacted() -> None:
            self.truth.compacted = max(self.truth.compacted, node.store.compact_revision)
            self._world.count("compacted")
            sweep()

        node.applier.compacted = compacted

    def log_of(self, process: Process) -> LogChecks:
        """Who watches over the log of a process."""
        return self.raft.log_of(process)

    def applied(self, process: Process, entries: Sequence[Entry]) -> None:
        """Entries are applied."""
        self.raft.applied(process, entries)
        self.entry_applied(process, entries[-1].index)

    def entry_applied(self, process: Process, index: int) -> None:
        """A member has applied an entry, and nothing behind it yet."""
        state = State.of(process.node.applier)
        self.truth.entry_applied(process.id, index, state, self._world.scheduler.now)

    def stepped(self, process: Process) -> None:
        """A process has finished a turn."""
        self.raft.stepped(process)

    def loaded(self, process: Process) -> None:
        """A member read its store's file; it must hold what others had at its applied index."""
        node, now = process.node, self._world.scheduler.now
        index = node.committer.index
        self.truth.loaded(process.id, index, node.store, State.of(node.applier), now)

    def _members(self) -> list[Process]:
        """The members as the leader knows them, if there is one."""
        leader = self._world.leader()
        if leader is None:
            return []
        ids = [member.id for member in leader.node.membership.in_order()]
        # One whose addition was committed only now has never been started.
        return [self._world.members[each] for each in ids if each in self._world.members]

    def at_rest(self) -> bool:
        """Whether all members have applied everything."""
        members = self._members()
        return {process.node.committer.index for process in members} == {self.raft.commit}

    def settled(self) -> None:
        """In the quiet phase all members have become equal, and one leads."""
        members = self._members()
        if not members:
            raise Violation("no leader although nothing is broken any more")
        applied = {process.id: process.node.committer.index for process in members}
        if set(applied.values()) != {self.raft.commit}:
            raise Violation(f"members stay apart: {applied} of {self.raft.commit} applied")
        for process in members:
            self.loaded(process)
            if not process.serving:
                raise Violation(f"m{process.id} does not serve clients")
