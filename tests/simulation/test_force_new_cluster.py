"""--force-new-cluster, and power that fails while it writes: nothing is lost, it can be redone."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from pykvd.cluster.membership import Member
from pykvd.node import disaster
from pykvd.node.disaster import expel_others
from pykvd.node.storage import Identity
from pykvd.wal import Entry, HardState
from tests.simulation.disaster import lose_all_but
from tests.simulation.disk import Disk, DiskSpeed, Unsynced
from tests.simulation.loop import ProcessLoop, Scheduler
from tests.simulation.script import Script
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from pykvd.node.storage import Storage

#: What is not synced is lost by sectors: after an entry of such a size each record may be the last.
PADDINGS = range(0, 512, 16)


class _Seen(Exception):
    """What a test was about."""


class Left:
    """The disk of the member that is left of three."""

    def __init__(self, rng: Random, padding: int) -> None:
        self.disk = Disk(rng, DiskSpeed())
        founders = [Member(member, "", (f"http://m{member}",)) for member in (1, 2, 3)]
        self.disk.found(Identity(1, 0xC1), founders, joining=False)
        self.entries = [Entry(2, 2, 0, b""), Entry(2, 3, 0, bytes(padding)), Entry(2, 4, 0, b"x")]
        self._with_storage(lambda each: each.wal.commit([*self.entries, HardState(2, 3, 3)]))

    def _with_storage(self, work: Callable[[Storage], object]) -> Storage:
        loop = ProcessLoop(Scheduler(), self.disk, rate=1.0, offset=0.0, stepped=lambda: None)
        opened = []

        def run() -> None:
            opened.append(self.disk.open(loop))
            work(opened[0])

        loop.run(run)
        loop.kill()
        return opened[0]

    def lose_power_in_expel(self) -> None:
        """Begin what the flag asks for; the disk has any part of it."""

        def begin(storage: Storage) -> None:
            storage.wal = Unsynced(storage.wal)
            expel_others(storage)

        self._with_storage(begin)
        self.disk.crash()

    def expel(self) -> None:
        """Do what the flag asks for."""
        self._with_storage(expel_others)
        self.disk.crash()

    def read(self) -> Storage:
        """What a start finds."""
        return self._with_storage(lambda _: None)


@pytest.mark.parametrize("padding", PADDINGS)
def test_a_start_without_the_flag_finds_all_entries_and_no_half_of_a_change(padding: int) -> None:
    for seed in range(16):
        left = Left(World.rng_of(seed, f"disk {padding}"), padding)
        left.lose_power_in_expel()
        found = left.read()
        assert [each for each in found.replay.entries if each.index <= 4] == left.entries
        # Either all of it is committed, or no more than was before.
        assert found.hard_state.commit in (3, found.replay.last_index)


@pytest.mark.parametrize("padding", PADDINGS)
def test_a_start_with_the_flag_completes_what_another_began(padding: int) -> None:
    for seed in range(16):
        left = Left(World.rng_of(seed, f"disk {padding}"), padding)
        left.lose_power_in_expel()
        left.expel()
        found = left.read()
        assert [each for each in found.replay.entries if each.index <= 4] == left.entries
        assert found.hard_state.commit == found.replay.last_index > 4


@pytest.mark.parametrize("seed", range(12))
def test_the_member_that_is_left_serves_after_accidents_at_its_start(seed: int) -> None:
    with Script(seed=seed) as script:
        for number in range(5):
            script.put(script.leader, b"k%d" % number)
        script.run(1.0)
        left = script.members[seed % 3]
        lose_all_but(left)
        for _ in range(1 + seed % 2):
            left.start_torn()
        if seed % 3:
            # Without the flag it waits for the others, or goes on alone; either way it has it all.
            left.start()
            script.run(3.0)
            left.crash()
        left.forced = True
        left.start()
        script.until(lambda: left.serving)
        assert all(script.get(left, b"k%d" % number).count for number in range(5))
        script.put(left, b"k1")


def test_without_the_mark_of_the_commit_nobody_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule that the tests above rest on, broken on purpose."""
    expel = disaster.expel_others

    def forget_mark(storage: Storage) -> list[int]:
        commit, state = storage.wal.commit, storage.hard_state
        storage.wal.commit = lambda records: commit(records[:-1])  # type: ignore[method-assign]
        removed = expel(storage)
        storage.hard_state = state
        return removed

    monkeypatch.setattr("tests.simulation.member.expel_others", forget_mark)
    with suppress(_Seen), Script() as script:
        script.put(script.leader, b"k1")
        left = script.followers[0]
        lose_all_but(left)
        left.forced = True
        left.start()
        script.run(20.0)
        assert not left.serving
        # What leaving the script would check does not hold.
        raise _Seen
