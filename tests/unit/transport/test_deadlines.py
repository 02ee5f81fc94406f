"""The deadline wheel against a sorted list."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.transport.deadlines import MAX_SLOTS, DeadlineWheel, Slot


class Entry:
    def __init__(self, deadline: float) -> None:
        self.deadline: float | None = deadline
        self.slot: Slot | None = None
        self.fired = 0

    def deadline_passed(self) -> None:
        self.fired += 1


@given(st.lists(st.floats(0, 0.09), min_size=1), st.floats(0, 1e6))
def test_near_deadlines_are_kept_to_the_millisecond(timeouts: list[float], now: float) -> None:
    armed: list[float] = []
    wheel = DeadlineWheel(armed.append)
    entries = [Entry(now + timeout) for timeout in timeouts]
    for entry in entries:
        assert entry.deadline is not None
        wheel.add(entry, entry.deadline, now)
    following: float | None = min(armed)
    while following is not None:
        now, following = following, wheel.expire(following)
        for entry in entries:
            assert entry.deadline is not None
            assert entry.fired <= (entry.deadline <= now)
            assert entry.fired or entry.deadline > now - 0.0011
    assert all(entry.fired == 1 for entry in entries)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 60), st.booleans()), max_size=50),
    st.lists(st.floats(0.001, 20), max_size=30),
)
def test_each_call_expires_once_at_most_20_ms_late(
    calls: list[tuple[float, bool]], steps: list[float]
) -> None:
    armed: list[float] = []
    wheel = DeadlineWheel(armed.append)
    entries = []
    for deadline, cancelled in calls:
        entry = Entry(deadline)
        wheel.add(entry, deadline, 0.0)
        if cancelled:
            assert entry.slot is not None
            del entry.slot[entry]
        else:
            entries.append(entry)
    now = 0.0
    following = min(armed, default=None)
    for step in [*steps, 1000.0]:
        now += step
        due = following is not None and following <= now
        following = wheel.expire(now)
        assert following is None or following > now - 0.01
        for entry in entries:
            assert entry.deadline is not None
            assert entry.fired <= 1
            if entry.fired:
                assert due or entry.deadline <= now
                assert entry.deadline <= now
            else:
                assert entry.deadline > now - 0.02
    assert all(entry.fired == 1 for entry in entries)


def test_slots_are_bounded_whatever_the_timeouts() -> None:
    wheel = DeadlineWheel(lambda _: None)
    for number in range(20_000):
        entry = Entry(number * 7.3)
        wheel.add(entry, number * 7.3, 0.0)
    assert len(wheel._slots) <= MAX_SLOTS
    assert len(wheel._ticks) == len(wheel._slots)


def test_timer_is_armed_only_when_the_earliest_slot_moves() -> None:
    armed: list[float] = []
    wheel = DeadlineWheel(armed.append)
    for deadline in (5.0, 6.0, 4.0, 4.001):
        wheel.add(Entry(deadline), deadline, 0.0)
    assert armed == [5.01, 4.01]
