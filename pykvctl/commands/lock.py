"""lock: hold a lock while a command runs, or until interrupted."""

import os
from typing import TYPE_CHECKING

import click

from pykvctl.errors import BadArgumentsError, CommandError
from pykvctl.interrupts import interruptible, uninterrupted
from pykvctl.options.command import command, flag
from pykvctl.options.values import INT
from pykvctl.programs import run_program
from pykvctl.session import Session

if TYPE_CHECKING:
    from pykvctl.contest import Contender, Contest
    from pykvctl.lease_session import LeaseSession
    from pykvd.pb import rpc_pb2 as rpc

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
    from pykvctl.contest import Contest  # noqa: PLC0415  # loads gRPC
    from pykvctl.lease_session import LeaseSession  # noqa: PLC0415

    contest = Contest(client, os.fsencode(args[0]))
    with LeaseSession(client, ttl if ttl > 0 else SESSION_TTL_S) as lease:
        _hold(session, contest, lease, args[1:])


def _hold(session: Session, contest: "Contest", lease: "LeaseSession", program: list[str]) -> None:
    entered: Contender | None = None
    held: rpc.RangeResponse | None = None
    try:
        with interruptible():
            entered = contest.enter(lease.lease)
            held = contest.win(entered)
            if held is None:
                raise CommandError(EXPIRED)
            if program:
                revision = entered.header.revision if entered.holds else held.header.revision
                _run(session, program, entered.key, revision)
            else:
                session.printer.get(held)
                lease.wait_lost()
                raise CommandError(EXPIRED)
    except KeyboardInterrupt:
        if held is None:
            raise CommandError("context canceled") from None
    finally:
        if entered is not None:
            contest.leave(entered)


def _run(session: Session, program: list[str], key: bytes, revision: int) -> None:
    """Run the command to its end; its status becomes ours."""
    variables = {"ETCD_LOCK_KEY": os.fsdecode(key), "ETCD_LOCK_REV": str(revision)}
    with uninterrupted():
        status, reason = run_program(program, {**session.environ, **variables})
    if reason:
        raise CommandError(reason, status % 256)
