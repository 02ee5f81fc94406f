"""The command line, with the rules of Go's `flag` package.

One dash is as good as two, `-name value` is `-name=value`, a bool takes a value only with `=`,
there are no short names and no abbreviations, and the first word without a dash ends the flags.
Libraries for Python's conventions cannot be bent to this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.config.catalog import FLAGS, IGNORED_FLAGS, Flag, Settings
from pykvd.config.errors import ConfigError, HelpRequested, UsageError
from pykvd.config.options import BOOL, URLS
from pykvd.config.values import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUBCOMMANDS = frozenset({"gateway", "grpc-proxy"})


def parse_arguments(argv: Sequence[str]) -> Settings:
    """What `argv` (without the program's name) sets; the last of several wins.

    Raises HelpRequested, UsageError for bad flags, ConfigError for other words.
    """
    settings: Settings = {}
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        flag, value = _split(word)
        if value is None and not flag.takes_no_value:
            if not rest:
                raise UsageError(f"flag needs an argument: -{flag.name}")
            value = rest.pop(0)
        if flag.name not in IGNORED_FLAGS:
            settings[flag.name] = True if value is None else _parse(flag, value)
    if rest:
        _refuse_word(rest[0])
    return settings


def _split(word: str) -> tuple[Flag, str | None]:
    """The flag in `--name` or `--name=value`, and the value if it is there."""
    body = word[2:] if word.startswith("--") else word[1:]
    if not body or body[0] in "-=":
        raise UsageError(f"bad flag syntax: {word}")
    name, equals, value = body.partition("=")
    if name in FLAGS:
        return FLAGS[name], value if equals else None
    if name in {"h", "help"}:
        raise HelpRequested
    import difflib  # noqa: PLC0415 - for mistakes alone

    similar = difflib.get_close_matches(name, FLAGS, n=1, cutoff=0.75)
    raise UsageError(f"flag provided but not defined: -{name}", similar="".join(similar))


def _parse(flag: Flag, value: str) -> object:
    if not value and flag.kind is URLS and flag.option is not None:
        return flag.option.default
    try:
        return flag.kind.parse(value)
    except ValueError as error:
        if flag.kind is BOOL:
            text = f"invalid boolean value {quote(value)} for -{flag.name}: {error}"
        else:
            text = f"invalid value {quote(value)} for flag -{flag.name}: {error}"
        raise UsageError(text) from None


def _refuse_word(word: str) -> None:
    if word in _SUBCOMMANDS:
        raise ConfigError(f"the subcommand {quote(word)} is not supported")
    raise ConfigError(f"{quote(word)} is not a valid flag")
