"""put: write a key."""

import os
from typing import BinaryIO

import click

from pykvctl.errors import BadArgumentsError
from pykvctl.gotext.numbers import parse_int
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL, STRING
from pykvctl.session import Session
from pykvd.methods import PUT
from pykvd.pb import rpc_pb2 as rpc


def put_request(
    args: list[str],
    stdin: BinaryIO,
    *,
    lease: str,
    prev_kv: bool,
    ignore_value: bool,
    ignore_lease: bool,
) -> rpc.PutRequest:
    """The request that the arguments and flags of put describe; a missing value is read."""
    missing = "put command needs 1 argument and input from stdin or 2 arguments"
    if not args:
        raise BadArgumentsError(missing)
    if ignore_value:
        if len(args) > 1:
            raise BadArgumentsError("put command needs only 1 argument when 'ignore-value' is set")
        value = b""
    elif len(args) > 1:
        value = os.fsencode(args[1])
    else:
        value = stdin.read()
        if not value:
            raise BadArgumentsError(missing)
    try:
        lease_id = parse_int(lease, 16)
    except ValueError as error:
        raise BadArgumentsError(f"bad lease ID ({error}), expecting ID in Hex") from None
    return rpc.PutRequest(
        key=os.fsencode(args[0]),
        value=value,
        lease=lease_id,
        prev_kv=prev_kv,
        ignore_value=ignore_value,
        ignore_lease=ignore_lease,
    )


@command(
    "put",
    usage="put [options] <key> <value>",
    short_help="Puts the given key into the store",
    help="Without <value> the value is read from standard input, as it is.\n"
    "A value that starts with '-' must follow '--'.",
)
@flag("--lease", type=STRING, default="0", help="Lease ID (in hexadecimal) to attach to the key")
@flag("--prev-kv", type=BOOL, default=False, help="Print the previous pair")
@flag("--ignore-value", type=BOOL, default=False, help="Keep the current value")
@flag("--ignore-lease", type=BOOL, default=False, help="Keep the current lease")
@click.pass_obj
def put(session: Session, /, args: list[str], **flags: object) -> None:
    """Write a pair."""
    request = put_request(args, session.streams.stdin, **flags)  # type: ignore[arg-type]
    client = session.client

    session.printer.put(client.unary(PUT, request, session.timeout_s))
