"""Random unary episodes: KV with every option, transactions, leases, compaction, hashes."""

import random
from typing import TYPE_CHECKING

from pykvd.pb import rpc_pb2
from tests.conformance.kv_requests import random_delete, random_put, random_range
from tests.conformance.revisions import compacted, now
from tests.conformance.steps import Call, KeepAlive, Step
from tests.conformance.txns import random_txn
from tests.conformance.universe import (
    LEASES,
    MAX_INT64,
    MIN_INT64,
    UNKNOWN_LEASE,
    Dice,
)
from tests.harness import methods

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TTL = 9_000_000_000
#: An id used only for leases that are revoked by the next step, whatever TTL they got.
SHORT_LEASE = 77


def unary_episode(rng: random.Random, length: int) -> list[Step]:
    """About `length` unary steps."""
    dice = Dice(rng)
    # A hash taken while a background compaction deletes records is not determined.
    hashes = dice.chance(0.7)
    steps: list[Step] = []
    while len(steps) < length:
        steps.extend(_step(dice, hashes))
    return steps


def _step(dice: Dice, hashes: bool) -> list[Step]:
    kinds: list[tuple[int, Callable[[], list[Step]]]] = [
        (30, lambda: [Call(methods.RANGE, random_range(dice, alone=True))]),
        (24, lambda: [Call(methods.PUT, random_put(dice))]),
        (8, lambda: [Call(methods.DELETE, random_delete(dice))]),
        (24, lambda: [Call(methods.TXN, random_txn(dice))]),
        (1, lambda: [Call(methods.COMPACT, random_compaction(dice, hashes))]),
        (9, lambda: _lease_steps(dice)),
        (4, lambda: _hash_steps(dice) if hashes else []),
    ]
    weights = [weight for weight, _ in kinds]
    [(_, make)] = dice.rng.choices(kinds, weights)
    return make()


def random_compaction(dice: Dice, physical: bool) -> rpc_pb2.CompactionRequest:
    """A Compact at a revision that is mostly legal."""
    revision = now(-dice.rng.randrange(25))
    if dice.chance(0.3):
        revision = dice.pick((0, -1, now(3), compacted(0), compacted(-1), MAX_INT64, MIN_INT64))
    return rpc_pb2.CompactionRequest(revision=revision, physical=physical or dice.chance(0.5))


def _lease_steps(dice: Dice) -> list[Step]:
    choice = dice.rng.random()
    if choice < 0.3:
        # 60 s at least: no lease may expire while an episode runs.
        ttl = dice.pick((60, 100, 3600, MAX_TTL, MAX_TTL + 1, MAX_INT64))
        grant = rpc_pb2.LeaseGrantRequest(ID=dice.pick(LEASES), TTL=ttl)
        return [Call(methods.GRANT, grant)]
    if choice < 0.35:
        short = rpc_pb2.LeaseGrantRequest(ID=SHORT_LEASE, TTL=dice.pick((0, 1, -1, MIN_INT64)))
        revoke = rpc_pb2.LeaseRevokeRequest(ID=SHORT_LEASE)
        return [Call(methods.GRANT, short), Call(methods.REVOKE, revoke)]
    if choice < 0.5:
        return [Call(methods.REVOKE, rpc_pb2.LeaseRevokeRequest(ID=_any_lease(dice)))]
    if choice < 0.85:
        request = rpc_pb2.LeaseTimeToLiveRequest(ID=_any_lease(dice), keys=dice.chance(0.7))
        return [Call(methods.TIME_TO_LIVE, request)]
    if choice < 0.95:
        return [Call(methods.LEASES, rpc_pb2.LeaseLeasesRequest())]
    return [KeepAlive(tuple(_any_lease(dice) for _ in range(3)))]


def _any_lease(dice: Dice) -> int:
    return dice.pick((0, UNKNOWN_LEASE, -1)) if dice.chance(0.1) else dice.lease()


def _hash_steps(dice: Dice) -> list[Step]:
    revision = 0 if dice.chance(0.5) else dice.revision()
    return [Call(methods.HASH_KV, rpc_pb2.HashKVRequest(revision=revision))]
