"""del: delete keys."""

import os
import time

import click

from pykvctl.commands.get import check_range_flags
from pykvctl.errors import BadArgumentsError
from pykvctl.gotext.quoting import quote
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL
from pykvctl.ranges import key_range
from pykvctl.session import Session
from pykvd.methods import DELETE_RANGE
from pykvd.pb import rpc_pb2 as rpc

# A range that was not asked for by a flag may be a mistake: two keys meant, a whole range deleted.
SECOND_THOUGHTS_S = 2


def delete_request(
    args: list[str], *, prefix: bool, from_key: bool, prev_kv: bool
) -> rpc.DeleteRangeRequest:
    """The request that the arguments and flags of del describe."""
    if not 1 <= len(args) <= 2:
        raise BadArgumentsError(
            "del command needs one argument as key and an optional argument as range_end"
        )
    check_range_flags(args, prefix=prefix, from_key=from_key)
    end = os.fsencode(args[1]) if len(args) > 1 else b""
    key, range_end = key_range(os.fsencode(args[0]), end, prefix=prefix, from_key=from_key)
    return rpc.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv)


@command(
    "del",
    usage="del [options] <key> [range_end]",
    short_help="Removes the specified key or range of keys [key, range_end)",
)
@flag("--prefix", type=BOOL, default=False, help="Delete keys with matching prefix")
@flag("--from-key", type=BOOL, default=False, help="Delete keys greater than or equal to the key")
@flag("--prev-kv", type=BOOL, default=False, help="Print the deleted pairs")
@flag("--range", "is_range", type=BOOL, default=False, help="Delete a range without a delay")
@click.pass_obj
def delete(
    session: Session,
    args: list[str],
    is_range: bool,
    prefix: bool,
    from_key: bool,
    prev_kv: bool,
) -> None:
    """Delete pairs and print how many."""
    request = delete_request(args, prefix=prefix, from_key=from_key, prev_kv=prev_kv)
    if len(args) > 1 and not is_range:
        session.streams.error_line(
            f"Warning: Keys between {quote(args[0])} and {quote(args[1])} will be deleted. "
            f"Please interrupt the command within next {SECOND_THOUGHTS_S} seconds to cancel. "
            "You can provide `--range` flag to avoid the delay."
        )
        time.sleep(SECOND_THOUGHTS_S)
    client = session.client

    session.printer.delete(client.unary(DELETE_RANGE, request, session.timeout_s))
