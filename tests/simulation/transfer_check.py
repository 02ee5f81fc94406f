"""Whoever was told that leadership has moved can rely on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.operation import Method, Operation, Outcome
from tests.simulation.raft_checks import Violation

if TYPE_CHECKING:
    from tests.simulation.raft_checks import RaftChecks


def check_transfers(history: list[Operation], raft: RaftChecks) -> None:
    """Check a finished run: the target led in a later term than the member that was asked.

    Raises Violation.
    """
    for operation in history:
        if operation.method is not Method.MOVE_LEADER or operation.outcome is not Outcome.ANSWERED:
            continue
        asked, target = operation.member, operation.request.targetID
        led = _terms(raft, asked, operation.invoked)
        leads = _terms(raft, target, operation.returned)
        if max(leads) <= max(led) and asked != target:
            raise Violation(f"{operation} was answered, but m{target} never led")


def _terms(raft: RaftChecks, member: int, until: float) -> list[int]:
    """The terms that a member was elected for, and 0."""
    found = [each.term for each in raft.elections if each.member == member and each.time <= until]
    return [0, *found]
