"""`python -m tests.simulation --seed N` shows one run; `--many N` runs seeds 0 to N - 1."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from multiprocessing import get_context

from tests.simulation.run import SeedFailed, attempt, run_world
from tests.simulation.world import World

SHOWN_FAILURES = 5


def show(seed: int, *, messages: bool) -> int:
    """Print the trace of one run; returns the exit status."""
    world = World(seed)
    failure = ""
    try:
        run_world(world)
    except SeedFailed as error:
        failure = str(error).split("\n")[0]
    print(world.plan)
    print("\n".join(world.lines(messages=messages)))
    print(failure or f"seed {seed} holds")
    return 1 if failure else 0


def run_many(first: int, count: int, processes: int | None) -> int:
    """Run many seeds, on all cores unless told otherwise; returns the exit status."""
    began, counts, failures = time.monotonic(), Counter[str](), []
    with get_context("spawn").Pool(processes) as pool:
        for result in pool.imap_unordered(attempt, range(first, first + count), chunksize=8):
            counts += result.counts
            if result.failure:
                failures.append(result)
                text = result.failure if len(failures) <= SHOWN_FAILURES else ""
                print(text or result.failure.split("\n")[0], flush=True)
    seconds = time.monotonic() - began
    for what, number in counts.most_common():
        print(f"{number:10} {what}")
    seeds = sorted(result.seed for result in failures)
    print(f"{count} seeds in {seconds:.0f}s, {count / seconds:.1f}/s; failed: {seeds or 'none'}")
    return 1 if failures else 0


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="show the run of this seed")
    parser.add_argument("--messages", action="store_true", help="show all messages, too")
    parser.add_argument("--many", type=int, default=500, help="run so many seeds")
    parser.add_argument("--first", type=int, default=0, help="begin with this seed")
    parser.add_argument("--processes", type=int, help="how many at a time (all cores)")
    options = parser.parse_args()
    if options.seed is not None:
        return show(options.seed, messages=options.messages)
    return run_many(options.first, options.many, options.processes)


if __name__ == "__main__":
    sys.exit(main())
