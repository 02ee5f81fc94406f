"""What has gone wrong in etcd, played here: each test names the issue (etcd-io/etcd unless said).

Whatever a test asserts itself, leaving its script checks all promises of the simulation: Raft's,
the disk's, the clients' history, and each watch (see `watch_client`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pykvd.cluster.membership import Action, Member
from pykvd.pb import rpc_pb2 as rpc
from tests.simulation.operation import Method, Outcome
from tests.simulation.plan import Plan
from tests.simulation.run import run_seed
from tests.simulation.script import Script

if TYPE_CHECKING:
    from tests.simulation.member import Process


def loaded(seed: int, faults: tuple[str, ...], **settings: object) -> None:
    """A random run under load with these faults."""
    plan = Plan(
        faults=faults,
        fault_interval=1.0,
        think_seconds=0.05,
        clients=4,
        watchers=2,
        snapshot_count=20,
        seconds=8.0,
    )
    for name, value in settings.items():
        setattr(plan, name, value)
    run_seed(seed, plan)


@pytest.mark.parametrize("seed", range(8))
def test_13766_revisions_agree_after_crashes_under_load(seed: int) -> None:
    loaded(seed, ("crash", "crash all"))


@pytest.mark.parametrize("seed", range(8))
def test_14370_a_lone_member_keeps_what_it_acknowledged(seed: int) -> None:
    loaded(seed, ("crash",), size=1)


@pytest.mark.parametrize("seed", range(8))
def test_17780_revisions_do_not_fall_after_a_crash_during_compaction(seed: int) -> None:
    loaded(seed, ("crash", "crash all"), compaction=True, keys=2)


@pytest.mark.parametrize("seed", range(8))
def test_18667_members_agree_on_transactions_that_read_what_is_being_compacted(seed: int) -> None:
    loaded(
        seed, ("pause",), compaction=True, weights={"txn": 5.0, "get": 0.1, "delete": 0.3, "put": 2}
    )


@pytest.mark.parametrize("seed", range(4))
def test_17529_many_slow_watches_miss_nothing(seed: int) -> None:
    loaded(seed, ("slow disk",), compaction=True, watchers=40)


def test_15271_a_watch_goes_on_during_and_after_a_cut() -> None:
    with Script() as script:
        leader, (cut, other) = script.leader, script.followers
        script.put(leader, b"k1")
        watches = [script.watch(cut, 1) for _ in range(3)]
        script.run(0.5)
        script.isolate(cut)
        revision = script.put(leader, b"k2")
        script.delete(leader, b"k1")
        watches[1].connect(other)
        script.until(lambda: watches[1].next > revision)
        # Back to the member that is behind: nothing twice, nothing missing.
        watches[1].connect(cut)
        script.run(1.0)
        script.reconnect()
        revision = script.put(leader, b"k3")
        script.until(lambda: all(watch.next > revision for watch in watches))


@pytest.mark.parametrize("distance", [-1, 0, 1])
def test_18089_and_19179_a_delete_at_the_edge_of_a_compaction_is_seen(distance: int) -> None:
    with Script() as script:
        leader = script.leader
        script.put(leader, b"k1")
        script.put(leader, b"k2")
        deleted = script.delete(leader, b"k1")
        script.put(leader, b"k3")
        script.compact(leader, deleted + distance)
        script.run(1.0)
        watches = [script.watch(process, deleted, prev_kv=False) for process in script.members]
        script.until(lambda: all(watch.next > deleted + 1 for watch in watches))
        expected = 1 if distance > 0 else 0
        assert [watch.compactions for watch in watches] == [expected] * 3


def test_18055_two_snapshots_in_a_short_time() -> None:
    with Script(snapshot_count=5, snapshot_catchup=0) as script:
        leader, (behind, _) = script.leader, script.followers
        watch = script.watch(behind, 1)
        script.put(leader, b"k0")
        for _ in range(2):
            script.isolate(behind)
            for number in range(30):
                script.put(leader, b"k%d" % (number % 3))
            script.reconnect()
            script.run(0.4)
        revision = script.put(leader, b"k0")
        script.until(lambda: watch.next > revision)
        assert script.world.counts["snapshot sent"] >= 2


def test_20221_a_watch_on_a_future_revision_gets_nothing_old() -> None:
    with Script(snapshot_count=5, snapshot_catchup=0) as script:
        leader, (behind, _) = script.leader, script.followers
        now = script.put(leader, b"k0")
        watches = [
            script.watch(process, now + ahead) for ahead in (2, 9) for process in script.members
        ]
        script.isolate(behind)
        for _ in range(30):
            script.put(leader, b"k1")
        script.reconnect()
        script.until(lambda: all(watch.next > now + 30 for watch in watches))
        assert script.world.counts["snapshot sent"] >= 1


def test_20418_a_leader_that_slept_through_an_election_reads_nothing_stale() -> None:
    with Script() as script:
        old = script.leader
        script.put(old, b"k1")
        old.pause(6.0)
        # These reach it while it sleeps: they are what it sees first.
        script.run(5.5)
        reads = [script.ask(old, Method.RANGE, rpc.RangeRequest(key=b"k1")) for _ in range(5)]
        new = script.leader
        assert new is not old
        revision = script.put(new, b"k1")
        later = script.ask(old, Method.RANGE, rpc.RangeRequest(key=b"k1"))
        script.run(3.0)
        assert all(read.returned for read in (*reads, later))
        if later.outcome is Outcome.ANSWERED:
            assert later.header_revision >= revision


def test_15247_a_deposed_leader_ends_no_lease_that_its_successor_keeps() -> None:
    with Script() as script:
        old = script.leader
        script.do(old, Method.GRANT, rpc.LeaseGrantRequest(ID=7, TTL=3))
        script.put(old, b"k1", lease=7)
        # Its disk is so slow that what it proposes waits, and its clock runs on while it sleeps.
        old.disk.speed = type(old.disk.speed)(sync=(2.0, 2.0), commit=(2.0, 2.0))
        script.ask(old, Method.PUT, rpc.PutRequest(key=b"k2", value=b"3"))
        script.ask(old, Method.PUT, rpc.PutRequest(key=b"k2", value=b"4"))
        old.pause(4.0)
        script.until(lambda: script.world.leader() not in (old, None))
        new = script.leader
        for _ in range(8):
            script.do(new, Method.KEEP_ALIVE, rpc.LeaseKeepAliveRequest(ID=7))
            script.run(1.0)
        assert script.get(new, b"k1").count == 1


def test_raft_397_reads_are_not_confirmed_by_answers_to_an_earlier_life() -> None:
    """etcd-io/raft PR 397: contexts of ReadIndex that repeat."""
    with Script() as script:
        leader, (reader, _) = script.leader, script.followers
        for _ in range(5):
            script.ask(reader, Method.RANGE, rpc.RangeRequest(key=b"k1"))
            script.run(0.008)
            reader.crash()
            script.world.note("m%d crashes", reader.id)
            revision = script.put(leader, b"k1")
            reader.start()
            script.until(lambda: reader.serving)
            assert script.get(reader, b"k1").header.revision >= revision


def test_a_new_member_catches_up_while_writes_go_on() -> None:
    with Script(snapshot_count=5, snapshot_catchup=0) as script:
        leader = script.leader
        for number in range(30):
            script.put(leader, b"k%d" % (number % 4))
        member = Member(4, "", ("http://m4",), (), True)
        script.world.operator.ask(leader, Action.ADD, member)
        script.until(lambda: 4 in script.world.members and script.world.members[4].serving)
        script.world.operator.ask(leader, Action.PROMOTE, Member(4, "", ()))
        revision = script.put(leader, b"k0")
        new = script.world.members[4]
        script.until(lambda: new.node.store.revision >= revision)
        script.until(lambda: not new.node.is_learner)
        assert script.get(new, b"k0").count == 1


def test_a_leader_that_removes_itself_hands_over() -> None:
    with Script() as script:
        old = script.leader
        script.put(old, b"k1")
        script.world.operator.ask(old, Action.REMOVE, Member(old.id, "", ()))
        script.until(lambda: old.gone)
        began = script.world.scheduler.now
        new = script.leader
        assert new is not old
        assert script.world.scheduler.now - began < 3.0
        assert script.get(new, b"k1").count == 1


def test_a_crash_between_an_installed_snapshot_and_its_mark_in_a_longer_log() -> None:
    """The log still holds entries of a deposed leader beyond the snapshot; none may count."""
    with Script(snapshot_count=5, snapshot_catchup=0) as script:
        old = script.leader
        script.put(old, b"k0")
        script.isolate(old)
        for _ in range(60):
            script.ask(old, Method.PUT, rpc.PutRequest(key=b"k1", value=b"%d" % script.number))
            script.run(0.02)
        script.until(lambda: script.world.leader() not in (old, None))
        new = script.leader
        for _ in range(20):
            script.put(new, b"k2")
        script.run(1.0)
        before = old.disk.environment
        old.disk.speed = type(old.disk.speed)(sync=(3.0, 3.0), commit=(0.01, 0.01))
        script.reconnect()
        script.until(lambda: old.disk.environment is not before)
        old.crash()
        old.disk.speed = script.world.plan.disk
        old.start()
        revision = script.put(new, b"k3")
        script.until(lambda: old.serving and old.node.store.revision >= revision)


@pytest.mark.parametrize("seed", range(6))
def test_a_new_member_serves_soon_although_a_snapshot_held_its_own_entry(seed: int) -> None:
    """Its publication may be among the entries that the snapshot stands for: nobody answers it."""
    with Script(seed=seed, snapshot_count=5, snapshot_catchup=0) as script:
        leader = script.leader
        for number in range(30):
            script.put(leader, b"k%d" % (number % 4))
        script.world.operator.ask(leader, Action.ADD, Member(4, "", ("http://m4",)))
        script.until(lambda: 4 in script.world.members)

        began = script.world.scheduler.now
        script.until(lambda: script.world.members[4].serving)
        assert script.world.scheduler.now - began < 3.0


def recorded_lease(script: Script) -> Process:
    """Lease 7 of 10 s, not renewed for 8, with a key; returns the leader, which has recorded it."""
    leader = script.leader
    script.do(leader, Method.GRANT, rpc.LeaseGrantRequest(ID=7, TTL=10))
    script.put(leader, b"k1", lease=7)
    script.run(8.0)
    assert all(0 < each.node.lessor.leases[7].remaining < 4 for each in script.members)
    return leader


def test_a_leader_that_has_yet_to_apply_a_renewal_does_not_count_from_before_it() -> None:
    """The old leader recorded what was left of the lease, and then that it was renewed."""
    with Script() as script:
        old = recorded_lease(script)
        renewed = script.world.scheduler.now
        renewal = script.ask(old, Method.KEEP_ALIVE, rpc.LeaseKeepAliveRequest(ID=7))
        script.until_exactly(lambda: not old.node.lessor.leases[7].remaining)
        script.isolate(old)
        script.run(0.1)
        assert renewal.response.TTL == 10
        old.crash()
        new = script.leader
        script.run(renewed + 9.5 - script.world.scheduler.now)
        assert script.get(new, b"k1").count == 1


def test_a_stop_records_no_time_from_before_a_renewal_on_its_way() -> None:
    with Script() as script:
        old = recorded_lease(script)
        renewed = script.world.scheduler.now
        renewal = script.ask(old, Method.KEEP_ALIVE, rpc.LeaseKeepAliveRequest(ID=7))
        script.until_exactly(lambda: old.node.proposals.pending)
        old.stop()
        script.until(lambda: script.world.leader() not in (old, None))
        assert renewal.response.TTL == 10
        script.run(renewed + 9.5 - script.world.scheduler.now)
        assert script.get(script.leader, b"k1").count == 1


def test_a_renewal_is_not_undone_by_a_record_that_was_on_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.simulation.sources.CHECKPOINT_SECONDS", 8.0)
    with Script() as script:
        old = script.leader
        script.do(old, Method.GRANT, rpc.LeaseGrantRequest(ID=7, TTL=30))
        script.put(old, b"k1", lease=7)
        script.run(12.0)
        # Nothing was recorded yet, and the record of what is left waits for the disks.
        assert not old.node.lessor.leases[7].remaining
        for process in script.members:
            process.disk.speed = type(process.disk.speed)(sync=(0.4, 0.4))
        script.until_exactly(lambda: old.node.proposals.pending)
        renewed = script.world.scheduler.now
        script.do(old, Method.KEEP_ALIVE, rpc.LeaseKeepAliveRequest(ID=7))
        script.run(0.5)
        old.crash()
        new = script.leader
        script.run(renewed + 28.0 - script.world.scheduler.now)
        assert script.get(new, b"k1").count == 1
