"""Does the timeline tell the truth, within its resolution of a second?

The time of a revision is the time of day of the member that proposed it, or that of an earlier
revision where that is later: the timeline does not go back when clocks do.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from pykvd.errors import Failure
from pykvd.mvcc.timeline import RESOLUTION_NS
from tests.simulation.operation import Method, Operation, Outcome
from tests.simulation.raft_checks import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_times(history: list[Operation], times: Sequence[int], compacted: int) -> None:
    """Check a finished run; `times` are nanoseconds, by revision. Raises Violation."""
    for operation in history:
        if operation.method is Method.REVISION_AT:
            _check_revision(operation, times, compacted)
        elif operation.method is Method.TIMES and operation.outcome is Outcome.ANSWERED:
            newest = operation.header_revision
            pairs = zip(operation.request.revisions, operation.response.times_ns, strict=True)
            for revision, time_ns in pairs:
                if revision > newest and time_ns:
                    raise Violation(f"{operation} has a time of revision {revision}")
                _check_time(operation, times, compacted, revision, time_ns)


def _check_revision(operation: Operation, times: Sequence[int], compacted: int) -> None:
    asked = operation.request.time_ns
    if operation.error == Failure.COMPACTED.text:
        if _newest(times, asked) > compacted:
            raise Violation(f"{operation} was refused, but is not compacted")
        return
    if operation.outcome is not Outcome.ANSWERED:
        return
    until = times[: operation.header_revision + 1]
    earliest, latest = _newest(until, asked - RESOLUTION_NS), _newest(until, asked)
    answer = operation.response
    if not earliest <= answer.revision <= latest:
        raise Violation(f"{operation} tells {answer.revision}, not {earliest} to {latest}")
    _check_time(operation, times, compacted, answer.revision, answer.time_ns)


def _newest(times: Sequence[int], time_ns: int) -> int:
    """The newest revision at a time; 1 is there from the beginning."""
    return max(1, bisect_right(times, time_ns) - 1)


def _check_time(
    operation: Operation, times: Sequence[int], compacted: int, revision: int, time_ns: int
) -> None:
    if not time_ns:
        if compacted < revision <= operation.header_revision and revision > 1:
            raise Violation(f"{operation} does not know when revision {revision} was made")
    elif not times[revision] - RESOLUTION_NS < time_ns <= times[revision]:
        raise Violation(f"{operation} tells {time_ns} of revision {revision}: {times[revision]}")
