"""Winning a name, using it, and giving it back whatever happens."""

from collections.abc import Callable
from dataclasses import dataclass

from pykvctl.client import Client
from pykvctl.contest import Contender, Contest
from pykvctl.errors import CommandError
from pykvctl.interrupts import interruptible, uninterrupted
from pykvctl.lease_session import LeaseSession
from pykvd.pb import rpc_pb2 as rpc

# Beyond this the lease has to end it.
RELEASE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Held:
    """A name that is held: the key, its pair, the lease behind it, and the fencing revision."""

    key: bytes
    found: rpc.RangeResponse
    revision: int
    lease: LeaseSession


def hold(
    client: Client, name: bytes, ttl: int, value: bytes, use: Callable[[Held], None], *, lost: str
) -> None:
    """Win the contest for `name`, call `use`, and withdraw.

    A signal while `use` runs ends it and is no failure; `use` returns by itself when the lease is
    lost. Raises CommandError with `lost` if the lease dies before, RequestError.
    """
    contest = Contest(client, name)
    # Signals come twice (from the terminal, and from a wrapper that passes them on): what is to be
    # undone is not interrupted, but bounded.
    with uninterrupted():
        with interruptible():
            session = LeaseSession(client, ttl)
        with session:
            _contend(contest, session, value, use, lost)


def _contend(
    contest: Contest,
    session: LeaseSession,
    value: bytes,
    use: Callable[[Held], None],
    lost: str,
) -> None:
    entered: Contender | None = None
    won = False
    try:
        with interruptible():
            entered = contest.enter(session.lease, value)
            found = contest.win(entered)
            if found is None:
                raise CommandError(lost)
            won = True
            header = entered.header if entered.holds else found.header
            use(Held(entered.key, found, header.revision, session))
    except KeyboardInterrupt:
        if not won:
            raise CommandError("context canceled") from None
    finally:
        if entered is not None:
            contest.leave(entered, RELEASE_TIMEOUT_S)
