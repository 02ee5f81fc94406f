"""history: every change of a key that the store still holds."""

import os
from typing import TYPE_CHECKING

import click

from pykvctl.errors import BadArgumentsError
from pykvctl.gotext.quoting import quote
from pykvctl.history import Change, History, history_of
from pykvctl.options.command import command, flag
from pykvctl.options.values import INT
from pykvctl.output.json import to_json
from pykvctl.session import Session
from pykvctl.terminal import present
from pykvctl.timeline import format_time, times_of

if TYPE_CHECKING:
    from rich.console import Console


@command(
    "history",
    usage="history [options] <key>",
    short_help="Lists the changes of a key that are still held",
    help="One line a change: revision, time (- where the server cannot tell it), PUT or DELETE,\n"
    "version, what changed, value. A line that starts with # tells what compaction has taken.",
)
@flag("--limit", type=INT, default=0, help="Only so many of the newest changes (0: all)")
@click.pass_obj
def history(session: Session, args: list[str], limit: int) -> None:
    """Print the changes of a key, oldest first."""
    if len(args) != 1:
        raise BadArgumentsError("history command needs one argument as key")
    key = os.fsencode(args[0])
    found = history_of(session.client, key, session.timeout_s)
    if limit > 0:
        found = History(found.compact_revision, found.base, found.changes[-limit:])
    revisions = [change.revision for change in found.changes]
    times = times_of(session.client, revisions, session.timeout_s)
    present(
        session,
        lines=lambda: _lines(found, times),
        value=lambda: _value(key, found, times),
        draw=lambda console: _draw(console, found, times),
    )


def _taken(found: History) -> str:
    """What compaction has taken; empty if it has taken nothing."""
    if not found.compact_revision:
        return ""
    text = f"changes up to revision {found.compact_revision} are compacted"
    if found.base is None:
        return f"{text}; the key did not exist then"
    base = found.base
    value = quote(base.value)
    return f"{text}; the key was {value} (version {base.version}, revision {base.mod_revision})"


def _cells(change: Change, times: dict[int, int]) -> list[str]:
    time_ns = times.get(change.revision)
    return [
        str(change.revision),
        format_time(time_ns) if time_ns else "-",
        change.kind,
        str(change.after.version) if change.after else "-",
        ",".join(change.changed) or "nothing",
        quote(change.after.value) if change.after else "-",
    ]


def _lines(found: History, times: dict[int, int]) -> list[str]:
    taken = _taken(found)
    return [
        *([f"# {taken}"] if taken else []),
        *("\t".join(_cells(change, times)) for change in found.changes),
    ]


def _value(key: bytes, found: History, times: dict[int, int]) -> object:
    from pykvctl.output.json import base64  # noqa: PLC0415

    return {
        "key": base64(key),
        "compactRevision": found.compact_revision,
        "base": to_json(found.base) if found.base else None,
        "changes": [
            {
                "revision": change.revision,
                "time": format_time(times[change.revision]) if change.revision in times else None,
                "type": change.kind,
                "changed": change.changed,
                "kv": to_json(change.after) if change.after else None,
            }
            for change in found.changes
        ],
    }


def _draw(console: "Console", found: History, times: dict[int, int]) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold")
    for title in ("REVISION", "TIME", "TYPE", "VERSION", "CHANGED", "VALUE"):
        right = title in {"REVISION", "VERSION"}
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for change in found.changes:
        style = "red" if change.after is None else "green" if change.before is None else "yellow"
        *cells, value = _cells(change, times)
        table.add_row(*map(Text, cells), Text(value, style))
    if taken := _taken(found):
        console.print(Text(taken, "dim"))
    console.print(table)
