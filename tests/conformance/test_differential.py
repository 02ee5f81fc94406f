"""The same random requests to pykvd and to a real etcd: every answer must be the same.

`PYKVD_CONFORMANCE_SEED` replays a run, `PYKVD_CONFORMANCE_N` sets the number of steps.
"""

import os
import random
from collections.abc import Callable

import pytest

from tests.conformance.auth_requests import auth_episode
from tests.conformance.duel import explain, fresh_duel
from tests.conformance.generate import unary_episode
from tests.conformance.steps import Reset, Step
from tests.conformance.watch_requests import watch_episode
from tests.harness import Kind

pytestmark = pytest.mark.etcd

SEED = int(os.environ.get("PYKVD_CONFORMANCE_SEED", "1"))
STEPS = int(os.environ.get("PYKVD_CONFORMANCE_N", "0"))
EPISODE = 250

Generate = Callable[[random.Random, int], list[Step]]


def run(reference: Kind, subject: Kind, generate: Generate, total: int) -> None:
    """Episodes of `generate` until `total` steps: the first on fresh servers, the rest on reset."""
    print(f"PYKVD_CONFORMANCE_SEED={SEED} PYKVD_CONFORMANCE_N={total}")
    with fresh_duel(reference, subject) as duel:
        for number in range(-(-total // EPISODE)):
            steps = generate(random.Random(f"{SEED}/{number}"), min(EPISODE, total))
            if number:
                steps = [Reset(), *steps]
            found = duel.play(steps)
            if found is not None:
                why = explain(reference, subject, steps, found)
                pytest.fail(f"seed {SEED}, episode {number}: {why}", pytrace=False)


def test_unary_requests(reference_kind: Kind, subject_kind: Kind) -> None:
    run(reference_kind, subject_kind, unary_episode, STEPS or 5000)


def test_watch_streams(reference_kind: Kind, subject_kind: Kind) -> None:
    run(reference_kind, subject_kind, watch_episode, (STEPS or 5000) // 5)


def test_requests_under_auth(reference_kind: Kind, subject_kind: Kind) -> None:
    run(reference_kind, subject_kind, auth_episode, (STEPS or 5000) // 8)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_unary_requests(reference_kind: Kind, subject_kind: Kind) -> None:
    run(reference_kind, subject_kind, unary_episode, STEPS or 50_000)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_watch_streams(reference_kind: Kind, subject_kind: Kind) -> None:
    run(reference_kind, subject_kind, watch_episode, STEPS or 10_000)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_requests_under_auth(reference_kind: Kind, subject_kind: Kind) -> None:
    run(reference_kind, subject_kind, auth_episode, STEPS or 20_000)
