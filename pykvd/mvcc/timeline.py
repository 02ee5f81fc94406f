"""When revisions were written: samples of (time, newest revision), one a second at most.

A sample is taken with the first change that comes a second or more after the last sample, and says
which revision was the newest just before that change. So all changes between two samples were made
within a second of the first of them: a state outside of such busy seconds is known exactly, one
inside of them with a resolution of a second.

Times come from the log, hence all members have the same samples. They never go back here, whatever
the proposers' clocks do.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from struct import Struct

TABLE = "time"
RESOLUTION_NS = 1_000_000_000
#: About three days of a change every second; the oldest are forgotten first.
MAX_SAMPLES = 1 << 18
#: The revision of an empty store.
EMPTY = 1

_U64 = Struct(">Q")


class Timeline:
    """Samples in the order of time; revisions never decrease either."""

    def __init__(self) -> None:
        self._times = array("Q")
        self._revisions = array("Q")

    def load(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the entries of the store's table, which are in key order."""
        del self._times[:], self._revisions[:]
        for key, value in entries:
            self._times.append(_U64.unpack(key)[0])
            self._revisions.append(_U64.unpack(value)[0])

    def is_due(self, time_ns: int) -> bool:
        """Whether a change at that time begins a new sample."""
        return not self._times or time_ns >= self._times[-1] + RESOLUTION_NS

    def note(self, time_ns: int, revision: int) -> tuple[bytes, bytes]:
        """Take a sample: `revision` was the newest before the change at `time_ns`.

        Returns the table's entry.
        """
        self._times.append(time_ns)
        self._revisions.append(revision)
        return _U64.pack(time_ns), _U64.pack(revision)

    def forget(self, revision: int) -> list[bytes]:
        """Drop what tells nothing about revisions from `revision` on; returns the table's keys.

        Beyond MAX_SAMPLES the oldest go too.
        """
        kept_from = max(0, bisect_right(self._revisions, revision) - 1)
        kept_from = max(kept_from, len(self._times) - MAX_SAMPLES)
        dropped = [_U64.pack(time_ns) for time_ns in self._times[:kept_from]]
        del self._times[:kept_from], self._revisions[:kept_from]
        return dropped

    def revision_at(self, time_ns: int, newest: int) -> int | None:
        """The newest revision at that time, `newest` being the present one.

        None for times that nothing is known of any more.
        """
        following = bisect_right(self._times, time_ns)
        if not following:
            first = self._revisions[0] if self._revisions else newest
            return first if first <= EMPTY else None
        if time_ns < self._times[following - 1] + RESOLUTION_NS:
            return self._revisions[following - 1]
        return self._revisions[following] if following < len(self._times) else newest

    def time_of(self, revision: int) -> int | None:
        """When a revision that exists was written, at most a second too early; None if unknown."""
        position = bisect_left(self._revisions, revision)
        return self._times[position - 1] if position else None
