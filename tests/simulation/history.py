"""Is the clients' history linearizable? And is every change of the store explained by a request?

Every change of the store has a revision of its own, every answer says at which revision it was
given, and every put writes a value that no other does. So the order of a linearization is known,
and there is nothing to search for (as a checker in the manner of Wing and Gong has to): operations
in order of their revision, those that change nothing behind the one that made the revision.

`check_history` proves, over the whole store rather than key by key:

1. *Each revision has exactly one cause*: a request of a client whose effect on the state before is
   exactly the change that was seen (`model`), or the end of a lease. No request has two effects, no
   refused request has any, and every acknowledged change is there: nothing is lost, doubled, made
   up or torn.
2. *Each answer is right*: it is what the model answers at the revision that the answer names.
3. *Real time is kept*: a request that began after another had been answered is not before it in the
   order. Serializable reads are exempt: they may be old, but must be right for their revision.

From 2 and 3 it follows that the history is strictly serializable. A request without an answer may
have an effect at any time after it began, or none. One whose effect is to delete keys, which leaves
no value to know it by, is matched greedily; as it has no latest time, any eligible match will do.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from pykvd.pb import rpc_pb2 as rpc
from tests.simulation.model import Model
from tests.simulation.operation import Method, Operation, Outcome
from tests.simulation.raft_checks import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.simulation.truth import Change, Truth

WRITES = {Method.PUT, Method.DELETE_RANGE, Method.TXN, Method.REVOKE}
CHECKED_ANSWERS = {Method.PUT, Method.DELETE_RANGE, Method.TXN, Method.RANGE}


class HistoryCheck:
    """One check of one history against what really happened. Raises Violation."""

    def __init__(self, history: list[Operation], truth: Truth, users: Mapping[int, str]) -> None:
        self._history = history
        self._users = users
        self._truth = truth
        self._floors = _Floors(history)
        self._by_number = {operation.number: operation for operation in history}
        self._answered_at: dict[int, list[Operation]] = {}
        for operation in history:
            if operation.outcome is Outcome.ANSWERED and may_write(operation):
                self._answered_at.setdefault(operation.header_revision, []).append(operation)

    def run(self) -> None:
        """All of it."""
        for revision in range(2, self._truth.revision + 1):
            self._explain(revision)
        for operation in self._history:
            if operation.outcome is Outcome.ANSWERED:
                self._check_answer(operation)
                self._check_time(operation)

    # Causes

    def _explain(self, revision: int) -> None:
        changes = self._truth.changes[revision]
        cause = next(self._causes(revision, changes), None)
        if cause is None:
            if not self._is_end_of_lease(revision, changes):
                raise Violation(f"nobody asked for revision {revision}: {_keys(changes)}")
            return
        if cause.revision:
            raise Violation(f"{cause} took effect twice, at {cause.revision} and {revision}")
        if cause.outcome is Outcome.REFUSED:
            raise Violation(f"{cause} was refused ({cause.error}), but is revision {revision}")
        if not self._may_be(cause, revision):
            raise Violation(f"{cause} is revision {revision}, of {self._users[revision]}")
        if revision <= self._floors.before(cause.invoked):
            raise Violation(f"{cause} is revision {revision}, older than what was answered before")
        cause.revision = revision

    def _causes(self, revision: int, changes: tuple[Change, ...]) -> Iterator[Operation]:
        """Who may have made the revision; the most certain first."""
        for change in changes:
            if change.kv is not None:
                owner = self._by_number[int(change.kv.value.split(b".")[0])]
                if not self._makes(owner, revision, changes):
                    raise Violation(f"revision {revision} is not what {owner} asks for")
                yield owner
                return
        answered = self._answered_at.get(revision, [])
        # A revoke does not tell whether it deleted anything; a deletion beside it does.
        for operation in sorted(answered, key=lambda each: each.method is Method.REVOKE):
            # One that came too late to have done it found the lease without keys.
            late = revision <= self._floors.before(operation.invoked)
            told = not late if operation.method is Method.REVOKE else _wrote(operation)
            if told and not operation.revision and self._makes(operation, revision, changes):
                yield operation
        if self._is_end_of_lease(revision, changes):
            # Its lease is cause enough: an operation of unknown outcome may be needed later on.
            return
        for operation in self._history:
            if (
                operation.outcome is Outcome.UNKNOWN
                and operation.method in WRITES
                and not operation.revision
                and self._may_be(operation, revision)
                and revision > self._floors.before(operation.invoked)
                and self._makes(operation, revision, changes)
            ):
                yield operation

    def _may_be(self, operation: Operation, revision: int) -> bool:
        """Whether the log has the revision in the name of the operation's user."""
        return self._users.get(revision, operation.user) == operation.user

    def _makes(self, operation: Operation, revision: int, changes: tuple[Change, ...]) -> bool:
        if operation.method is Method.REVOKE:
            lease: int = operation.request.ID
            return self._ended_lease(revision, changes) == lease
        model = Model(self._truth, revision - 1)
        model.run(operation.request)
        return model.changes == [tuple(change) for change in changes]

    def _is_end_of_lease(self, revision: int, changes: tuple[Change, ...]) -> bool:
        return self._ended_lease(revision, changes) != 0

    def _ended_lease(self, revision: int, changes: tuple[Change, ...]) -> int:
        """The lease whose keys, all of them and no others, a revision deletes; or 0."""
        before = list(self._truth.state(revision - 1))
        deleted = {change.key for change in changes if change.kv is None}
        leases = {kv.lease for kv in before if kv.key in deleted}
        if len(deleted) < len(changes) or len(leases) != 1:
            return 0
        lease = leases.pop()
        return lease if deleted == {kv.key for kv in before if kv.lease == lease} else 0

    # Answers

    def _check_answer(self, operation: Operation) -> None:
        if operation.method not in CHECKED_ANSWERS:
            return
        wrote = _wrote(operation)
        revision = operation.header_revision
        if wrote and operation.revision != revision:
            raise Violation(f"{operation} was acknowledged at {revision}, but is not there")
        if not wrote and operation.revision:
            raise Violation(f"{operation} was said to change nothing: {operation.revision}")
        if revision > self._truth.revision:
            raise Violation(f"{operation} was answered at {revision}, which nobody reached")
        model = Model(self._truth, revision - 1 if wrote else revision)
        expected = model.run(operation.request)
        expected.header.CopyFrom(operation.response.header)
        if expected != operation.response:
            raise Violation(
                f"{operation} was answered at revision {revision} with\n{operation.response}\n"
                f"instead of\n{expected}"
            )

    def _check_time(self, operation: Operation) -> None:
        if is_serializable(operation):
            return
        revision = operation.header_revision
        floor = self._floors.before(operation.invoked)
        if revision < floor:
            raise Violation(
                f"{operation} was answered at revision {revision}, although {floor} had been "
                "answered before it began"
            )


