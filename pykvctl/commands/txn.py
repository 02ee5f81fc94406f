"""txn: a transaction read from standard input."""

from collections.abc import Iterator

import click

from pykvctl.errors import BadArgumentsError, CommandError, ExitCode
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL
from pykvctl.session import Session
from pykvctl.txntext import parse_compare, parse_operation
from pykvd.methods import TXN
from pykvd.pb import rpc_pb2 as rpc


@command(
    "txn",
    usage="txn [options]",
    short_help="Txn processes all the requests in one transaction",
    help="Standard input holds compares, requests on success and requests on failure,\n"
    "one a line; an empty line ends each of the three.",
)
@flag("-i", "--interactive", type=BOOL, default=False, help="Print a prompt for each part")
@click.pass_obj
def txn(session: Session, args: list[str], interactive: bool) -> None:
    """Read the three parts, send them, print the outcome."""
    if args:
        raise BadArgumentsError("txn command does not accept argument")
    client = session.client

    request = rpc.TxnRequest()
    _prompt(session, interactive, "compares:")
    request.compare.extend(map(parse_compare, _read_part(session)))
    _prompt(session, interactive, "success requests (get, put, del):")
    request.success.extend(map(parse_operation, _read_part(session)))
    _prompt(session, interactive, "failure requests (get, put, del):")
    request.failure.extend(map(parse_operation, _read_part(session)))
    session.printer.txn(client.unary(TXN, request, session.timeout_s))


def _prompt(session: Session, interactive: bool, text: str) -> None:
    if interactive:
        session.streams.line(text)


def _read_part(session: Session) -> Iterator[str]:
    """The lines up to the next empty one."""
    while True:
        line = session.streams.stdin.readline()
        if not line.endswith(b"\n"):
            raise CommandError("EOF", ExitCode.INVALID_INPUT)
        text = line.decode("utf-8", "surrogateescape").strip()
        if not text:
            return
        yield text
