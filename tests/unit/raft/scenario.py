"""The commands of the text scenarios: a cluster driven by hand, which prints what happens."""

from __future__ import annotations

import random
import shlex
from dataclasses import replace
from typing import Any

from pykvd.raft import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    RaftConfig,
    RaftError,
    decode_message,
    encode_message,
)
from tests.unit.raft import render
from tests.unit.raft.checker import Checker
from tests.unit.raft.member import Disk, Member

_SIGNS = {
    "v": ConfChangeKind.ADD_VOTER,
    "l": ConfChangeKind.ADD_LEARNER,
    "r": ConfChangeKind.REMOVE,
    "u": ConfChangeKind.UPDATE,
}


class _Log:
    """Prints what members log among what the commands print."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    def debug(self, msg: str, /, *args: object) -> None:
        self._scenario.say("  " + msg % args)

    info = warning = debug


class Scenario:
    """A cluster, the messages on their way, and the output.

    A command is a method name with dashes, plain arguments (mostly node ids) and options
    `key=value`.
    """

    def __init__(self) -> None:
        self.do_new_cluster()
        self.options: dict[str, Any] = {}
        self.first_voters: tuple[int, ...] = ()
        self._output: list[str] = []
        self._quiet = self._brief = False

    def run(self, commands: list[str]) -> list[str]:
        """Run the commands; what they printed."""
        self._output = []
        for command in commands:
            name, *words = shlex.split(command)
            arguments = [word for word in words if "=" not in word]
            options = dict(word.split("=", 1) for word in words if "=" in word)
            try:
                getattr(self, "do_" + name.replace("-", "_"))(*arguments, **options)
            except RaftError as error:
                self.say(f"{type(error).__name__}: {error}")
            finally:
                self._quiet = self._brief = False
        return self._output or ["ok"]

    def say(self, line: str) -> None:
        """Print a line."""
        if not self._quiet and (not self._brief or line.startswith("  ")):
            self._output.append(line)

    # Members

    def do_new_cluster(self) -> None:
        """Forget all members and messages."""
        self.members: dict[int, Member] = {}
        self.network: list[Message] = []
        self.groups: list[set[int]] = []
        self.checker = Checker()

    def do_config(self, **options: str) -> None:
        """`RaftConfig` fields for members that are made from now on."""
        self.options.update({name: int(value) for name, value in options.items()})

    def do_nodes(self, count: str) -> None:
        """Members 1 to `count`, all voters, with empty logs."""
        self.do_new_cluster()
        voters = tuple(range(1, int(count) + 1))
        for node in voters:
            self._add(node, Disk(), voters)
        self.first_voters = voters

    def do_node(
        self,
        node: str,
        *,
        voters: str = "",
        terms: str = "",
        term: str = "0",
        commit: str = "0",
    ) -> None:
        """One member: `terms=1,1,4` are the terms of the entries of its log.

        Without `voters` it starts from the configuration that the cluster started from.
        """
        disk = Disk()
        disk.entries = [
            Entry(int(text), index, EntryKind.NORMAL, b"")
            for index, text in enumerate(filter(None, terms.split(",")), 1)
        ]
        last = disk.entries[-1].term if disk.entries else 0
        disk.hard_state = HardState(max(int(term), last), 0, int(commit))
        first = tuple(int(text) for text in filter(None, voters.split(",")))
        self._add(int(node), disk, first or self.first_voters)

    def _add(self, node: int, disk: Disk, voters: tuple[int, ...]) -> None:
        disk.store = disk.store._replace(conf_state=ConfState(voters=voters))
        config = replace(RaftConfig(id=node), **self.options)
        self.members[node] = Member(config, disk, random.Random(node), _Log(self))

    def do_crash(self, *nodes: str) -> None:
        """Lose memory and unpersisted Readys, and start again from the disk."""
        for node in nodes:
            self.members[int(node)].restart()

    def do_stop(self, *nodes: str) -> None:
        """Take members away for good."""
        for node in nodes:
            del self.members[int(node)]

    def do_tick(self, node: str, count: str = "1") -> None:
        """Let time pass for a member, or for `all`."""
        for _ in range(int(count)):
            for member in self.members.values() if node == "all" else [self.members[int(node)]]:
                member.node.tick()

    # Requests

    def do_campaign(self, node: str) -> None:
        """Have a member campaign."""
        self.members[int(node)].node.campaign()

    def do_propose(self, node: str, *data: str) -> None:
        """Propose each word as an entry."""
        for word in data:
            self.members[int(node)].node.propose(word.encode())

    def do_read_index(self, node: str, *contexts: str) -> None:
        """Ask for linearizable reads."""
        for context in contexts:
            self.members[int(node)].node.read_index(context.encode())
            self.checker.read_requested(context.encode())

    def do_transfer(self, node: str, *, to: str) -> None:
        """Ask a member that another be leader."""
        self.members[int(node)].node.transfer_leader(int(to))

    def do_conf_change(self, node: str, *changes: str, how: str = "auto") -> None:
        """Propose v4 (voter), l4 (learner), r4 (remove); none to leave a joint configuration."""
        singles = tuple(ConfChangeSingle(_SIGNS[text[0]], int(text[1:])) for text in changes)
        transition = ConfChangeTransition[how.replace("-", "_").upper()]
        self.members[int(node)].node.propose_conf_change(ConfChange(singles, transition))

    def do_compact(self, node: str, index: str) -> None:
        """Save the state machine and drop the log up to `index`."""
        self.members[int(node)].compact(int(index))

    def do_report_snapshot(self, node: str, *, to: str, ok: str) -> None:
        """Tell a leader what became of its snapshot."""
        self.members[int(node)].node.report_snapshot(int(to), ok == "yes")

    def do_report_unreachable(self, node: str, *, to: str) -> None:
        """Tell a leader that messages to a peer were lost."""
        self.members[int(node)].node.report_unreachable(int(to))

    # Work

    def do_ready(self, *nodes: str) -> None:
        """Take a Ready and print it whole; its writes are then on their way to the disk."""
        for node in nodes:
            self._take(int(node), with_messages=True)

    def _take(self, node: int, *, with_messages: bool) -> None:
        member = self.members[node]
        ready = member.take_ready()
        self.checker.ready(member)
        for line in render.ready(node, ready, with_messages=with_messages):
            self.say(line)
        self._collect(member)

    def do_persist(self, *nodes: str) -> None:
        """The oldest Ready on its way reaches the disk."""
        for node in nodes:
            member = self.members[int(node)]
            if not member.unpersisted:
                self.say(f"{node}: nothing to persist")
                continue
            self.say(f"{node}: ready {member.persist().number} is durable")
            self._collect(member)

    def _collect(self, member: Member) -> None:
        self.network += member.outbox
        member.outbox = []

    def do_work(self, *nodes: str) -> None:
        """Take Readys and persist them until there is nothing to do."""
        for node in map(int, nodes or self.members):
            member = self.members[node]
            while member.unpersisted or member.node.has_ready():
                if member.node.has_ready():
                    self._take(node, with_messages=False)
                while member.unpersisted:
                    member.persist()
                self._collect(member)

    def do_deliver(self, *nodes: str, drop: str = "") -> None:
        """Deliver what is on its way to these members; `drop=2` loses what is for 2."""
        lost = {int(text) for text in drop.split(",") if text}
        chosen = {int(node) for node in nodes}
        messages, self.network = self.network, []
        for message in messages:
            if message.to in lost:
                self.say(f"lost {render.message(message)}")
            elif message.to in chosen:
                self._deliver(message)
            else:
                self.network.append(message)

    def _deliver(self, message: Message) -> None:
        cut = any((message.to in group) != (message.sender in group) for group in self.groups)
        if cut or message.to not in self.members:
            self.say(f"lost {render.message(message)}")
            return
        self.say(render.message(message))
        self.members[message.to].node.step(decode_message(encode_message(message)))

    def do_duplicate(self) -> None:
        """Everything on its way arrives twice."""
        self.network *= 2

    def do_reverse(self) -> None:
        """Everything on its way arrives in the opposite order."""
        self.network.reverse()

    def do_stabilize(self, *words: str) -> None:
        """Work and deliver among all (or the named) members until nothing happens.

        `quiet` prints nothing of it, `brief` what the members log.
        """
        self._quiet, self._brief = "quiet" in words, "brief" in words
        nodes = [int(word) for word in words if word.isdigit()] or list(self.members)
        for _ in range(1000):
            self.do_work(*map(str, nodes))
            waiting = [message for message in self.network if self._reaches(message, nodes)]
            if not waiting:
                return
            self.network = [m for m in self.network if not self._reaches(m, nodes)]
            for message in waiting:
                self._deliver(message)
        raise AssertionError("it never becomes stable")

    def _reaches(self, message: Message, nodes: list[int]) -> bool:
        return message.to in nodes or message.to not in self.members

    def do_partition(self, *nodes: str) -> None:
        """Cut the named members off from the others, until `heal`."""
        self.groups.append({int(node) for node in nodes})

    def do_heal(self) -> None:
        """Join all partitions."""
        self.groups = []

    # Views

    def do_status(self, *nodes: str) -> None:
        """Print the state of members, and the progress of followers on a leader."""
        for node in map(int, nodes or self.members):
            for line in render.status(self.members[node].node.status()):
                self.say(line)

    def do_log(self, *nodes: str) -> None:
        """Print logs as in the figures of the paper: the term of each entry."""
        for node in map(int, nodes or self.members):
            member = self.members[node]
            start = f"({member.log.start[0]}) " if member.log.start[0] else ""
            terms = " ".join(str(entry.term) for entry in member.log.entries)
            commit = member.node.status().commit
            self.say(f"{node}: {start}{terms}  commit={commit}")

    def do_entries(self, *nodes: str) -> None:
        """Print logs with their data."""
        for node in map(int, nodes or self.members):
            self.say(f"{node}: {render.entries(self.members[node].log.entries)}")
