"""Do clients get what their user may have, and no more, as far as they can know?

Whoever asks for something after a change of rights was in force gets what the change says, on any
member; while rights change, either will do. Serializable reads may be judged by old rights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.errors import Failure
from tests.simulation.auth_model import ROOT, AuthState, needs
from tests.simulation.history import is_read, is_serializable
from tests.simulation.operation import AUTH_CHANGES, Method, Operation, Outcome
from tests.simulation.raft_checks import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_auth(history: list[Operation], states: Sequence[AuthState]) -> None:
    """Check a finished run; `states` are in the order of time. Raises Violation."""
    for operation in history:
        if operation.outcome is Outcome.UNKNOWN:
            continue
        if operation.method is Method.AUTHENTICATE:
            _check_login(operation, _during(operation, states))
        elif operation.method in AUTH_CHANGES:
            _check_change(operation, _during(operation, states))
        elif is_read(operation):
            _check_read(operation, _during(operation, states))


def _during(operation: Operation, states: Sequence[AuthState]) -> list[AuthState]:
    """The states that a request may have met: first the one in force when it began."""
    met = [state for state in states if state.since <= operation.returned]
    if is_serializable(operation):
        return met
    begun = sum(state.since <= operation.invoked for state in met)
    return met[begun - 1 :]


def _check_login(operation: Operation, met: list[AuthState]) -> None:
    request = operation.request
    right = [
        state.enabled and state.users.get(request.name, (b"",))[0] == request.password.encode()
        for state in met
    ]
    if operation.outcome is Outcome.ANSWERED and not any(right):
        raise Violation(f"{operation} got a token")
    if operation.error == Failure.AUTH_FAILED.text and all(right):
        raise Violation(f"{operation} was refused")


def _check_change(operation: Operation, met: list[AuthState]) -> None:
    may = [not state.enabled or state.is_root(operation.user) for state in met]
    if operation.outcome is Outcome.ANSWERED and not any(may):
        raise Violation(f"{operation} was done, though it is for {ROOT} alone")
    if operation.error == Failure.PERMISSION_DENIED.text and all(may):
        raise Violation(f"{operation} was refused")


def _check_read(operation: Operation, met: list[AuthState]) -> None:
    wanted = list(needs(operation.request, lambda _: ()))
    may = [state.permits(operation.user, wanted) for state in met]
    if operation.outcome is Outcome.ANSWERED and not any(may):
        raise Violation(f"{operation} was answered, though its user may not read that")
    if operation.error == Failure.PERMISSION_DENIED.text and all(may):
        raise Violation(f"{operation} was refused, though its user may read that")
