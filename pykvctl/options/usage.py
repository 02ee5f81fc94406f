"""Usage texts, laid out as etcdctl's: sections, tab-indented entries, tab-aligned columns.

Beyond etcdctl's there is an example for each command, and the commands stand under topics.
"""

from collections.abc import Iterable

import click

from pykvctl.catalog import CATALOG, TOPICS
from pykvctl.options.command import HELP, Command, Group
from pykvctl.options.global_flags import GLOBAL_OPTIONS
from pykvctl.options.values import BoolType, FlagType

TAB_WIDTH = 8


def usage_text(root: Group, path: list[str], node: Command | Group, api_version: str) -> str:
    """The text `--help` prints for `node`, which is reached by `path` from `root`."""
    name = " ".join(path) or str(root.name)
    synopsis = " ".join([str(root.name), *path[:-1], node.usage if path else "<command>"])
    sections = [
        ("NAME:", [f"\t{name} - {node.short_help or ''}"]),
        ("USAGE:", [f"\t{synopsis} [flags]"]),
    ]
    if isinstance(node, Group):
        sections.append(("API VERSION:", [f"\t{api_version}"]))
        sections += _command_sections(node, path)
    elif node.help:
        sections.append(("DESCRIPTION:", [f"\t{line}" for line in node.help.splitlines()]))
    if name in CATALOG:
        sections.append(("EXAMPLE:", [f"\t{CATALOG[name].example}"]))
    own = node.persistent if isinstance(node, Group) else [*node.params, *node.inherited]
    options = [option for option in own if isinstance(option, click.Option)]
    if node is root:
        options += GLOBAL_OPTIONS
    sections.append(("OPTIONS:", _flag_rows([*options, HELP])))
    if node is not root:
        sections.append(("GLOBAL OPTIONS:", _flag_rows(GLOBAL_OPTIONS)))
    return "\n\n".join("\n".join([title, *rows]) for title, rows in sections) + "\n"


def _command_sections(group: Group, path: list[str]) -> list[tuple[str, list[str]]]:
    """The commands of a group in one section; those of the program under their topics."""
    rows = sorted(leaves(group))
    if path:
        return [("COMMANDS:", [f"\t{row}" for row in _columns(rows)])]
    topics: dict[str, list[tuple[str, str]]] = {topic: [] for topic in TOPICS}
    for row in rows:
        topics[CATALOG[row[0]].topic].append(row)
    return [
        (f"{topic.upper()}:", [f"\t{row}" for row in _columns(found)])
        for topic, found in topics.items()
        if found
    ]


def leaves(group: Group, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Name and summary of each runnable command below `group`."""
    for name in group.names():
        child = group.load(name)
        if isinstance(child, Group):
            yield from leaves(child, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", child.short_help or ""


def _flag_rows(options: Iterable[click.Option]) -> list[str]:
    return _columns([_flag_row(option) for option in sorted(options, key=lambda o: str(o.name))])


def _flag_row(option: click.Option) -> tuple[str, str]:
    assert isinstance(option.type, FlagType)
    short, long = "    ", ""
    for spelling in option.opts:
        if spelling.startswith("--"):
            long = spelling
        else:
            short = f"{spelling}, "
    default = option.type.show(option.default)
    value = f"[={default}]" if isinstance(option.type, BoolType) else f"={default}"
    return f"  {short}{long}{value}", option.help or ""


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    """Two columns, the second one tab-aligned behind the longest cell of the first."""
    longest = max((len(left) for left, _ in rows), default=0)
    width = (longest // TAB_WIDTH + 1) * TAB_WIDTH
    return [left + "\t" * -((len(left) - width) // TAB_WIDTH) + right for left, right in rows]
