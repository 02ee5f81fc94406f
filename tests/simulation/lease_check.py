"""Do leases live as long as was promised, and no longer?

A lease that was granted or renewed lives for its TTL from the beginning of that request, whatever
leaders come and go (by the fastest clock; `Lessor.promote` gives each leader's leases their whole
time again). Nothing is attached to it after its end. And in quiet times it ends when it is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.operation import Method, Operation, Outcome
from tests.simulation.raft_checks import Violation

if TYPE_CHECKING:
    from tests.simulation.plan import Plan
    from tests.simulation.truth import Truth

ELECTION_SLACK_SECONDS = 5.0
"""In quiet times: until a leader is there, and has begun to expire leases."""
RETRY_SECONDS = 8.0
"""After this a revoke that was refused comes again (`NodeConfig.request_timeout`)."""
EXPIRY_SLACK_SECONDS = 3.0
"""The grace of a new leader, the interval between two passes, and the log."""


def check_leases(
    history: list[Operation], truth: Truth, plan: Plan, now: float, blocked_until: float = 0.0
) -> None:
    """Check a finished run; until `blocked_until` no lease could be ended. Raises Violation."""
    calm = max(plan.seconds + ELECTION_SLACK_SECONDS, blocked_until + RETRY_SECONDS)
    by_lease: dict[int, list[Operation]] = {}
    for operation in history:
        if operation.method in (Method.GRANT, Method.KEEP_ALIVE, Method.REVOKE):
            by_lease.setdefault(operation.request.ID, []).append(operation)
    for lease_id, operations in by_lease.items():
        grant = operations[0]
        if grant.outcome is Outcome.ANSWERED:
            _check_lease(lease_id, grant.response.TTL, operations, truth, plan, now, calm)
    _check_attachments(truth)


def _check_lease(
    lease_id: int,
    ttl: int,
    operations: list[Operation],
    truth: Truth,
    plan: Plan,
    now: float,
    calm: float,
) -> None:
    end = truth.lease_ends.get(lease_id)
    if end is None:
        last = max(operation.invoked for operation in operations)
        due = max(last, calm) + ttl / (1 - plan.clock_skew)
        if due + EXPIRY_SLACK_SECONDS < now:
            raise Violation(f"lease {lease_id} of {ttl}s, last renewed at {last:.3f}, never ended")
        return
    revoked = any(
        operation.method is Method.REVOKE and operation.invoked <= end.time
        for operation in operations
    )
    renewals = [
        operation.invoked
        for operation in operations
        if operation.outcome is Outcome.ANSWERED
        and operation.method is not Method.REVOKE
        and operation.response.TTL
        and operation.returned <= end.time
    ]
    if not revoked and renewals and end.time < max(renewals) + ttl / (1 + plan.clock_skew):
        raise Violation(
            f"lease {lease_id} of {ttl}s, renewed at {max(renewals):.3f}, ended at {end.time:.3f}"
        )


def _check_attachments(truth: Truth) -> None:
    for revision, changes in truth.changes.items():
        for key, kv in changes:
            end = truth.lease_ends.get(kv.lease) if kv is not None else None
            if end is not None and revision > end.revision:
                raise Violation(f"{key!r} at {revision} is attached to a lease that had ended")
