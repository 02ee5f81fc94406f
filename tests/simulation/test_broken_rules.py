"""The simulation can fail: each test breaks one rule on purpose and sees it caught.

The plans are those of `draw_plan`, but for what makes the broken rule matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pykvd.node.committer import Committer
from pykvd.node.reads import ReadQueue
from pykvd.pb import rpc_pb2 as rpc
from pykvd.raft.core import Raft
from pykvd.raft.leader import Leader
from pykvd.raft.log import RaftLog
from pykvd.watch.hub import Hub
from tests.simulation.disk import SimulatedWalWriter
from tests.simulation.operation import Method
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.raft_checks import Violation
from tests.simulation.run import SeedFailed, run_world
from tests.simulation.script import Script
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.raft import Entry, Message
    from tests.simulation.member import Process

SEEDS = 200
PLAIN = {"users": (), "quota_bytes": 0, "weights": {"put": 3.0, "get": 3.0}, "think_seconds": 0.1}
"""Many reads and writes, and nothing that refuses them."""


def first_failure(faults: tuple[str, ...], **settings: object) -> str:
    """The first line of what the first of up to `SEEDS` failing seeds says."""
    for seed in range(SEEDS):
        world = World(seed, plan=_plan(seed, faults, settings))
        try:
            run_world(world)
        except SeedFailed as failure:
            return str(failure).split("\n")[0]
    pytest.fail(f"not noticed in {SEEDS} runs")


def _plan(seed: int, faults: tuple[str, ...], settings: dict[str, object]) -> Plan:
    plan = draw_plan(World.rng_of(seed, "plan"))
    plan.faults = faults
    for name, value in settings.items():
        setattr(plan, name, value)
    return plan


def test_acknowledging_before_the_sync_loses_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedWalWriter, "honest", False)
    assert "lost" in first_failure(("crash", "crash all"))


def test_acknowledging_before_the_sync_loses_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without the check of each disk: the histories tell."""
    monkeypatch.setattr(SimulatedWalWriter, "honest", False)
    monkeypatch.setattr("tests.simulation.raft_checks.LogChecks.opened", lambda *_: None)
    assert "Violation" in first_failure(("crash all",))


def test_two_votes_in_a_term_elect_two_leaders(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Raft._handle_vote_request

    def forget_vote(self: Raft, message: Message) -> None:
        self.vote = 0
        handle(self, message)

    monkeypatch.setattr(Raft, "_handle_vote_request", forget_vote)
    failure = first_failure(("crash all", "isolate leader", "flapping"), pre_vote=False)
    assert "two leaders" in failure or "logs differ" in failure


def play_figure_8(script: Script) -> None:
    """Figure 8 of the Raft paper, (a) to (d); chance alone hardly ever gets there."""
    first = script.leader
    second, *others = script.followers
    # (a) An entry of the first leader reaches only one other member.
    script.cut([first, second], others)
    script.ask(first, Method.PUT, rpc.PutRequest(key=b"k1", value=b"%d" % script.number))
    old = last_index(first) + 1
    script.until(lambda: last_index(second) == old)
    first.crash()
    # (b) Another leads; its first entry, at the same index, stays with it.
    script.until_exactly(lambda: script.world.leader() in others)
    third = script.leader
    others.remove(third)
    script.cut([third], others)
    script.run(0.5)
    assert last_index(third) == old
    third.crash()
    # (c) A leader of a third term brings the old entry to a majority, but not yet its own.
    script.reconnect()
    first.start()
    script.until_exactly(lambda: any(last_index(each) == old for each in others))
    script.until_exactly(lambda: script.world.checks.raft.commit >= old, seconds=0.02)
    script.cut([first, second], others)
    first.crash()
    second.crash()
    # (d) The leader of the second term may still be elected, if the others have no newer entry.
    third.start()
    script.until(lambda: script.world.leader() is not None)


def last_index(process: Process) -> int:
    return process.node.raft.status().last_index


def one_entry_an_append(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the old entry and the leader's first one travel apart, as in the figure."""
    cut = RaftLog.slice

    def slice_one(self: RaftLog, low: int, high: int, limit: int | None = None) -> list[Entry]:
        return cut(self, low, high, None if limit is None else 1)

    monkeypatch.setattr(RaftLog, "slice", slice_one)


def test_counting_replicas_of_old_terms_loses_committed_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one_entry_an_append(monkeypatch)
    with Script(size=5, pre_vote=False) as script:
        play_figure_8(script)
    monkeypatch.setattr(Leader, "_may_commit", lambda *_: True)
    with (
        pytest.raises(Violation, match="lacks committed entry"),
        Script(size=5, pre_vote=False) as script,
    ):
        play_figure_8(script)


def test_reads_without_a_quorum_are_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that answers on its own, cut off or paused, does not know that it was replaced."""

    def answer_at_once(self: Leader) -> None:
        reads = self.raft.reads
        for confirmed in reads.confirm(reads.start_round(self.raft.log.commit)):
            for request in confirmed.requests:
                self._answer_read(request.sender, request.context, confirmed.index)

    monkeypatch.setattr(Leader, "_start_reads", answer_at_once)
    failure = first_failure(("isolate leader", "pause leader"), **PLAIN)
    assert "answered before it began" in failure


def test_reads_that_do_not_wait_for_apply_are_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = ReadQueue.answer
    monkeypatch.setattr(ReadQueue, "answer", lambda self, _applied: answer(self, 1 << 62))
    assert "answered before it began" in first_failure((), **PLAIN)


def test_an_applied_index_outside_of_its_transaction_is_wrong_after_a_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The index reaches the store's file one commit after the changes that it speaks of."""
    commit = Committer._commit

    def commit_and_mark_later(self: Committer) -> None:
        backend = self._backend
        marked: Callable[..., None] = backend.set
        late: list[tuple[str, bytes, bytes | None]] = getattr(self, "late", [])

        def hold_back(table: str, key: bytes, value: bytes | None) -> None:
            late.append((table, key, value))

        backend.set = hold_back  # type: ignore[method-assign]
        try:
            if len(late) > 0 and backend.idle:
                marked(*late.pop(0))
            commit(self)
        finally:
            del backend.set
            self.late = late  # type: ignore[attr-defined]

    monkeypatch.setattr(Committer, "_commit", commit_and_mark_later)
    assert "Violation" in first_failure(("crash", "crash all"))


def test_applying_a_command_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proposals that the network doubles become entries of their own."""
    monkeypatch.setattr(
        "tests.simulation.network.Network.send",
        _without_once(monkeypatch),
    )
    failure = first_failure(("bad network",))
    assert "took effect twice" in failure or "nobody asked for" in failure


def _without_once(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    from tests.simulation.network import Network

    send = Network.send

    def send_often(self: Network, *arguments: object, once: bool = False, **more: object) -> None:
        send(self, *arguments, **more)  # type: ignore[arg-type]

    return send_often


def test_watches_that_skip_what_a_snapshot_brought_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Hub, "resync", lambda *_: None)
    failure = first_failure(
        ("pause", "partition", "crash"), snapshot_count=5, snapshot_catchup=0, watchers=4
    )
    assert "events" in failure or "never saw" in failure or "progress" in failure