class _Floors:
    """The highest revision that had been answered before a given time."""

    def __init__(self, history: list[Operation]) -> None:
        answered = sorted(
            (operation.returned, operation.header_revision)
            for operation in history
            if operation.outcome is Outcome.ANSWERED
        )
        self._times: list[float] = []
        self._revisions: list[int] = [0]
        for returned, revision in answered:
            self._times.append(returned)
            self._revisions.append(max(self._revisions[-1], revision))

    def before(self, invoked: float) -> int:
        """The floor of a request that begins then."""
        return self._revisions[bisect_left(self._times, invoked)]


def is_serializable(operation: Operation) -> bool:
    """Whether the client asked for less than linearizability."""
    match operation.method:
        case Method.RANGE:
            return bool(operation.request.serializable)
        case Method.TXN:
            ops = (*operation.request.success, *operation.request.failure)
            return all(op.HasField("request_range") and op.request_range.serializable for op in ops)
        # The headers of these are the leader's or the member's own, and say nothing of order.
        case Method.KEEP_ALIVE | Method.MOVE_LEADER:
            return True
        case Method.DOWNGRADE:
            return bool(operation.request.action == rpc.DowngradeRequest.VALIDATE)
    return False


def is_read(operation: Operation) -> bool:
    """Whether it reads keys and does nothing else."""
    if operation.method is not Method.TXN:
        return operation.method is Method.RANGE
    ops = (*operation.request.success, *operation.request.failure)
    return all(op.HasField("request_range") for op in ops)


def may_write(operation: Operation) -> bool:
    """Whether an answered request may be what made the revision of its answer."""
    return operation.method is Method.REVOKE or _wrote(operation)


def _wrote(operation: Operation) -> bool:
    """Whether the answer says that something changed."""
    response: Any = operation.response
    match operation.method:
        case Method.PUT:
            return True
        case Method.DELETE_RANGE:
            return bool(response.deleted)
        case Method.TXN:
            return any(
                op.HasField("response_put") or op.response_delete_range.deleted
                for op in response.responses
            )
    return False


def _keys(changes: tuple[Change, ...]) -> str:
    return ", ".join(f"{'delete' if kv is None else 'put'} {key!r}" for key, kv in changes)


def check_history(
    history: list[Operation], truth: Truth, users: Mapping[int, str] | None = None
) -> None:
    """Check a finished run; `users` are those of revisions, while auth was on. Raises Violation."""
    HistoryCheck(history, truth, users or {}).run()
