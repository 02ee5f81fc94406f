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
    from pykvctl.holding import Held

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
    name = os.fsencode(args[0])
    if listen:
        _observe(session, name)
        return
    from pykvctl.holding import hold  # noqa: PLC0415  # loads gRPC

    def lead(held: "Held") -> None:
        session.printer.get(held.found)
        held.lease.wait_lost()
        raise CommandError(EXPIRED)

    hold(client, name, TTL_S, os.fsencode(args[1]), lead, lost=EXPIRED)


def _observe(session: Session, name: bytes) -> None:
    """Print leaders until interrupted."""
    from pykvctl.contest import Contest  # noqa: PLC0415  # loads gRPC

    try:
        with interruptible():
            for found in Contest(session.client, name).holders():
                session.printer.get(found)
    except KeyboardInterrupt:
        return
    except RequestError:
        raise CommandError("elect: observer lost") from None
