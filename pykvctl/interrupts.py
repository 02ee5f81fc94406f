"""Ctrl-C and SIGTERM, for commands that have something to undo. For the main thread only.

Signals often come twice: from the terminal, and from a wrapper that passes on what it got. The
second one must not interrupt what the first has set off.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

#: A signal that comes just before the main thread blocks on a lock does not wake it: whoever waits
#: for something that a signal may end looks up this often.
LOOK_UP_S = 0.5

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, FrameType | None], object]


# A signal that came while nothing could be interrupted; with it, whoever can be is.
_early = False
# Whether any was taken, and whether the process ends then.
_taken = False
_ending = False


def end_after_signals() -> None:
    """Have the process ignore all signals after one that was taken.

    For one that ends then: the second signal may come at any time until it has.
    """
    global _ending  # noqa: PLW0603
    _ending = True


@contextmanager
def _handled(handler: _Handler) -> Iterator[None]:
    before = _handle(handler)
    try:
        yield
    finally:
        for number, old in zip(_SIGNALS, before, strict=True):
            signal.signal(number, _ignore if _taken and _ending else old)


def _handle(handler: _Handler) -> list[signal.Handlers | _Handler | int | None]:
    """Set the handler of both signals; the former ones."""
    return [signal.signal(number, handler) for number in _SIGNALS]


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Unlike SIG_IGN this is not passed on to programs that are run."""


def _remember(_number: int, _frame: FrameType | None) -> None:
    global _early, _taken  # noqa: PLW0603  # as signal handlers are the process's
    _early = _taken = True


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    global _taken  # noqa: PLW0603
    _taken = True
    _handle(_ignore)
    raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """The first signal raises KeyboardInterrupt inside; further ones do nothing inside.

    So does, at once, one that came in the `uninterrupted` part around it.
    """
    with _handled(_interrupt):
        if _take_early():
            raise KeyboardInterrupt
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Neither signal does anything to this process inside; programs that it runs get them."""
    with _handled(_remember):
        try:
            yield
        finally:
            _take_early()


def _take_early() -> bool:
    """Whether a signal came early; it is forgotten now."""
    global _early
    early, _early = _early, False
    return early
