"""What could follow on a command line: commands, flags, values of flags that have few.

The scripts of `completion` call `pykvctl __complete WORDS...` with the words typed so far, the last
one being the one to complete (maybe empty), and get one `candidate<TAB>summary` a line. Words are
read as commands read them, so what is proposed is what would be accepted.
"""

from collections.abc import Iterator, Sequence

import click

from pykvctl.options.command import HELP, Command, Group
from pykvctl.options.global_flags import GLOBAL_OPTIONS
from pykvctl.options.parser import FlagSet
from pykvctl.options.values import BoolType

_LOADS = ("s", "m", "l", "xl")
_VALUES = {
    "write_out": ("fields", "json", "protobuf", "simple", "table"),
    "consistency": ("l", "s"),
    "order": ("ASCEND", "DESCEND"),
    "sort_by": ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION"),
    "load": _LOADS,
}

Candidate = tuple[str, str]


def candidates(root: Group, words: Sequence[str]) -> list[Candidate]:
    """Candidates for the last of `words`, with their summaries."""
    *before, last = words or [""]
    node, flags, open_flag = _walk(root, list(before))
    if open_flag is not None:
        found: Iterator[Candidate] = ((value, "") for value in _values(open_flag))
    elif last.startswith("-"):
        return _flags(flags, last)
    elif isinstance(node, Group):
        found = ((name, node.load(name).short_help or "") for name in node.names())
    else:
        return []
    return [(text, summary) for text, summary in found if text.startswith(last)]


def _walk(root: Group, words: list[str]) -> tuple[Command | Group, FlagSet, click.Option | None]:
    """The command that `words` lead to, its flags, and the flag whose value is to follow."""
    node: Command | Group = root
    flags = root.flag_set()
    open_flag: click.Option | None = None
    for word in words:
        if open_flag is not None:
            open_flag = None
        elif word.startswith("-"):
            open_flag = _opened(flags, word)
        elif isinstance(node, Group):
            node = node.match(word) or node
            flags = node.flag_set()
    return node, flags, open_flag


def _opened(flags: FlagSet, word: str) -> click.Option | None:
    """The flag that `word` names, if its value is the next word."""
    option = flags.long.get(word[2:]) if word.startswith("--") else flags.short.get(word[1:])
    return None if option is None or isinstance(option.type, BoolType) else option


def _flags(flags: FlagSet, last: str) -> list[Candidate]:
    """Flags that begin like `last`; behind a `=`, values."""
    name, has_value, start = last[2:].partition("=")
    if has_value:
        option = flags.long.get(name)
        values = _values(option) if option is not None else ()
        return [(f"--{name}={value}", "") for value in values if value.startswith(start)]
    own = {f"--{name}": option.help or "" for name, option in flags.long.items()}
    # Those of the command first; the global ones are many.
    shared = {f"--{option.name}".replace("_", "-") for option in [*GLOBAL_OPTIONS, HELP]}
    ordered = sorted(own, key=lambda flag: (flag in shared, flag))
    return [(flag, own[flag]) for flag in ordered if flag.startswith(last)]


def _values(option: click.Option) -> Sequence[str]:
    return _VALUES.get(str(option.name), ())
