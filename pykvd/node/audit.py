"""The audit log: who changed users, roles or auth itself, and who was refused what.

Lines of the logger `audit`, on the member that the client talked to. Names, permissions and
kinds of requests are told; passwords, hashes, tokens and values never are.
"""

from collections.abc import Callable

from pykvd.auth.identity import Identity
from pykvd.errors import Failure, RpcError
from pykvd.logs import get_logger

#: Characters of a name, or bytes of a key, that are shown.
MAX_SHOWN = 128
#: Refusals written in one second; those beyond are counted.
DENIALS_PER_SECOND = 50
_DENIALS = frozenset(
    failure.text
    for failure in (
        Failure.PERMISSION_DENIED,
        Failure.INVALID_TOKEN,
        Failure.USER_EMPTY,
        Failure.AUTH_FAILED,
        Failure.AUTH_OLD_REVISION,
        Failure.INVALID_AUTH_MANAGEMENT,
    )
)

_log = get_logger("audit")


class Audit:
    """Writes the audit log; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = -1
        self._written = 0

    def changed(self, action: str, caller: Identity | None, peer: str, **fields: object) -> None:
        """Users, roles or auth were changed."""
        _log.info("auth changed", action=action, user=_name(caller), peer=peer, **_cut(fields))

    def refused(
        self,
        action: str,
        caller: Identity | None,
        peer: str,
        error: RpcError,
        **fields: object,
    ) -> None:
        """A request failed: told if it did for want of rights or credentials."""
        if error.message not in _DENIALS:
            return
        second = int(self._clock())
        if second != self._second:
            self._sum_up()
            self._second, self._written = second, 0
        self._written += 1
        if self._written <= DENIALS_PER_SECOND:
            _log.warn(
                "request denied",
                action=action,
                user=_name(caller),
                peer=peer,
                reason=error.message,
                **_cut(fields),
            )

    def _sum_up(self) -> None:
        if self._written > DENIALS_PER_SECOND:
            _log.warn("more requests denied", count=self._written - DENIALS_PER_SECOND)


def _name(caller: Identity | None) -> str:
    return caller.user[:MAX_SHOWN] if caller else ""


def _cut(fields: dict[str, object]) -> dict[str, object]:
    """The fields with long ones cut: anybody may send megabytes as a name."""
    return {
        name: value[:MAX_SHOWN] if isinstance(value, str | bytes) else value
        for name, value in fields.items()
    }
