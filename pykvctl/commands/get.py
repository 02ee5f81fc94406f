"""get: read keys."""

import os
import time

import click

from pykvctl.errors import BadArgumentsError, CommandError, ExitCode
from pykvctl.gotext.quoting import quote
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL, INT, STRING
from pykvctl.ranges import key_range
from pykvctl.session import Session
from pykvd.methods import RANGE
from pykvd.pb import rpc_pb2 as rpc

_ORDERS = {"": "NONE", "ASCEND": "ASCEND", "DESCEND": "DESCEND"}
_TARGETS = {
    "": "KEY",
    "KEY": "KEY",
    "VERSION": "VERSION",
    "CREATE": "CREATE",
    "MODIFY": "MOD",
    "VALUE": "VALUE",
}


def check_range_flags(args: list[str], *, prefix: bool, from_key: bool) -> None:
    """Refuse the combinations that get and del both refuse."""
    if prefix and from_key:
        raise BadArgumentsError(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one"
        )
    if len(args) > 1 and (prefix or from_key):
        raise BadArgumentsError(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set"
        )


def range_request(
    args: list[str],
    *,
    consistency: str,
    order: str,
    sort_by: str,
    limit: int,
    prefix: bool,
    from_key: bool,
    rev: int,
    keys_only: bool,
    count_only: bool,
    min_create_rev: int,
    max_create_rev: int,
    min_mod_rev: int,
    max_mod_rev: int,
) -> rpc.RangeRequest:
    """The request that the arguments and flags of get describe."""
    if not args:
        raise BadArgumentsError(
            "get command needs one argument as key and an optional argument as range_end"
        )
    check_range_flags(args[:2], prefix=prefix, from_key=from_key)
    if keys_only and count_only:
        raise BadArgumentsError(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one"
        )
    if consistency not in {"l", "s"}:
        raise CommandError(f"unknown consistency flag {quote(consistency)}", ExitCode.BAD_FEATURE)
    end = os.fsencode(args[1]) if len(args) > 1 else b""
    key, range_end = key_range(os.fsencode(args[0]), end, prefix=prefix, from_key=from_key)
    sort_order, sort_target = _sorting(order, sort_by)
    _check_bounds("CreateRev", min_create_rev, max_create_rev)
    _check_bounds("ModRev", min_mod_rev, max_mod_rev)
    return rpc.RangeRequest(
        key=key,
        range_end=range_end,
        limit=limit,
        revision=rev,
        sort_order=sort_order,
        sort_target=sort_target,
        serializable=consistency == "s",
        keys_only=keys_only,
        count_only=count_only,
        min_create_revision=min_create_rev,
        max_create_revision=max_create_rev,
        min_mod_revision=min_mod_rev,
        max_mod_revision=max_mod_rev,
    )


def _sorting(order: str, sort_by: str) -> tuple[str, str]:
    """Names of order and target; a target without an order sorts ascending."""
    direction = _ORDERS.get(order.upper())
    if direction is None:
        raise CommandError(f"bad sort order {order}", ExitCode.BAD_FEATURE)
    target = _TARGETS.get(sort_by.upper())
    if target is None:
        raise CommandError(f"bad sort target {sort_by}", ExitCode.BAD_FEATURE)
    if sort_by and not order:
        direction = "ASCEND"
    # Keys come in ascending order by themselves; unsorted reads spare the server the work.
    if (direction, target) == ("ASCEND", "KEY"):
        direction = "NONE"
    return direction, target


def _check_bounds(name: str, low: int, high: int) -> None:
    if high and low > high:
        raise CommandError(f"getMin{name}(={low}) > getMax{name}(={high})", ExitCode.BAD_FEATURE)


@command(
    "get", usage="get [options] <key> [range_end]", short_help="Gets the key or a range of keys"
)
@flag("--consistency", type=STRING, default="l", help="Linearizable(l) or Serializable(s)")
@flag("--order", type=STRING, default="", help="Order of results; ASCEND or DESCEND")
@flag(
    "--sort-by", type=STRING, default="", help="Sort target; CREATE, KEY, MODIFY, VALUE or VERSION"
)
@flag("--limit", type=INT, default=0, help="Maximum number of results")
@flag("--prefix", type=BOOL, default=False, help="Get keys with matching prefix")
@flag(
    "--from-key", type=BOOL, default=False, help="Get keys greater than or equal to the given key"
)
@flag("--rev", type=INT, default=0, help="Read at this revision of the store")
@flag("--at", type=STRING, default="", help="Read as of a time; 10m or 2d ago, 2026-01-01T10:00")
@flag("--keys-only", type=BOOL, default=False, help="Get only the keys")
@flag("--count-only", type=BOOL, default=False, help="Get only the count")
@flag("--print-value-only", type=BOOL, default=False, help="Print only values (simple format)")
@flag("--min-create-rev", type=INT, default=0, help="Lowest revision of creation")
@flag("--max-create-rev", type=INT, default=0, help="Highest revision of creation")
@flag("--min-mod-rev", type=INT, default=0, help="Lowest revision of the last change")
@flag("--max-mod-rev", type=INT, default=0, help="Highest revision of the last change")
@click.pass_obj
def get(
    session: Session, /, args: list[str], print_value_only: bool, at: str, **flags: object
) -> None:
    """Read pairs and print them."""
    request = range_request(args, **flags)  # type: ignore[arg-type]
    if at and request.revision:
        raise BadArgumentsError("`--at` and `--rev` cannot be set at the same time, choose one")
    client = session.client
    if at:
        from pykvctl.timeline import revision_at  # noqa: PLC0415

        request.revision = revision_at(client, at, time.time_ns(), session.timeout_s)

    answer = client.unary(RANGE, request, session.timeout_s)
    printer = session.printer
    if request.count_only and printer.name != "fields":
        raise BadArgumentsError("--count-only is only for `--write-out=fields`")
    if print_value_only and printer.name != "simple":
        raise BadArgumentsError("print-value-only is only for `--write-out=simple`")
    printer.get(answer, value_only=print_value_only)
