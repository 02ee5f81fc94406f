"""The lessor against a table of leases, under a clock that the test moves."""

from dataclasses import dataclass, field
from itertools import chain
from math import ceil, floor, inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pykvd.lease.lessor import Lessor

IDS = (1, 1 << 62, -4)
ids = st.sampled_from(IDS)
keys = st.sampled_from((b"a", b"b", b"c"))
seconds = st.sampled_from((0.25, 1.0, 2.0, 4.0))


@dataclass
class Expected:
    """What is known of one lease."""

    ttl: int
    remaining: int
    expiry: float = inf
    #: When it is to be reported; None after it has been.
    due: float | None = None
    keys: set[bytes] = field(default_factory=set)


class LessorMachine(RuleBasedStateMachine):
    """Every rule does the same to both."""

    def __init__(self) -> None:
        super().__init__()
        self.lessor = Lessor()
        self.table: dict[int, Expected] = {}
        self.primary = False
        self.now = 100.0

    def _start(self, lease: Expected, grace: float = 0.0) -> None:
        lease.expiry = lease.due = self.now + (lease.remaining or lease.ttl) + grace

    def _restart(self, lease: Expected) -> None:
        lease.expiry = lease.due = self.now + lease.ttl

    @initialize(leads=st.sampled_from((True, True, True, False)))
    def begin(self, leads: bool) -> None:
        if leads:
            self.promote(0.0)

    @rule(lease_id=ids, ttl=st.integers(1, 10), remaining=st.sampled_from((0, 0, 3)))
    def grant(self, lease_id: int, ttl: int, remaining: int) -> None:
        if lease_id in self.table:
            self.renew(lease_id)
            return
        self.lessor.grant(lease_id, ttl, self.now, remaining)
        lease = self.table[lease_id] = Expected(ttl, remaining)
        if self.primary:
            self._start(lease)

    @rule(lease_id=ids)
    def revoke(self, lease_id: int) -> None:
        if lease_id in self.table:
            expected = sorted(self.table.pop(lease_id).keys)
            assert self.lessor.revoke(lease_id) == expected
        else:
            with pytest.raises(KeyError):
                self.lessor.revoke(lease_id)

    @rule(lease_id=ids, key=keys, attach=st.booleans())
    def move_key(self, lease_id: int, key: bytes, attach: bool) -> None:
        if not attach:
            self.lessor.detach(lease_id, key)
            if lease_id in self.table:
                self.table[lease_id].keys.discard(key)
        elif lease_id in self.table:
            self.lessor.attach(lease_id, key)
            self.table[lease_id].keys.add(key)

    @rule(lease_id=ids)
    def renew(self, lease_id: int) -> None:
        if not self.primary:
            return
        lease = self.table.get(lease_id)
        if lease is None or lease.expiry <= self.now:
            assert self.lessor.renew(lease_id, self.now) == 0
        else:
            assert self.lessor.renew(lease_id, self.now) == lease.ttl
            self._restart(lease)

    @rule(lease_id=ids, remaining=st.integers(0, 5))
    def checkpoint(self, lease_id: int, remaining: int) -> None:
        self.lessor.checkpoint(lease_id, remaining, self.now)
        lease = self.table.get(lease_id)
        if lease is None:
            return
        lease.remaining = remaining
        if self.primary and not remaining:
            self._restart(lease)

    @rule(grace=st.sampled_from((0.0, 1.0)), demote=st.sampled_from((True, False, False, False)))
    def change_leader(self, grace: float, demote: bool) -> None:
        if not self.primary:
            self.promote(grace)
        elif demote:
            self.demote()

    def promote(self, grace: float) -> None:
        self.primary = True
        self.lessor.promote(self.now, grace)
        for lease in self.table.values():
            self._start(lease, grace)

    def demote(self) -> None:
        self.primary = False
        self.lessor.demote()
        for lease in self.table.values():
            lease.expiry, lease.due = inf, None

    @rule(passed=seconds, limit=st.integers(0, 3))
    def advance(self, passed: float, limit: int) -> None:
        """Let time pass; a limit of 0 leaves what expires to a later look."""
        self.now += passed
        if not limit:
            return
        due = [
            (lease.due, lease_id)
            for lease_id, lease in self.table.items()
            if lease.due is not None and lease.due <= self.now
        ]
        found = self.lessor.expired(self.now, limit)
        assert found == [lease_id for _, lease_id in sorted(due)][:limit]
        for lease_id in found:
            self.table[lease_id].due = None

    @rule(lease_id=ids, later=seconds)
    def retry(self, lease_id: int, later: float) -> None:
        self.lessor.retry(lease_id, self.now + later)
        lease = self.table.get(lease_id)
        if lease and self.primary and lease.due is None:
            lease.due = self.now + later

    @invariant()
    def agrees(self) -> None:
        assert self.lessor.primary == self.primary
        assert set(self.lessor.leases) == set(self.table)
        for lease_id, lease in self.table.items():
            found = self.lessor.leases[lease_id]
            assert (found.ttl, found.remaining, found.keys) == (
                lease.ttl,
                lease.remaining,
                lease.keys,
            )
            assert all(found.first <= key <= found.last for key in found.keys)
            left = floor(lease.expiry - self.now) if self.primary else lease.remaining or lease.ttl
            assert self.lessor.remaining(lease_id, self.now) == left

    @invariant()
    def lists_agree(self) -> None:
        ids = list(chain.from_iterable(self.lessor.by_expiry(2)))
        order = [self.table[lease_id].expiry for lease_id in ids]
        assert order == sorted(lease.expiry for lease in self.table.values())
        assert sorted(self.lessor.to_checkpoint(self.now, 2.0)) == sorted(
            (lease_id, min(lease.ttl, ceil(lease.expiry - self.now)))
            for lease_id, lease in self.table.items()
            if 2.0 < lease.expiry - self.now < inf
        )


TestLessor = LessorMachine.TestCase
TestLessor.settings = settings(
    max_examples=250, stateful_step_count=50, deadline=None, derandomize=True
)
