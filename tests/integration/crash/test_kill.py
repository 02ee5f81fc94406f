"""`kill -9` at random moments: a few rounds in every test run, many with `-m long`.

The long version is also `python -m tests.integration.crash --rounds 200`, which takes a seed.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.harness import ETCD, PYKVD, Kind
from tests.integration.crash.campaign import Campaign, on_slow_disk

if TYPE_CHECKING:
    from pathlib import Path


def play(kind: Kind, home: Path, rounds: int) -> int:
    """That many rounds with a random seed, which is printed; returns the acknowledged writes."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    with Campaign(kind, home, seed) as campaign:
        for _ in range(rounds):
            campaign.round()
        return campaign.acknowledged


def test_no_acknowledged_write_is_lost(tmp_path: Path) -> None:
    assert play(PYKVD, tmp_path, rounds=3) > 0


def test_no_acknowledged_write_is_lost_on_a_slow_disk(tmp_path: Path) -> None:
    assert play(on_slow_disk(PYKVD), tmp_path, rounds=3) > 0


@pytest.mark.etcd
@pytest.mark.skipif(not ETCD.installed(), reason="etcd is not installed")
def test_the_checker_accepts_etcd(tmp_path: Path) -> None:
    assert play(ETCD, tmp_path, rounds=1) > 0


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", [PYKVD, on_slow_disk(PYKVD)], ids=["fast", "slow"])
def test_no_acknowledged_write_is_lost_in_many_rounds(kind: Kind, tmp_path: Path) -> None:
    assert play(kind, tmp_path, rounds=int(os.environ.get("ROUNDS", "200"))) > 0
