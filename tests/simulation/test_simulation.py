"""Hundreds of clusters, each with its own mix of faults: see `make sim` and `make sim-many`."""

from __future__ import annotations

import pytest

from tests.simulation.run import run_seed

SEEDS = 500
CHUNK = 25


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_clusters_keep_their_promises_whatever_goes_wrong(first: int) -> None:
    for seed in range(first, first + CHUNK):
        run_seed(seed)
