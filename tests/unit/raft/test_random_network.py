"""Clusters on a network and disks that do their worst, step by random step.

Checked after every step (figure 3 of the paper): election safety, log matching, leader
completeness and state machine safety; that reads are linearizable and membership changes go one
by one. In the end the faults stop, and the cluster must elect a leader and agree.
"""

from __future__ import annotations

import contextlib
import random

import pytest

from pykvd.raft import (
    ConfChange,
    ConfChangeError,
    ConfChangeKind,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfState,
    Entry,
    EntryKind,
    Message,
    ProposalDropped,
    RaftConfig,
    Role,
    decode_message,
    encode_message,
)
from tests.unit.raft.checker import Checker, SafetyViolation
from tests.unit.raft.member import Disk, Member, chain

SEEDS = 200
STEPS = 2000
TRANSITIONS = tuple(ConfChangeTransition)


class World:
    """Members, the messages between them and the random source of one run."""

    def __init__(self, seed: int, *, promises_wait: bool = True) -> None:
        self.rng = random.Random(seed)
        # Each run has its own mix of faults: a mean of all of them would rarely be extreme.
        self.loss = self.rng.choice((0.02, 0.1, 0.3))
        self.disk_speed = self.rng.choice((0.3, 0.6, 0.9))
        self.weights = (
            *(40, 120, self.rng.choice((8, 15, 30)), 8, 6),
            *(self.rng.choice((0.1, 1, 3)), self.rng.choice((0.5, 1, 3))),
        )
        self.operations = self.rng.choice(
            (
                (self.partition,),
                (self.partition, self.compact),
                (self.partition, self.compact, self.transfer, self.change),
                (self.partition, self.compact, self.transfer, self.change),
            )
        )
        self.checker = Checker()
        self.network: list[Message] = []
        self.cut: set[int] = set()
        self.healing = 0
        self.promises_wait = promises_wait
        self.proposals = 0
        size = self.rng.choice((3, 3, 4, 5))
        self.spare = size + 1
        voters = tuple(range(1, size + 1))
        pre_vote, check_quorum = self.rng.random() < 0.5, self.rng.random() < 0.5
        self.members = {
            node: self._member(
                node, voters if node <= size else (), pre_vote=pre_vote, check_quorum=check_quorum
            )
            for node in (*voters, self.spare)
        }

    def _member(
        self, node: int, voters: tuple[int, ...], *, pre_vote: bool, check_quorum: bool
    ) -> Member:
        config = RaftConfig(
            id=node,
            election_ticks=6,
            pre_vote=pre_vote,
            check_quorum=check_quorum,
            max_inflight_messages=4,
            max_message_bytes=150,
        )
        disk = Disk()
        if voters:
            # As every first member has it: one committed entry that makes the configuration.
            conf = ConfState(voters=voters)
            add = tuple(ConfChangeSingle(ConfChangeKind.ADD_VOTER, voter) for voter in voters)
            entry = Entry(1, 1, EntryKind.CONF_CHANGE, ConfChange(add).encode())
            digest = chain(0, entry)
            self.checker.digests[1] = digest
            self.checker.committed[1] = self.checker.committed_in[1] = self.checker.commit = 1
            disk.entries = [entry]
            disk.hard_state = disk.hard_state._replace(term=1, commit=1)
            disk.store = disk.store._replace(index=1, term=1, conf_state=conf, data=b"%d" % digest)
        return Member(config, disk, self.rng)

    # Events

    def step(self) -> None:
        """One random event, and the checks."""
        self.healing -= 1
        if self.healing == 0:
            self.cut = set()
        member = self.rng.choice(list(self.members.values()))
        event = self.rng.choices(
            (
                *(self.deliver, self.work, self.tick, self.propose, self.read),
                *(self.crash, self.operate),
            ),
            self.weights,
        )[0]
        event(member)

    def operate(self, member: Member) -> None:
        """One of the rarer events."""
        self.rng.choice(self.operations)(member)

    def deliver(self, _member: Member) -> None:
        """A few messages arrive."""
        for _ in range(min(len(self.network), self.rng.randrange(1, 8))):
            self._deliver_one()

    def _deliver_one(self) -> None:
        """A message arrives, in any order, perhaps twice, perhaps not at all."""
        position = self.rng.randrange(min(len(self.network), 6))
        luck = self.rng.random()
        message = self.network[position] if luck < 0.05 else self.network.pop(position)
        lost = luck > 1 - self.loss or message.to in self.cut or message.sender in self.cut
        if lost or message.to not in self.members:
            self._report_lost(message)
            return
        target = self.members[message.to]
        target.node.step(decode_message(encode_message(message)))
        if message.snapshot is not None and message.sender in self.members:
            self.members[message.sender].node.report_snapshot(message.to, True)

    def _report_lost(self, message: Message) -> None:
        sender = self.members.get(message.sender)
        if sender is None:
            return
        if message.snapshot is not None:
            sender.node.report_snapshot(message.to, False)
        elif self.rng.random() < 0.3:
            sender.node.report_unreachable(message.to)

    def work(self, member: Member) -> None:
        """A Ready is taken, or one reaches the disk."""
        while member.unpersisted and self.rng.random() < self.disk_speed:
            member.persist()
        if member.node.has_ready():
            ready = member.take_ready()
            if not self.promises_wait:
                member.outbox += ready.persisted_messages
            self.checker.ready(member)
        self._collect(member)

    def _collect(self, member: Member) -> None:
        self.checker.ready(member)
        self.network += member.outbox
        member.outbox = []

    def tick(self, member: Member) -> None:
        """Time passes for all, or races on one member's clock."""
        if self.rng.random() < 0.8:
            for each in self.members.values():
                each.node.tick()
            return
        for _ in range(self.rng.randrange(1, 12)):
            member.node.tick()

    def propose(self, member: Member) -> None:
        """A client writes."""
        try:
            self.proposals += 1
            member.node.propose(b"%d" % self.proposals * self.rng.randrange(1, 12))
        except ProposalDropped:
            pass

    def read(self, member: Member) -> None:
        """A client reads; it must see all that was committed before."""
        context = b"%d" % self.rng.getrandbits(48)
        try:
            member.node.read_index(context)
            self.checker.read_requested(context)
        except ProposalDropped:
            pass

    def crash(self, member: Member) -> None:
        """Lose memory, and what was on its way to the disk: all, some, or only the news of it."""
        while member.unpersisted and self.rng.random() < 0.5:
            member.disk.write(member.unpersisted.popleft())
        if member.unpersisted and member.unpersisted[0].snapshot is None:
            torn = list(member.unpersisted[0].entries)
            member.disk.append(torn[: self.rng.randrange(len(torn) + 1)])
        member.restart()

    def partition(self, _member: Member) -> None:
        """Cut some members off for a while."""
        self.cut = set(self.rng.sample(list(self.members), self.rng.randrange(1, 3)))
        self.healing = self.rng.randrange(50, 900)

    def compact(self, member: Member) -> None:
        """Save the state machine and shorten the log."""
        member.compact(member.applied - self.rng.randrange(3))

    def transfer(self, member: Member) -> None:
        """An operator wants another leader."""
        with contextlib.suppress(ProposalDropped):
            member.node.transfer_leader(self.rng.choice(list(self.members)))

    def change(self, member: Member) -> None:
        """An operator changes the membership, one or two nodes at a time."""
        count = self.rng.choice((1, 1, 2))
        add, learn = ConfChangeKind.ADD_VOTER, ConfChangeKind.ADD_LEARNER
        kinds = (add, add, add, learn, ConfChangeKind.REMOVE)
        nodes = self.rng.sample(list(self.members), count)
        changes = tuple(ConfChangeSingle(self.rng.choice(kinds), node) for node in nodes)
        with contextlib.suppress(ProposalDropped, ConfChangeError):
            member.node.propose_conf_change(ConfChange(changes, self.rng.choice(TRANSITIONS)))

    # The end

    def settle(self) -> None:
        """No more faults: within bounds there is a leader, all agree, and all serve requests."""
        self.cut = set()
        for _round in range(120):
            for member in self.members.values():
                member.node.tick()
            for _ in range(6):
                self._quiet_exchange()
            self._leave_joint_configurations()
            if leader := self._agreed():
                self._serve_all(leader)
                return
        raise SafetyViolation("no agreement after the faults stopped")

    def _serve_all(self, leader: Member) -> None:
        """A write and a read through every member of the leader's cluster."""
        crowd = [self.members[node] for node in leader.node.status().conf_state.members()]
        before = leader.applied
        contexts = [b"last %d" % member.config.id for member in crowd]
        for member, context in zip(crowd, contexts, strict=True):
            member.node.propose(b"last")
            member.node.read_index(context)
            self.checker.read_requested(context)
        for _ in range(10):
            self._quiet_exchange()
        if any(member.applied != before + len(crowd) for member in crowd):
            raise SafetyViolation("a write after the faults was not applied everywhere")
        if any(context in self.checker.reads for context in contexts):
            raise SafetyViolation("a read after the faults was not answered")

    def _quiet_exchange(self) -> None:
        for member in self.members.values():
            while member.node.has_ready() or member.unpersisted:
                if member.node.has_ready():
                    member.take_ready()
                    self.checker.ready(member)
                while member.unpersisted:
                    member.persist()
            self._collect(member)
        messages, self.network = self.network, []
        for message in messages:
            self.members[message.to].node.step(message)
            if message.snapshot is not None:
                self.members[message.sender].node.report_snapshot(message.to, True)

    def _leave_joint_configurations(self) -> None:
        for member in self.members.values():
            if member.is_leader and member.conf_state.is_joint:
                with contextlib.suppress(ProposalDropped):
                    member.node.propose_conf_change(ConfChange())

    def _agreed(self) -> Member | None:
        """The leader, if all members of its cluster have all of its log."""
        for leader in self.members.values():
            status = leader.node.status()
            if status.role is not Role.LEADER or leader.applied < self.checker.commit:
                continue
            crowd = [self.members[node] for node in status.conf_state.members()]
            if status.transferee or status.conf_state.is_joint:
                continue
            level = all(m.applied == leader.applied == status.last_index for m in crowd)
            if level and all(m.node.leader == status.id for m in crowd):
                return leader
        return None


def run(world: World) -> World:
    for _ in range(STEPS):
        world.step()
    world.settle()
    return world


def check_seeds(seeds: range) -> None:
    """Run all seeds; the failing one is named."""
    progress = answered = 0
    for seed in seeds:
        try:
            world = run(World(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        progress += world.checker.commit
        answered += world.checker.answered
    # The faults leave room for work, or nothing would have been tested.
    assert progress > 8 * len(seeds)
    assert answered > len(seeds)


@pytest.mark.parametrize("block", range(10))
def test_every_promise_is_kept(block: int) -> None:
    check_seeds(range(block * SEEDS // 10, (block + 1) * SEEDS // 10))


@pytest.mark.long
@pytest.mark.parametrize("block", range(20))
def test_every_promise_is_kept_in_many_runs(block: int) -> None:
    check_seeds(range(1000 + block * 500, 1000 + (block + 1) * 500))
