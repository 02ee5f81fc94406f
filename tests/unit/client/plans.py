"""Runs plans against a script instead of a network: each step is answered by a function."""

from collections.abc import Callable
from typing import TypeVar

from pykvd.client.steps import Await, Pause, Plan, Step

T = TypeVar("T")


class Clock:
    """A clock that only pauses move, and waiting in vain."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def play(plan: Plan[T], answer: Callable[[Step], object], clock: Clock) -> T:
    """The plan's result, when `answer` does its steps; an exception it returns is thrown in."""
    return _play(plan, lambda: next(plan), answer, clock)


def play_on(plan: Plan[T], answer: Callable[[Step], object], clock: Clock) -> T:
    """The same for a plan that waits in a pause."""
    return _play(plan, lambda: plan.send(None), answer, clock)


def _play(
    plan: Plan[T], begin: Callable[[], Step], answer: Callable[[Step], object], clock: Clock
) -> T:
    try:
        step = begin()
        while True:
            result: object = None
            if isinstance(step, Pause):
                clock.now += step.seconds
            elif isinstance(step, Await):  # nobody else is there to set it
                assert step.deadline is not None
                clock.now = max(clock.now, step.deadline)
                result = TimeoutError()
            else:
                result = answer(step)
            step = plan.throw(result) if isinstance(result, BaseException) else plan.send(result)
    except StopIteration as done:
        value: T = done.value
        return value
