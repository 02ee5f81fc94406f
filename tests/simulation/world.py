"""One run: a cluster, its clients, what goes wrong, and what was seen, all from one seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from pykvd.cluster.membership import Member
from pykvd.node.config import NodeConfig
from pykvd.node.storage import Identity
from pykvd.raft import MessageKind
from tests.simulation.administrator import Administrator
from tests.simulation.auth_check import check_auth
from tests.simulation.change_operator import Operator
from tests.simulation.checks import Checks
from tests.simulation.disaster import Disaster
from tests.simulation.disk import Disk
from tests.simulation.faults import Faults
from tests.simulation.history import check_history
from tests.simulation.lease_check import check_leases
from tests.simulation.loop import Scheduler
from tests.simulation.member import Process
from tests.simulation.network import Network
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.sources import simulated_sources
from tests.simulation.time_check import check_times
from tests.simulation.transfer_check import check_transfers
from tests.simulation.watch_client import WatchClient
from tests.simulation.worker import Worker

if TYPE_CHECKING:
    from pykvd.raft import Message
    from tests.simulation.operation import Operation

CLUSTER_ID = 0xC1
HEARTBEAT_SECONDS = 0.2
ELECTION_SECONDS = 1.2
REST_SECONDS = 3.0
"""How long the members may take in the end to apply the same, and watches to see it."""


class World:
    """A cluster on virtual time. `plan` is drawn from the seed unless given."""

    def __init__(self, seed: int, plan: Plan | None = None) -> None:
        self.seed = seed
        self.rng = self.rng_for("world")
        self.plan = plan or draw_plan(self.rng_for("plan"))
        self.scheduler = Scheduler()
        self.network = Network(self.scheduler, self.rng_for("network"), replace(self.plan.network))
        self.counts: Counter[str] = Counter()
        self.trace: list[tuple[float, str, tuple[Any, ...]]] = []
        self.checks = Checks(self)
        ids = range(1, self.plan.size + 1)
        self.members: dict[int, Process] = {}
        founders = [Member(member, "", (f"http://m{member}",)) for member in ids]
        for member in ids:
            self._make_member(member, founders, joining=False)
        self.faults = Faults(self)
        self.operator = Operator(self)
        self.history: list[Operation] = []
        self.next_number = 1
        self.healed = False
        self.end = float("inf")
        self.clients = [Worker(self, number) for number in range(1, self.plan.clients + 1)]
        self.administrator = Administrator(self)
        self.watches = [WatchClient(self, number) for number in range(1, self.plan.watchers + 1)]

    def rng_for(self, purpose: str) -> Random:
        """A source of chance of its own: more draws of one do not change those of another."""
        return self.rng_of(self.seed, purpose)

    @staticmethod
    def rng_of(seed: int, purpose: str) -> Random:
        """The same, before there is a world."""
        return Random(f"{seed}/{purpose}")

    def _make_member(self, member: int, members: list[Member], *, joining: bool) -> Process:
        plan = self.plan
        disk = Disk(self.rng_for(f"disk {member}"), plan.disk)
        disk.found(Identity(member, CLUSTER_ID), members, joining=joining)
        config = NodeConfig(
            name=f"m{member}",
            client_urls=(),
            heartbeat_interval=HEARTBEAT_SECONDS,
            election_timeout=ELECTION_SECONDS,
            pre_vote=plan.pre_vote,
            max_request_bytes=1 << 20,
            snapshot_count=plan.snapshot_count,
            snapshot_catchup=plan.snapshot_catchup,
            max_learners=2,
            strict_reconfig=False,
            batch_interval=0.1,
            batch_limit=50,
            compaction_batch=2,
            compaction_pause=0.01,
        )
        process = self.members[member] = Process(self, member, disk, config)
        process.rate = 1 + self.rng.uniform(-plan.clock_skew, plan.clock_skew)
        return process

    def add_member(self, member: int, members: list[Member]) -> None:
        """Have a member that was added start on an empty disk."""
        self.note("m%d starts for the first time", member)
        process = self._make_member(member, members, joining=True)
        self.scheduler.after(0.1, process.start)

    # The run

    def run(self) -> None:
        """Start, let faults happen and clients work, heal, check the whole. Raises Violation."""
        with simulated_sources(self.rng_for("sources")):
            try:
                self._work()
                self._calm_down()
                self._check()
            finally:
                self.close()

    def _work(self) -> None:
        for process in self.members.values():
            process.start()
        self.faults.begin()
        for client in self.clients:
            client.begin()
        for watch in self.watches:
            watch.begin()
        self.administrator.begin()
        if self.plan.disaster:
            Disaster(self).begin()
        if self.plan.membership:
            self.operator.begin()
        self.scheduler.run(self.plan.seconds)

    def _check(self) -> None:
        self.checks.settled()
        for watch in self.watches:
            watch.finish()
        commands = self.checks.commands
        check_history(self.history, self.checks.truth, commands.users)
        check_auth(self.history, commands.auth)
        check_times(self.history, commands.times, self.checks.truth.compacted)
        check_transfers(self.history, self.checks.raft)
        truth, now = self.checks.truth, self.scheduler.now
        check_leases(self.history, truth, self.plan, now, commands.corrupt_until)

    def _calm_down(self) -> None:
        """Mend everything, and give the cluster time."""
        self.end = end = self.scheduler.now + self.plan.quiet_seconds
        self.healed = True
        self.faults.heal()
        # A new member may need a request timeout to publish itself.
        self.scheduler.run(end - self.plan.quiet_seconds * 3 / 4)
        leader = self.leader()
        if leader is not None:
            self.operator.start_missing(leader)
        self.scheduler.run(end)
        # Leases go on being recorded, and ending: what was begun just now may yet be done.
        while not self._at_rest() and self.scheduler.now < end + REST_SECONDS:
            self.scheduler.run(self.scheduler.now + REST_SECONDS / 100)

    def _at_rest(self) -> bool:
        watched = not any(watch.missing() for watch in self.watches)
        return watched and self.checks.at_rest()

    def close(self) -> None:
        """End all processes."""
        for process in self.members.values():
            if process.running:
                process.loop.kill()

    def leader(self) -> Process | None:
        """The running member that leads the newest term."""
        leaders = [each for each in self.members.values() if each.running and each.node.is_leader]
        return max(leaders, key=lambda each: each.node.raft._raft.term, default=None)

    def disconnected(self, process: Process) -> None:
        """The connections of a process are gone."""
        for watch in self.watches:
            watch.disconnected(process)

    def take_number(self) -> int:
        """The number of the next operation."""
        self.next_number += 1
        return self.next_number - 1

    # What was seen

    def note(self, text: str, *values: object) -> None:
        """Add a line to the trace; formatted only when it is read."""
        self.trace.append((self.scheduler.now, text, values))

    def trace_message(self, message: Message) -> None:
        """Add the arrival of a message to the trace."""
        self.trace.append((self.scheduler.now, "", (message,)))

    def count(self, what: str) -> None:
        """Count something that happened, for the report on coverage."""
        self.counts[what] += 1

    def lines(self, *, messages: bool) -> list[str]:
        """The trace as text."""
        return [
            f"{when:8.4f}  {text % values if text else describe(values[0])}"
            for when, text, values in self.trace
            if text or messages
        ]


def describe(message: Message) -> str:
    """A message in a line."""
    parts = [f"m{message.sender} -> m{message.to} {message.kind.name} t{message.term}"]
    if message.kind in (MessageKind.APPEND, MessageKind.APPEND_RESPONSE, MessageKind.VOTE):
        parts.append(f"at {message.index}/t{message.log_term}")
    if message.entries:
        parts.append(f"+{len(message.entries)}")
    if message.commit:
        parts.append(f"commit {message.commit}")
    return " ".join(parts + ["rejected"] * message.reject)
