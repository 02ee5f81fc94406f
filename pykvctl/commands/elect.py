"""elect: stand for leader, or watch who leads."""

import os
from typing import TYPE_CHECKING

import click

from pykvctl.errors import BadArgumentsError, CommandError, RequestError
from pykvctl.interrupts import interruptible
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL
from pykvctl.session import Session

if TYPE_CHECKING:
    from pykvctl.contest import Contender, Contest
    from pykvctl.lease_session import LeaseSession

TTL_S = 60
EXPIRED = "elect: session expired"


@command(
    "elect",
    usage="elect <election-name> [proposal]",
    short_help="Observes and participates in leader election",
    help="With a proposal: waits until elected and leads until Ctrl-C.\n"
    "With --listen: prints the leader and each later one.",
)
@flag("-l", "--listen", type=BOOL, default=False, help="observation mode")
@click.pass_obj
def elect(session: Session, args: list[str], listen: bool) -> None:
    """Campaign or observe."""
    if len(args) not in {1, 2}:
        raise BadArgumentsError(
            "elect takes one election name argument and an optional proposal argument"
        )
    if len(args) == 1 and not listen:
        raise BadArgumentsError("no proposal argument but -l not set")
    if len(args) == 2 and listen:
        raise BadArgumentsError("proposal given but -l is set")
    client = session.client
    from pykvctl.contest import Contest  # noqa: PLC0415  # loads gRPC
    from pykvctl.lease_session import LeaseSession  # noqa: PLC0415

    contest = Contest(client, os.fsencode(args[0]))
    if listen:
        _observe(session, contest)
        return
    with LeaseSession(client, TTL_S) as lease:
        _lead(session, contest, lease, os.fsencode(args[1]))


def _observe(session: Session, contest: "Contest") -> None:
    try:
        with interruptible():
            for found in contest.holders():
                session.printer.get(found)
    except KeyboardInterrupt:
        return
    except RequestError:
        raise CommandError("elect: observer lost") from None


def _lead(session: Session, contest: "Contest", lease: "LeaseSession", proposal: bytes) -> None:
    """Be elected, and lead until interrupted; then resign."""
    entered: Contender | None = None
    elected = False
    try:
        with interruptible():
            entered = contest.enter(lease.lease, proposal)
            held = contest.win(entered)
            if held is None:
                raise CommandError(EXPIRED)
            elected = True
            session.printer.get(held)
            lease.wait_lost()
            raise CommandError(EXPIRED)
    except KeyboardInterrupt:
        if not elected:
            raise CommandError("context canceled") from None
    finally:
        if entered is not None:
            contest.leave(entered)
