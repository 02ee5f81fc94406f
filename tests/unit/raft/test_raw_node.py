"""The contract of `RawNode`: what it recovers from, what it refuses, what it never does."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pykvd.raft
from pykvd.raft import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfigError,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    InvariantError,
    Message,
    MessageKind,
    ProposalDropped,
    RaftConfig,
    RawNode,
    Role,
    Snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(pykvd.raft.__file__).parents[2]


def normal(term: int, index: int) -> Entry:
    return Entry(term, index, EntryKind.NORMAL, b"x")


def change(term: int, index: int, node: int) -> Entry:
    single = ConfChangeSingle(ConfChangeKind.ADD_LEARNER, node)
    return Entry(term, index, EntryKind.CONF_CHANGE, ConfChange((single,)).encode())


def make(
    *entries: Entry,
    hard_state: HardState | None = None,
    voters: tuple[int, ...] = (1,),
    snapshot_id: tuple[int, int] = (0, 0),
    applied: int = 0,
) -> RawNode:
    return RawNode(
        RaftConfig(id=1),
        hard_state=hard_state or HardState(),
        conf_state=ConfState(voters=voters),
        snapshot_id=snapshot_id,
        entries=entries,
        applied=applied,
        rng=random.Random(1),
    )


def run(node: RawNode) -> None:
    """Persist and apply until there is nothing to do."""
    while node.has_ready():
        ready = node.ready()
        node.persisted(ready.number)
        for entry in ready.committed_entries:
            if entry.kind is EntryKind.CONF_CHANGE:
                node.apply_conf_change(ConfChange.decode(entry.data))
            node.applied_to(entry.index)


@pytest.mark.parametrize(
    "settings",
    [
        {"id": 0},
        {"heartbeat_ticks": 0},
        {"election_ticks": 1},
        {"election_ticks": 5, "heartbeat_ticks": 5},
        {"max_inflight_messages": 0},
        {"max_inflight_bytes": 0},
        {"max_message_bytes": 0},
        {"max_committed_bytes": 0},
        {"max_uncommitted_bytes": -1},
    ],
)
def test_contradictory_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        RaftConfig(**{"id": 1, **settings})  # type: ignore[arg-type]


def test_what_is_to_be_applied_comes_in_slices() -> None:
    sizes = (100, 100, 100 << 10, 200 << 10, 300 << 10, 1)
    entries = [
        Entry(1, index, EntryKind.NORMAL, bytes(size)) for index, size in enumerate(sizes, 1)
    ]
    node = make(*entries, hard_state=HardState(1, 0, len(sizes)), voters=(1, 2, 3))
    slices = []
    while node.has_ready():
        committed = node.ready().committed_entries
        slices.append([entry.index for entry in committed])
        node.applied_to(committed[-1].index)
    assert slices == [[1, 2, 3], [4], [5], [6]]


def test_a_new_member_has_nothing_to_do() -> None:
    node = make()
    assert not node.has_ready()
    ready = node.ready()
    assert not any(
        (ready.soft_state, ready.hard_state, ready.entries, ready.snapshot, ready.messages)
    )
    assert not any((ready.persisted_messages, ready.committed_entries, ready.read_states))
    assert not ready.must_sync


def test_requests_without_a_leader_are_dropped() -> None:
    node = make(voters=(1, 2))
    add = ConfChange((ConfChangeSingle(ConfChangeKind.ADD_VOTER, 3),))
    requests: list[Callable[[], None]] = [
        lambda: node.propose(b"x"),
        lambda: node.propose_conf_change(add),
        lambda: node.read_index(b"x"),
        lambda: node.transfer_leader(2),
    ]
    for request in requests:
        with pytest.raises(ProposalDropped, match="no leader"):
            request()
    assert not node.has_ready()


def test_committed_entries_are_handed_out_again_after_a_restart() -> None:
    node = make(normal(1, 1), normal(1, 2), hard_state=HardState(1, 0, 2), applied=1)
    assert [entry.index for entry in node.ready().committed_entries] == [2]
    assert not node.has_ready()


def test_a_torn_ready_leaves_the_term_of_the_log_and_no_vote() -> None:
    """The entries of term 3 were written, the hard state that came with them was not."""
    node = make(normal(1, 1), normal(3, 2), hard_state=HardState(2, 1, 1), voters=(1, 2))
    assert (node.status().term, node.status().vote) == (3, 0)
    assert node.ready().hard_state == HardState(3, 0, 1)


def test_applied_entries_were_committed_even_if_the_commit_index_is_lost() -> None:
    node = make(normal(1, 1), normal(1, 2), hard_state=HardState(1, 0, 0), applied=2)
    assert node.status().commit == 2


def test_a_membership_change_vouches_for_the_one_before() -> None:
    """At most one is in flight, so the one before was applied by a leader."""
    entries = (change(1, 1, 2), normal(1, 2), change(1, 3, 3))
    assert make(*entries, hard_state=HardState(1, 0, 0)).status().commit == 1
    assert make(*entries[:2], hard_state=HardState(1, 0, 0)).status().commit == 0


@pytest.mark.parametrize(
    "recover",
    [
        lambda: make(normal(1, 2)),
        lambda: make(normal(1, 1), normal(1, 3)),
        lambda: make(normal(2, 1), normal(1, 2)),
        lambda: make(normal(1, 1), hard_state=HardState(1, 0, 2)),
        lambda: make(normal(1, 1), applied=2),
        lambda: make(normal(1, 6), snapshot_id=(5, 1), applied=4),
    ],
)
def test_a_disk_that_lost_something_is_refused(recover: Callable[[], RawNode]) -> None:
    with pytest.raises(InvariantError):
        recover()


def test_confirmations_of_what_was_not_handed_out_are_refused() -> None:
    node = make()
    with pytest.raises(InvariantError):
        node.persisted(1)
    with pytest.raises(InvariantError):
        node.applied_to(1)
    node.campaign()
    run(node)
    with pytest.raises(InvariantError):
        node.compact(2)


def test_compaction_keeps_the_end_and_may_be_repeated() -> None:
    node = make()
    node.campaign()
    for _ in range(3):
        run(node)
        node.propose(b"x")
    run(node)
    node.compact(2)
    node.compact(1)
    assert (node.status().first_index, node.status().last_index) == (3, 4)
    node.propose(b"y")
    run(node)
    assert node.status().applied == 5


def test_a_change_without_a_configuration_before_it_is_refused() -> None:
    node = make(normal(1, 1), change(1, 2, 1), hard_state=HardState(1, 0, 2), voters=())
    with pytest.raises(InvariantError, match="no configuration"):
        run(node)


def test_a_cluster_can_begin_with_a_change_that_adds_all() -> None:
    singles = tuple(ConfChangeSingle(ConfChangeKind.ADD_VOTER, node) for node in (1, 2))
    first = Entry(1, 1, EntryKind.CONF_CHANGE, ConfChange(singles).encode())
    node = make(first, hard_state=HardState(1, 0, 1), voters=())
    node.campaign()
    assert node.status().role is Role.FOLLOWER
    run(node)
    node.campaign()
    assert node.status().role is Role.PRE_CANDIDATE


def test_the_driver_may_refuse_a_committed_change() -> None:
    node = make(voters=(1,))
    node.campaign()
    run(node)
    node.propose_conf_change(ConfChange((ConfChangeSingle(ConfChangeKind.ADD_LEARNER, 2),)))
    while node.has_ready():
        ready = node.ready()
        node.persisted(ready.number)
        for entry in ready.committed_entries:
            node.apply_conf_change(ConfChange())
            node.applied_to(entry.index)
    assert node.status().conf_state == ConfState(voters=(1,))


def snapshot_message(index: int, term: int, voters: tuple[int, ...]) -> Message:
    snapshot = Snapshot(index, term, ConfState(voters=voters))
    return Message(MessageKind.SNAPSHOT, to=1, sender=2, term=2, snapshot=snapshot)


def test_a_snapshot_of_entries_that_are_there_only_commits_them() -> None:
    node = make(normal(1, 1), normal(1, 2), hard_state=HardState(1, 0, 1), voters=(1, 2))
    node.step(snapshot_message(2, 1, (1, 2)))
    assert node.ready().snapshot is None
    assert (node.status().commit, node.status().first_index) == (2, 1)


def test_a_snapshot_that_replaces_the_log_waits_for_the_disk() -> None:
    node = make(normal(1, 1), normal(1, 2), hard_state=HardState(1, 0, 1), voters=(1, 2))
    node.step(snapshot_message(7, 2, (1, 2, 3)))
    first = node.ready()
    assert first.snapshot is not None
    assert [m.kind for m in first.persisted_messages] == [MessageKind.APPEND_RESPONSE]
    node.step(
        Message(MessageKind.APPEND, 1, 2, 2, index=7, log_term=2, commit=8, entries=(normal(2, 8),))
    )
    second = node.ready()
    assert second.snapshot is None
    assert [entry.index for entry in second.entries] == [8]
    assert not second.committed_entries
    assert node.status().conf_state.voters == (1, 2)
    node.persisted(first.number)
    assert node.status().conf_state.voters == (1, 2, 3)
    assert (node.status().applied, node.status().persisted) == (7, 7)
    node.persisted(second.number)
    assert [entry.index for entry in node.ready().committed_entries] == [8]


def test_a_snapshot_for_a_cluster_without_this_member_is_ignored() -> None:
    node = make(voters=(1, 2))
    node.step(snapshot_message(7, 2, (2, 3)))
    assert node.ready().snapshot is None


def test_a_leader_that_contradicts_what_is_committed_stops_the_member() -> None:
    node = make(normal(1, 1), hard_state=HardState(1, 0, 1), voters=(1, 2))
    with pytest.raises(InvariantError, match="past the last entry"):
        node.step(Message(MessageKind.HEARTBEAT, 1, 2, 2, commit=5))
    entries = (normal(2, 1),)
    with pytest.raises(InvariantError, match="conflicts with committed"):
        make(normal(1, 1), hard_state=HardState(1, 0, 1)).step(
            Message(MessageKind.APPEND, 1, 2, 2, index=1, log_term=1, entries=entries)
        )


def test_messages_for_others_and_from_oneself_are_ignored() -> None:
    node = make(voters=(1, 2))
    node.step(Message(MessageKind.HEARTBEAT, to=2, sender=1, term=5))
    node.step(Message(MessageKind.HEARTBEAT, to=1, sender=1, term=5))
    assert node.status().term == 0


def in_role(role: Role) -> RawNode:
    """Member 1 of three, at term 2, in `role`."""
    node = make(normal(1, 1), hard_state=HardState(1, 0, 1), voters=(1, 2, 3))
    run(node)
    if role is Role.FOLLOWER:
        node.step(Message(MessageKind.HEARTBEAT, to=1, sender=2, term=2))
        return node
    node.campaign()
    if role >= Role.CANDIDATE:
        node.step(Message(MessageKind.PRE_VOTE_RESPONSE, to=1, sender=2, term=2))
        run(node)
    if role is Role.LEADER:
        node.step(Message(MessageKind.VOTE_RESPONSE, to=1, sender=2, term=2))
        run(node)
    assert node.status().role is role
    return node


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("kind", MessageKind)
@pytest.mark.parametrize("term", [1, 2, 3])
@pytest.mark.parametrize("reject", [False, True])
def test_every_role_takes_every_message(
    role: Role, kind: MessageKind, term: int, reject: bool
) -> None:
    node = in_role(role)
    before = node.status()
    message = Message(
        kind,
        to=1,
        sender=3,
        term=term,
        index=1,
        log_term=1,
        entries=(normal(term, 2),) if kind in (MessageKind.APPEND, MessageKind.PROPOSE) else (),
        snapshot=Snapshot(1, 1, ConfState(voters=(1, 2, 3)))
        if kind is MessageKind.SNAPSHOT
        else None,
        reject=reject,
    )
    node.step(message)
    run(node)
    after = node.status()
    assert after.term >= before.term
    assert after.commit >= before.commit
    if after.term == before.term and before.vote:
        assert after.vote == before.vote
    if role is Role.LEADER and after.term == before.term:
        assert after.role is Role.LEADER


def test_the_core_imports_nothing_that_acts_on_the_world() -> None:
    allowed = {
        *("__future__", "collections", "collections.abc", "dataclasses", "enum"),
        *("random", "struct", "typing"),
    }
    for path in sorted((ROOT / "pykvd" / "raft").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name in allowed or name.startswith("pykvd.raft"), f"{path.name}: {name}"


def test_a_run_is_the_same_whatever_the_hash_seed() -> None:
    code = (
        "from tests.unit.raft.test_random_network import World, run\n"
        "world = run(World(7))\n"
        "print(world.rng.getrandbits(64), sorted(world.checker.digests.items()))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
