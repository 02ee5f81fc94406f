"""diff: what changed between two revisions."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pykvctl.errors import BadArgumentsError
from pykvctl.gotext.numbers import parse_int
from pykvctl.gotext.quoting import quote
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL
from pykvctl.output.json import to_json
from pykvctl.paging import Pages
from pykvctl.ranges import key_range
from pykvctl.session import Session
from pykvctl.terminal import present
from pykvd.pb import kv_pb2 as kvpb

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"+": "green", "-": "red", "~": "yellow"}
_NAMES = {"+": "added", "-": "removed", "~": "changed"}


@dataclass(frozen=True)
class Difference:
    """A key that is not the same at both revisions; None where it does not exist."""

    before: kvpb.KeyValue | None
    after: kvpb.KeyValue | None

    @property
    def sign(self) -> str:
        """`+` added, `-` removed, `~` changed."""
        if self.before is None:
            return "+"
        return "-" if self.after is None else "~"

    def cells(self) -> list[str]:
        """Sign, key, and the values there are."""
        present_pairs = [pair for pair in (self.before, self.after) if pair is not None]
        values = [quote(pair.value) for pair in present_pairs]
        return [self.sign, quote(present_pairs[0].key), *values]


def differences(old: Iterator[kvpb.KeyValue], new: Iterator[kvpb.KeyValue]) -> Iterator[Difference]:
    """Merge two lists of pairs in key order."""
    before, after = next(old, None), next(new, None)
    while before is not None or after is not None:
        if after is None or (before is not None and before.key < after.key):
            yield Difference(before, None)
            before = next(old, None)
        elif before is None or after.key < before.key:
            yield Difference(None, after)
            after = next(new, None)
        else:
            if before.mod_revision != after.mod_revision:
                yield Difference(before, after)
            before, after = next(old, None), next(new, None)


@command(
    "diff",
    usage="diff [options] <revision> <revision> [key] [range_end]",
    short_help="Shows what changed between two revisions",
    help="One line a key: + added, - removed, ~ changed (value before, value after). Revision 0\n"
    "is the newest one. Without a key all keys are compared. A key that was written again with\n"
    "the same value counts as changed.",
)
@flag("--prefix", type=BOOL, default=False, help="Compare keys with matching prefix")
@flag("--from-key", type=BOOL, default=False, help="Compare keys from the given key on")
@click.pass_obj
def diff(session: Session, args: list[str], prefix: bool, from_key: bool) -> None:
    """Compare two revisions."""
    if not 2 <= len(args) <= 4:
        raise BadArgumentsError("diff command needs two revisions, an optional key and range_end")
    try:
        first, second = parse_int(args[0]), parse_int(args[1])
    except ValueError as error:
        raise BadArgumentsError(f"bad revision ({error})") from None
    if len(args) > 3 and (prefix or from_key):
        raise BadArgumentsError("range_end cannot be given with `--prefix` or `--from-key`")
    key = os.fsencode(args[2]) if len(args) > 2 else b""
    end = os.fsencode(args[3]) if len(args) > 3 else b""
    bounds = key_range(key, end, prefix=prefix or not key, from_key=from_key)
    client, timeout_s = session.client, session.timeout_s
    old = Pages(client, bounds, timeout_s, revision=first)
    new = Pages(client, bounds, timeout_s, revision=second)
    found = differences(iter(old), iter(new))
    present(
        session,
        lines=lambda: ("\t".join(each.cells()) for each in found),
        value=lambda: {
            "from": old.revision,
            "to": new.revision,
            "changes": [_value(each) for each in found],
        },
        draw=lambda console: _draw(console, found),
    )


def _value(difference: Difference) -> object:
    return {
        "type": _NAMES[difference.sign],
        "before": to_json(difference.before) if difference.before else None,
        "after": to_json(difference.after) if difference.after else None,
    }


def _draw(console: "Console", found: Iterator[Difference]) -> None:
    from rich.text import Text  # noqa: PLC0415

    for each in found:
        sign, key, *values = each.cells()
        style = _STYLES[sign]
        text = Text.assemble((f"{sign} {key}", f"bold {style}"), "  ", (values[0], style))
        if len(values) > 1:
            text = Text.assemble(
                (f"{sign} {key}", f"bold {style}"),
                "  ",
                (values[0], "red"),
                " -> ",
                (values[1], "green"),
            )
        console.print(text, soft_wrap=True)
