"""lock: hold a lock while a command runs, or until interrupted."""

import os
from typing import TYPE_CHECKING

import click

from pykvctl.errors import BadArgumentsError, CommandError
from pykvctl.interrupts import uninterrupted
from pykvctl.options.command import command, flag
from pykvctl.options.values import INT
from pykvctl.programs import run_program
from pykvctl.session import Session

if TYPE_CHECKING:
    from pykvctl.holding import Held

DEFAULT_TTL_S = 10
# Of a session whose time is not given, or makes no sense.
SESSION_TTL_S = 60
EXPIRED = "session expired"


@command(
    "lock",
    usage="lock <lockname> [exec-command arg1 arg2 ...]",
    short_help="Acquires a named lock",
    help="The command is given ETCD_LOCK_KEY and ETCD_LOCK_REV; its flags must follow '--'.\n"
    "The lock is released when it ends; without a command, on Ctrl-C.",
)
@flag("--ttl", type=INT, default=DEFAULT_TTL_S, help="timeout for session")
@click.pass_obj
def lock(session: Session, args: list[str], ttl: int) -> None:
    """Take a lock, use it, release it."""
    if not args:
        raise BadArgumentsError(
            "lock takes a lock name argument and an optional command to execute"
        )
    client = session.client
    from pykvctl.holding import hold  # noqa: PLC0415  # loads gRPC

    def use(held: "Held") -> None:
        if len(args) > 1:
            _run(session, args[1:], held)
            return
        session.printer.get(held.found)
        held.lease.wait_lost()
        raise CommandError(EXPIRED)

    hold(client, os.fsencode(args[0]), ttl if ttl > 0 else SESSION_TTL_S, b"", use, lost=EXPIRED)


def _run(session: Session, program: list[str], held: "Held") -> None:
    """Run the command to its end; its status becomes ours."""
    variables = {"ETCD_LOCK_KEY": os.fsdecode(held.key), "ETCD_LOCK_REV": str(held.revision)}
    with uninterrupted():
        status, reason = run_program(program, {**session.environ, **variables})
    if reason:
        raise CommandError(reason, status % 256)
