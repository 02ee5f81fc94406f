"""Deadlines of many calls behind one timer.

Calls are filed by tick, so that a call which ends in time is taken out at once and nothing stays
behind. Near deadlines have a tick for each millisecond, others one for each ten: the timer runs
less often for them, and what that adds to a long wait is little. A deadline beyond the horizon
waits in the last slot and is filed again from there, so that the number of slots is bounded
whatever timeouts clients send. Slots are dicts used as ordered sets: calls expire in the order they
came.
"""

import heapq
from collections.abc import Callable
from typing import Protocol

TICKS_PER_SECOND = 1000
#: Deadlines farther away than NEAR seconds have one of so many ticks a second.
COARSE_PER_SECOND = 100
NEAR = 0.1
HORIZON = 10.0
#: All coarse ticks up to the horizon, and all that are near.
MAX_SLOTS = int(HORIZON * COARSE_PER_SECOND + NEAR * TICKS_PER_SECOND) + 2
_COARSE = TICKS_PER_SECOND // COARSE_PER_SECOND

Slot = dict["Expiring", None]


class Expiring(Protocol):
    """What the wheel holds: hashed by identity, with a deadline in seconds."""

    deadline: float | None
    slot: Slot | None
    """Where it is filed. Who ends a call in time removes it from there."""

    def deadline_passed(self) -> None:
        """The deadline has come; the call is no longer in the wheel."""


class DeadlineWheel:
    """All deadlines of one server. Times are seconds on the loop's clock.

    Invariant: `_ticks` is a heap of exactly the keys of `_slots`.
    """

    __slots__ = ("_arm", "_slots", "_ticks")

    def __init__(self, arm: Callable[[float], None]) -> None:
        """`arm(when)` is called when the earliest slot becomes earlier than before."""
        self._slots: dict[int, Slot] = {}
        self._ticks: list[int] = []
        self._arm = arm

    def add(self, call: Expiring, deadline: float, now: float) -> None:
        """File a call under its deadline."""
        # Rounded up, so that a slot is never due before the calls in it.
        ahead = deadline - now
        if ahead <= NEAR:
            tick = int(deadline * TICKS_PER_SECOND) + 1
        else:
            end = deadline if ahead <= HORIZON else now + HORIZON
            tick = (int(end * COARSE_PER_SECOND) + 1) * _COARSE
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = {}
            heapq.heappush(self._ticks, tick)
            if self._ticks[0] == tick:
                self._arm(tick / TICKS_PER_SECOND)
        slot[call] = None
        call.slot = slot

    def expire(self, now: float) -> float | None:
        """Tell every call whose deadline has come; returns when to be called next, or None."""
        late: list[Expiring] = []
        while self._ticks and self._ticks[0] / TICKS_PER_SECOND <= now:
            for call in self._slots.pop(heapq.heappop(self._ticks)):
                if call.deadline is None or call.deadline <= now:
                    call.slot = None
                    late.append(call)
                else:
                    self.add(call, call.deadline, now)
        for call in late:
            call.deadline_passed()
        return self._ticks[0] / TICKS_PER_SECOND if self._ticks else None
