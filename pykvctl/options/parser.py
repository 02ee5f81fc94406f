"""The rules of the command line, as etcdctl's flag library (pflag) has them.

`--name value`, `--name=value`, `-x value`, `-xvalue`, `-x=value`; booleans take a value only after
`=`; flags may stand between arguments; `--` ends them. Names cannot be shortened. This module is
pure: it knows flags by name and kind, and what stood where.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import click

from pykvctl.errors import FlagError
from pykvctl.gotext.quoting import quote
from pykvctl.options.values import BoolType, FlagType, ListType


class FlagSet:
    """The flags that one command accepts, by long and short name."""

    def __init__(self, options: Iterable[click.Parameter]) -> None:
        self.long: dict[str, click.Option] = {}
        self.short: dict[str, click.Option] = {}
        for option in options:
            if not isinstance(option, click.Option):
                continue
            for spelling in option.opts:
                if spelling.startswith("--"):
                    self.long[spelling[2:]] = option
                else:
                    self.short[spelling[1:]] = option

    def takes_word(self, token: str) -> bool:
        """Whether the word after the flag `token` is its value; it is for unknown flags."""
        if token.startswith("--"):
            option = self.long.get(token[2:])
        else:
            option = self.short.get(token[1:])
        return "=" not in token and (option is None or not isinstance(option.type, BoolType))


@dataclass
class ParsedLine:
    """Flag values by parameter name, the other words, and how many of them preceded `--`."""

    values: dict[str, Any] = field(default_factory=dict)
    args: list[str] = field(default_factory=list)
    dash: int | None = None


def parse_flags(flags: FlagSet, words: list[str]) -> ParsedLine:
    """Sort `words` into flag values and arguments; FlagError has pflag's text."""
    line = ParsedLine()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            line.dash = len(line.args)
            line.args += rest
            break
        if word.startswith("--"):
            _long_flag(flags, word, rest, line)
        elif word.startswith("-") and word != "-":
            _short_flags(flags, word, rest, line)
        else:
            line.args.append(word)
    return line


def _long_flag(flags: FlagSet, word: str, rest: list[str], line: ParsedLine) -> None:
    name, has_value, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise FlagError(f"bad flag syntax: {word}")
    option = flags.long.get(name)
    if option is None:
        raise FlagError(f"unknown flag: --{name}")
    if not has_value:
        if isinstance(option.type, BoolType):
            value = "true"
        elif rest:
            value = rest.pop(0)
        else:
            raise FlagError(f"flag needs an argument: --{name}")
    _store(option, value, line)


def _short_flags(flags: FlagSet, word: str, rest: list[str], line: ParsedLine) -> None:
    letters = word[1:]
    while letters:
        letter, tail = letters[0], letters[1:]
        option = flags.short.get(letter)
        if option is None:
            raise FlagError(f"unknown shorthand flag: {_rune(letter)} in -{letters}")
        if len(tail) > 1 and tail[0] == "=":
            value, letters = tail[1:], ""
        elif isinstance(option.type, BoolType):
            value, letters = "true", tail
        elif tail:
            value, letters = tail, ""
        elif rest:
            value, letters = rest.pop(0), ""
        else:
            raise FlagError(f"flag needs an argument: {_rune(letter)} in -{letters}")
        _store(option, value, line)


def _rune(letter: str) -> str:
    return f"'{quote(letter)[1:-1]}'"


def _store(option: click.Option, text: str, line: ParsedLine) -> None:
    """Convert and keep; a list given again grows, any other flag given again wins."""
    assert isinstance(option.type, FlagType)
    assert option.name is not None
    try:
        value = option.type.parse(text)
    except ValueError as error:
        name = ", ".join(sorted(option.opts, key=len))
        raise FlagError(f'invalid argument {quote(text)} for "{name}" flag: {error}') from None
    if isinstance(option.type, ListType) and option.name in line.values:
        value = line.values[option.name] + value
    line.values[option.name] = value
