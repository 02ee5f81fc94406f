"""A seed is a run: the same one each time, in each process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.run import SeedFailed, run_seed, run_world
from tests.simulation.world import World

ROOT = Path(__file__).parents[2]
SEEDS = (1, 17, 35)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_gives_the_same_run_again(seed: int) -> None:
    assert run_seed(seed).lines(messages=True) == run_seed(seed).lines(messages=True)


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_a_seed_gives_the_same_run_in_another_process(hash_seed: str) -> None:
    """Whatever order sets of str and bytes have there."""
    shown = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", "17", "--messages"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    world = run_seed(17)
    expected = [str(world.plan), *world.lines(messages=True), "seed 17 holds"]
    assert shown.splitlines() == expected


def test_other_seeds_give_other_runs() -> None:
    first, second = run_seed(1), run_seed(2)
    assert first.plan != second.plan
    assert first.lines(messages=True) != second.lines(messages=True)


def test_a_failure_names_its_seed_and_ends_with_the_last_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_a_promise(_: World) -> None:
        raise AssertionError("a promise was broken")

    monkeypatch.setattr(World, "_check", break_a_promise)
    world = World(3)
    with pytest.raises(SeedFailed) as caught:
        run_world(world)
    text = str(caught.value).split("\n")
    assert text[0] == "seed 3: AssertionError: a promise was broken"
    assert text[-60:] == world.lines(messages=True)[-60:]
