"""What could follow on a command line: commands, flags, values of flags that have few.

The scripts of `completion` call `pykvctl __complete WORDS...` with the words typed so far, the last
one being the one to complete (maybe empty), and get one `candidate<TAB>summary` a line. Where names
of files are expected the only line is FILES or DIRECTORIES: shells know these better. Words are
read as commands read them, so what is proposed is what would be accepted.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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

FILES, DIRECTORIES = ":files", ":directories"
_PATHS = {
    **dict.fromkeys(("cacert", "cert", "key", "dest_cacert", "dest_cert", "dest_key"), FILES),
    **dict.fromkeys(("data_dir", "wal_dir"), DIRECTORIES),
}
_ALTERNATIVES = re.compile(r"\[(\w+(?:\|\w+)+)\]")

Candidate = tuple[str, str]


def candidates(root: Group, words: Sequence[str]) -> list[Candidate]:
    """Candidates for the last of `words`, with their summaries."""
    *before, last = words or [""]
    place = _walk(root, before)
    if place.open_flag is not None:
        return _starting(last, _values(place.open_flag))
    if last.startswith("-") and not place.only_arguments:
        return _flags(place.node.flag_set(), last)
    return _starting(last, _arguments(place))


def _starting(text: str, found: Iterable[Candidate]) -> list[Candidate]:
    """Those that begin like `text`; names of files are not ours to judge."""
    return [each for each in found if each[0].startswith((text, ":"))]


@dataclass
class _Place:
    """Where a command line has got to; `open_flag` is the flag whose value is to follow."""

    node: Command | Group
    arguments: int = 0
    only_arguments: bool = False
    open_flag: click.Option | None = None


def _walk(root: Group, words: Iterable[str]) -> _Place:
    """What `words` lead to."""
    place = _Place(root)
    for word in words:
        if place.open_flag is not None:
            place.open_flag = None
        elif place.only_arguments:
            place.arguments += 1
        elif word == "--":
            place.only_arguments = True
        elif word.startswith("-"):
            place.open_flag = _opened(place.node.flag_set(), word)
        elif isinstance(place.node, Group) and (child := place.node.match(word)):
            # What follows `help` is what would follow the program.
            place.node = root if child.name == "help" else child
        else:
            place.arguments += 1
    return place


def _arguments(place: _Place) -> Iterable[Candidate]:
    """What may stand where an argument is expected, as the synopsis of the command tells it."""
    node = place.node
    if isinstance(node, Group):
        # Behind a word that names nothing nothing is known.
        names = [] if place.arguments else node.names()
        return [(name, node.load(name).short_help or "") for name in names]
    if "[exec-command" in node.usage:
        program = place.only_arguments if "[--]" in node.usage else place.arguments
        return [(FILES, "")] if program else []
    if place.arguments:
        return []
    if "<filename>" in node.usage:
        return [(FILES, "")]
    choices = _ALTERNATIVES.search(node.usage)
    return [(word, "") for word in choices[1].split("|")] if choices else []


def _opened(flags: FlagSet, word: str) -> click.Option | None:
    """The flag that `word` names, if its value is the next word."""
    option = flags.long.get(word[2:]) if word.startswith("--") else flags.short.get(word[1:])
    return None if option is None or isinstance(option.type, BoolType) else option


def _flags(flags: FlagSet, last: str) -> list[Candidate]:
    """Flags that begin like `last`; behind a `=`, values."""
    name, has_value, start = last[2:].partition("=")
    if has_value:
        option = flags.long.get(name)
        found = _starting(start, _values(option) if option is not None else ())
        return [(text if text[0] == ":" else f"--{name}={text}", "") for text, _ in found]
    own = {f"--{name}": option.help or "" for name, option in flags.long.items()}
    # Those of the command first; the global ones are many.
    shared = {f"--{option.name}".replace("_", "-") for option in [*GLOBAL_OPTIONS, HELP]}
    ordered = sorted(own, key=lambda flag: (flag in shared, flag))
    return [(flag, own[flag]) for flag in ordered if flag.startswith(last)]


def _values(option: click.Option) -> list[Candidate]:
    name = str(option.name)
    if name in _PATHS:
        return [(_PATHS[name], "")]
    return [(value, "") for value in _VALUES.get(name, ())]
