"""What to do about a failed call. Pure.

A call is sent again only if that cannot do anything twice: it changes nothing when repeated, or it
certainly was not carried out (never sent, or refused before the server looked at it). A write whose
outcome is unknown is never sent again; its error says `maybe_applied`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from pykvd.client import errors
from pykvd.status import Code

if TYPE_CHECKING:
    from pykvd.client.transport import CallError

PAUSE_MIN: Final = 0.025
"""The first pause after all endpoints have failed, in seconds; doubled with each round."""
PAUSE_MAX: Final = 0.5

_REFUSED: Final = frozenset({errors.NotSupportedForLearner.text})
"""Refusals of one member that another member may not share."""
NO_LOGIN: Final = frozenset(
    {errors.InvalidAuthToken.text, errors.AuthOldRevision.text, errors.UserEmpty.text}
)
"""Refusals that a new login mends; nothing was done before them."""
_UNCERTAIN: Final = frozenset(
    {
        Code.UNAVAILABLE,
        Code.DEADLINE_EXCEEDED,
        Code.CANCELLED,
        Code.INTERNAL,
        Code.UNKNOWN,
    }
)


class Verdict(Enum):
    """What to do next."""

    AGAIN = auto()
    """Try again, with another endpoint if there is one."""
    LOGIN = auto()
    """Log in again, then try again."""
    RAISE = auto()
    """Tell the caller."""


def judge(failure: CallError, *, repeatable: bool, has_login: bool, alone: bool) -> Verdict:
    """What to do; `alone` says that there is one endpoint only."""
    if failure.code == Code.CANCELLED:
        return Verdict.RAISE  # the client was closed
    if has_login and failure.message in NO_LOGIN:
        return Verdict.LOGIN
    if failure.message in _REFUSED:
        return Verdict.RAISE if alone else Verdict.AGAIN
    if not failure.sent:
        return Verdict.AGAIN
    if repeatable and failure.code in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}:
        return Verdict.AGAIN
    return Verdict.RAISE


def pause(failures: int, endpoints: int) -> float:
    """Seconds to wait after so many failures in a row: none within the first round."""
    if failures % endpoints:
        return 0.0
    return float(min(PAUSE_MAX, PAUSE_MIN * 2 ** min(failures // endpoints - 1, 10)))


def translate(failure: CallError, *, repeatable: bool) -> errors.EtcdError:
    """The exception for the caller."""
    uncertain = failure.sent and not repeatable and failure.code in _UNCERTAIN
    # A refusal that the server words itself was not carried out.
    words = errors.BY_TEXT.get(failure.message)
    if words is not None and not issubclass(words, errors.Unavailable):
        uncertain = False
    return errors.from_status(failure.code, failure.message, maybe_applied=uncertain)
