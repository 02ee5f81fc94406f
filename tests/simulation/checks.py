"""Everything that is checked while a run goes on; `history` checks the clients' view at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.raft_checks import LogChecks, RaftChecks, Violation
from tests.simulation.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pykvd.lease.lessor import Lessor
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

    def opened(self, process: Process, storage: Storage) -> None:
        """The disk was read."""
        self.raft.opened(process, storage)

    def started(self, process: Process) -> None:
        """The node of a new life is made; see what its state machine does from now on."""
        node = process.node
        self.loaded(process)
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
        node = process.node
        self.raft.applied(process, entries)
        self.truth.entry_applied(
            process.id,
            entries[-1].index,
            node.store.revision,
            _leases(node.lessor),
            self._world.scheduler.now,
        )

    def stepped(self, process: Process) -> None:
        """A process has finished a turn."""
        self.raft.stepped(process)

    def loaded(self, process: Process) -> None:
        """A member read its store's file; it must hold what others had at its applied index."""
        node, now = process.node, self._world.scheduler.now
        index = node.committer.index
        self.truth.loaded(process.id, index, node.store, _leases(node.lessor), now)

    def settled(self) -> None:
        """In the quiet phase all members have become equal, and one leads."""
        leader = self._world.leader()
        if leader is None:
            raise Violation("no leader although nothing is broken any more")
        ids = [member.id for member in leader.node.membership.in_order()]
        # One whose addition was committed only now has never been started.
        members = [self._world.members[each] for each in ids if each in self._world.members]
        applied = {process.id: process.node.committer.index for process in members}
        if set(applied.values()) != {self.raft.commit}:
            raise Violation(f"members stay apart: {applied} of {self.raft.commit} applied")
        for process in members:
            self.loaded(process)
            if not process.serving:
                raise Violation(f"m{process.id} does not serve clients")
        stores = [process.node.store for process in members]
        if len({store.compact_revision for store in stores}) > 1:
            raise Violation("members are compacted at different revisions")


def _leases(lessor: Lessor) -> tuple[int, ...]:
    return tuple(sorted(lessor.leases))
