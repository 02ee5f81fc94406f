"""Runs seeds, and tells what happened in those that fail."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.plan import Plan

TRACE_LINES = 60


class SeedFailed(AssertionError):
    """A run broke a promise; the text ends with the last events before it."""


def run_seed(seed: int, plan: Plan | None = None) -> World:
    """Run one seed. Raises `SeedFailed`."""
    world = World(seed, plan)
    run_world(world)
    return world


def run_world(world: World) -> None:
    """Run what was made for a seed. Raises `SeedFailed`."""
    try:
        with quiet_logs():
            world.run()
    except Exception as error:
        lines = "\n".join(world.lines(messages=True)[-TRACE_LINES:])
        raise SeedFailed(
            f"seed {world.seed}: {type(error).__name__}: {error}\n"
            f"{world.plan}\nthe last of it (all: make sim SEED={world.seed}):\n{lines}"
        ) from error


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Formatting lines that nobody reads takes most of a run's time."""
    logger = logging.getLogger("pykvd")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


class Result(NamedTuple):
    """What is kept of a run of many."""

    seed: int
    counts: Counter[str]
    failure: str


def attempt(seed: int) -> Result:
    """Run a seed, in whichever process."""
    try:
        return Result(seed, run_seed(seed).counts, "")
    except SeedFailed as failure:
        return Result(seed, Counter(), str(failure))
