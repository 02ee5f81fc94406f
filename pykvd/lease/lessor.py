"""The lessor: which leases exist, which keys hang on them, when they end.

Pure: the time (seconds of a monotonic clock) is passed in. Which leases exist and what is attached
to them is replicated state, changed only by applied commands. When a lease ends is known to the
leader alone: `promote` starts the clocks, `demote` stops them, and an expired lease is removed by
a revoke that goes through the log like any other.
"""

from collections.abc import Iterator
from heapq import heappop, heappush, merge
from itertools import islice
from math import ceil, inf

from pykvd.histogram import Histogram, exponential

#: etcd's bound on a TTL, in seconds.
MAX_TTL = 9_000_000_000
TTL_BOUNDS = exponential(1, 2, 24)


class Lease:
    """One lease. `ttl` and `remaining` are seconds; remaining 0 means the whole TTL.

    `remaining` is replicated, changed by the log alone; `recording` is how many new values of it
    this leader has on their way there. `due` is when the lessor looks at it next: at its expiry or
    before, or later to retry a revoke; infinite while nothing waits for it. `checked_by` has looked
    at all keys but those of `fresh`, which were attached since; what looks, and for what, is its
    own affair.
    """

    __slots__ = (
        "checked_by",
        "due",
        "expiry",
        "first",
        "fresh",
        "id",
        "keys",
        "last",
        "recording",
        "remaining",
        "ttl",
    )

    def __init__(self, lease_id: int, ttl: int, remaining: int = 0) -> None:
        self.id = lease_id
        self.ttl = ttl
        self.remaining = remaining
        self.recording = 0
        self.expiry = inf
        self.due = inf
        self.keys: set[bytes] = set()
        self.first = self.last = b""
        self.fresh: set[bytes] = set()
        self.checked_by: object = None


class Lessor:
    """All leases of a member."""

    def __init__(self) -> None:
        self.leases: dict[int, Lease] = {}
        self.primary = False
        # (due, id). A renewal only moves Lease.expiry, and an entry that comes up too early is put
        # back with the newer time. An entry that is not its lease's `due` is a leftover.
        self._queue: list[tuple[float, int]] = []
        self.granted = self.revoked = self.renewed = 0
        self.ttls = Histogram(TTL_BOUNDS)
        """The TTLs granted since the start, in seconds."""

    def grant(self, lease_id: int, ttl: int, now: float, remaining: int = 0) -> Lease:
        """Add a lease; on the leader its clock starts at once."""
        lease = self.leases[lease_id] = Lease(lease_id, ttl, remaining)
        if self.primary:
            self._start(lease, now)
        return lease

    def _start(self, lease: Lease, now: float, grace: float = 0.0) -> None:
        self._run_until(lease, now + (lease.remaining or lease.ttl) + grace)

    def _run_until(self, lease: Lease, expiry: float) -> None:
        lease.expiry = expiry
        if lease.expiry < lease.due:
            self._enqueue(lease, lease.expiry)

    def _enqueue(self, lease: Lease, due: float) -> None:
        lease.due = due
        heappush(self._queue, (due, lease.id))

    def revoke(self, lease_id: int) -> list[bytes]:
        """Remove a lease; returns its keys in order. Raises KeyError if it does not exist."""
        self.revoked += 1
        return sorted(self.leases.pop(lease_id).keys)

    def attach(self, lease_id: int, key: bytes) -> None:
        """Hang a key on an existing lease."""
        lease = self.leases[lease_id]
        if not lease.keys:
            lease.first = lease.last = key
        elif key < lease.first:
            lease.first = key
        elif key > lease.last:
            lease.last = key
        lease.keys.add(key)
        if lease.checked_by is not None:
            lease.fresh.add(key)

    def detach(self, lease_id: int, key: bytes) -> None:
        """Take a key off a lease, which may be gone already."""
        lease = self.leases.get(lease_id)
        if lease:
            lease.keys.discard(key)
            lease.fresh.discard(key)

    def renew(self, lease_id: int, now: float) -> int:
        """Restart a lease's clock; returns its TTL, or 0 if it does not exist or has expired.

        What was recorded stays, and with it the shorter time that the next leader would give.
        """
        lease = self.leases.get(lease_id)
        if lease is None or lease.expiry <= now:
            return 0
        self._run_until(lease, now + lease.ttl)
        self.renewed += 1
        return lease.ttl

    def checkpoint(self, lease_id: int, remaining: int, now: float) -> None:
        """Take over a remaining TTL that the leader recorded; 0 restores the whole TTL.

        That is a renewal, perhaps one that the last leader has answered: the clock restarts.
        """
        lease = self.leases.get(lease_id)
        if lease is None:
            return
        lease.remaining = remaining
        if remaining:
            lease.recording = max(0, lease.recording - 1)
        elif self.primary:
            self._run_until(lease, now + lease.ttl)

    def promote(self, now: float, grace: float) -> None:
        """Become the one that expires leases: every clock starts, plus a grace for late holders."""
        self.primary = True
        for lease in self.leases.values():
            lease.recording = 0
            self._start(lease, now, grace)

    def demote(self) -> None:
        """Stop expiring leases."""
        self.primary = False
        self._queue = []
        for lease in self.leases.values():
            lease.expiry = lease.due = inf

    def expired(self, now: float, limit: int) -> list[int]:
        """Up to `limit` leases whose time is over, in order of expiry; each is reported once.

        A lease whose revoke fails is put back with `retry`.
        """
        found: list[int] = []
        while self._queue and self._queue[0][0] <= now and len(found) < limit:
            due, lease_id = heappop(self._queue)
            lease = self.leases.get(lease_id)
            if lease is None or lease.due != due:
                continue
            if lease.expiry > due:
                self._enqueue(lease, lease.expiry)
            else:
                lease.due = inf
                found.append(lease_id)
        return found

    def retry(self, lease_id: int, at: float) -> None:
        """Report an expired lease again at `at`, unless it is gone by then."""
        lease = self.leases.get(lease_id)
        if self.primary and lease and lease.due == inf:
            self._enqueue(lease, at)

    def remaining(self, lease_id: int, now: float) -> int:
        """Whole seconds left; may be negative for an expired lease that is not revoked yet."""
        lease = self.leases[lease_id]
        if lease.expiry == inf:
            return lease.remaining or lease.ttl
        return int((lease.expiry - now) // 1)

    def by_expiry(self, step: int) -> Iterator[list[int]]:
        """Ids of the present leases, those that end first in front, in bounded steps.

        Each looks at `step` leases; those that sort give nothing yet.
        """
        return _by_expiry(list(self.leases.values()), step)

    def to_checkpoint(self, now: float, at_least: float) -> list[tuple[int, int]]:
        """`(id, remaining)` of the leases with more than `at_least` seconds left.

        The grace of a promotion does not count, or it would add up from start to start.
        """
        return [
            (lease.id, min(lease.ttl, ceil(lease.expiry - now)))
            for lease in self.leases.values()
            if at_least < lease.expiry - now < inf
        ]


def _by_expiry(leases: list[Lease], step: int) -> Iterator[list[int]]:
    runs = []
    for start in range(0, len(leases), step):
        some = enumerate(leases[start : start + step], start)
        runs.append(sorted((lease.expiry, place) for place, lease in some))
        yield []
    order = merge(*runs)
    while ids := [leases[place].id for _, place in islice(order, step)]:
        yield ids
