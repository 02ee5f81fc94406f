"""The simulated store file behaves as the real one: what the simulation says of it holds there."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol

import pytest

from pykvd.mvcc.backend import Backend
from pykvd.mvcc.environment import Environment
from tests.simulation.backend import MemoryEnvironment, SimulatedBackend
from tests.simulation.disk import Disk, DiskSpeed
from tests.simulation.loop import ProcessLoop, Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

RECENT_BYTES = 500
STEPS = 150
ALL = (1 << 96) - 1


class Machine(Protocol):
    """A backend in something that runs it."""

    backend: Backend

    def settle(self) -> None:
        """Let the commit under way complete."""

    def run(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run a coroutine to its end."""

    def crash(self) -> None:
        """Open the file again, without what was not committed."""

    def close(self) -> None:
        """Clean up."""


class RealMachine:
    """LMDB and a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        self._open()

    def _open(self) -> None:
        def fail(error: BaseException) -> None:
            raise error

        self.backend = Backend(
            Environment.open_latest(self._directory, sync=False),
            post=self._loop.call_soon_threadsafe,
            on_failure=fail,
            recent_bytes=RECENT_BYTES,
        )

    def settle(self) -> None:
        async def wait() -> None:
            while not self.backend.idle:
                await self.backend.read(lambda _: None)

        self.run(wait)

    def run(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        self._loop.run_until_complete(work())

    def crash(self) -> None:
        self.settle()
        self.backend.close()
        self._open()

    def close(self) -> None:
        self.backend.close()
        self._loop.close()


class SimulatedMachine:
    """A dict and virtual time."""

    def __init__(self, directory: Path) -> None:
        self._scheduler = Scheduler()
        self._disk = Disk(Random(0), DiskSpeed())
        self._open()

    def _open(self) -> None:
        self._loop = ProcessLoop(
            self._scheduler, self._disk, rate=1.0, offset=0.0, stepped=lambda: None
        )
        self._in_loop(self._make)

    def _make(self) -> None:
        self.backend: Backend = SimulatedBackend(
            self._disk.environment,
            loop=self._loop,
            seconds=self._disk.commit_seconds,
            recent_bytes=RECENT_BYTES,
        )

    def _in_loop(self, work: Callable[[], object]) -> None:
        self._loop.run(work)

    def settle(self) -> None:
        self._scheduler.run(self._scheduler.now + 10)

    def run(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        self._in_loop(lambda: self._loop.create_task(work()))
        self.settle()

    def crash(self) -> None:
        self.settle()
        self._loop.kill()
        self._open()

    def close(self) -> None:
        self._loop.kill()


def view(machine: Machine) -> object:
    """Everything that can be read."""
    backend = machine.backend
    return (
        list(backend.scan(0, ALL)),
        [backend.since(first, limit) for first in (0, 100, 300) for limit in (3, 1000)],
        [backend.table(name) for name in ("meta", "lease", "member")],
        backend.pending_records,
        backend.uncommitted_bytes,
        backend.idle,
    )


def step(machine: Machine, rng: Random, next_id: int, ids: list[int]) -> list[int]:
    """One random operation, drawn the same for both machines; returns the ids there are."""
    backend = machine.backend
    match rng.randrange(7):
        case 0 | 1 | 2:
            backend.add(next_id, b"\x12" + rng.randbytes(rng.randrange(60)))
            return [*ids, next_id]
        case 3:
            gone = rng.sample(ids, min(2, len(ids)))
            machine.settle()
            if backend.idle:
                backend.commit()
                machine.settle()
            backend.remove(gone)
            return [each for each in ids if each not in gone]
        case 4:
            value = rng.choice((None, rng.randbytes(5)))
            backend.set(rng.choice(("meta", "lease")), b"%d" % rng.randrange(3), value)
        case 5:
            machine.settle()
            backend.commit()
            if rng.random() < 0.7:
                machine.settle()
        case 6 if ids:
            assert backend.get_many(ids[-5:]) == [backend.get(each) for each in ids[-5:]]
    return ids


@pytest.mark.parametrize("seed", range(8))
def test_both_backends_show_the_same(tmp_path: Path, seed: int) -> None:
    machines: tuple[Machine, Machine] = RealMachine(tmp_path / "db"), SimulatedMachine(tmp_path)
    try:
        sequences = [(Random(seed), list[int]()) for _ in machines]
        for number in range(1, STEPS):
            sequences = [
                (rng, step(machine, rng, number, ids))
                for machine, (rng, ids) in zip(machines, sequences, strict=True)
            ]
            for machine in machines:
                machine.settle()
            assert view(machines[0]) == view(machines[1])
            if number % 40 == 0:
                for machine in machines:
                    machine.backend.commit()
                    machine.crash()
                assert view(machines[0]) == view(machines[1])
    finally:
        for machine in machines:
            machine.close()


def test_both_install_a_file_from_elsewhere(tmp_path: Path) -> None:
    real, simulated = RealMachine(tmp_path / "db"), SimulatedMachine(tmp_path)
    foreign = tmp_path / "db" / "1" / "foreign"
    foreign.mkdir()
    source = Environment(foreign, sync=False)
    source.write([(7, b"theirs")], [], {("meta", b"applied"): b"new"})
    source.close()
    path = Path("/scratch/foreign")
    copy = MemoryEnvironment(simulated._disk)
    copy.write([(7, b"theirs")], [], {("meta", b"applied"): b"new"})
    simulated._disk.files_by_path[path] = copy
    files: list[tuple[Machine, Path]] = [(real, foreign / "data.mdb"), (simulated, path)]
    try:
        for machine, file in files:
            machine.backend.add(3, b"ours")
            machine.backend.set("meta", b"applied", b"old")
            machine.run(partial(machine.backend.install, file, lambda: None))
            machine.settle()
        assert view(real) == view(simulated)
        real.crash()
        simulated.crash()
        assert view(real) == view(simulated)
    finally:
        real.close()
        simulated.close()
