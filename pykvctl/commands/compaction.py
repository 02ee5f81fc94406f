"""compaction: forget old revisions."""

import click

from pykvctl.errors import BadArgumentsError, CommandError
from pykvctl.gotext.numbers import parse_int
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL
from pykvctl.session import Session
from pykvd.methods import COMPACT
from pykvd.pb import rpc_pb2 as rpc


@command(
    "compaction",
    usage="compaction [options] <revision>",
    short_help="Compacts the event history in etcd",
)
@flag("--physical", type=BOOL, default=False, help="Wait until the data is really removed")
@click.pass_obj
def compaction(session: Session, args: list[str], physical: bool) -> None:
    """Compact up to a revision."""
    if len(args) != 1:
        raise BadArgumentsError("compaction command needs 1 argument")
    try:
        revision = parse_int(args[0])
    except ValueError as error:
        raise CommandError(str(error)) from None
    client = session.client

    request = rpc.CompactionRequest(revision=revision, physical=physical)
    client.unary(COMPACT, request, session.full_timeout_s)
    session.streams.line(f"compacted revision {revision}")
