"""Click commands and groups that follow etcdctl's command line instead of click's.

Click declares: names, flags, help, callbacks, lazy groups. The words of the command line are read
by `parser`, and a command is found as etcdctl's library (cobra) finds it: flags are skipped, a
unique prefix of a name is enough, and an unknown word after a group shows the group's usage.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import click

from pykvctl.errors import UnknownCommandError
from pykvctl.gotext.quoting import quote
from pykvctl.options.global_flags import GLOBAL_OPTIONS
from pykvctl.options.parser import FlagSet, ParsedLine, parse_flags
from pykvctl.options.values import BOOL

HELP = click.Option(["-h", "--help"], type=BOOL, default=False, help="show this text")
_GLOBAL_NAMES = frozenset(option.name for option in GLOBAL_OPTIONS)


class Line:
    """What a command line holds for one command, sorted."""

    def __init__(self, parsed: ParsedLine) -> None:
        values = dict(parsed.values)
        self.help: bool = values.pop("help", False)
        self.global_values = {n: values.pop(n) for n in list(values) if n in _GLOBAL_NAMES}
        self.own_values = values
        self.args = parsed.args
        self.dash = parsed.dash


class Command(click.Command):
    """A runnable command; `usage` is its synopsis without the program's name."""

    def __init__(
        self, name: str, *, usage: str = "", inherited: Iterable[click.Option] = (), **kwargs: Any
    ) -> None:
        super().__init__(name, add_help_option=False, **kwargs)
        self.usage = usage
        self.inherited = list(inherited)

    def flag_set(self) -> FlagSet:
        """All flags that may be given to this command."""
        return FlagSet([*self.params, *self.inherited, *GLOBAL_OPTIONS, HELP])

    def defaults(self) -> dict[str, Any]:
        """Values of the command's own flags where they are not given, by parameter name."""
        return {
            str(option.name): option.default
            for option in [*self.params, *self.inherited]
            if isinstance(option, click.Option)
        }

    def read(self, words: list[str]) -> Line:
        """Parse the words that follow the command's name; FlagError if they are malformed."""
        return Line(parse_flags(self.flag_set(), words))

    def run(self, session: object, line: Line) -> None:
        """Call the command's function with its arguments, defaults filled in."""
        context = click.Context(self, info_name=self.name, obj=session)
        params: dict[str, Any] = {**self.defaults(), **line.own_values, "args": line.args}
        context.meta["dash"] = line.dash
        with context:
            assert self.callback is not None
            context.invoke(self.callback, **params)


class Group(click.Group):
    """A group whose commands are imported when they are needed.

    `lazy` maps names to `module:attribute`, in the order suggestions use. `extra` are commands that
    etcdctl does not have: they never change what a shortened or misspelt name of its own means.
    `persistent` flags are accepted by all commands of the group.
    """

    def __init__(
        self,
        name: str,
        *,
        lazy: dict[str, str] | None = None,
        extra: dict[str, str] | None = None,
        persistent: Iterable[click.Option] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(name, add_help_option=False, **kwargs)
        self.lazy = lazy or {}
        self.extra = extra or {}
        self.persistent = list(persistent)
        self.usage = f"{name} <subcommand>"

    def names(self) -> list[str]:
        """Names of all commands in the order they were registered."""
        return list(dict.fromkeys([*self.lazy, *self.commands, *self.extra]))

    def load(self, name: str) -> "Command | Group":
        """The command called exactly `name`."""
        if name not in self.commands:
            place = self.lazy.get(name) or self.extra[name]
            module, _, attribute = place.partition(":")
            self.commands[name] = getattr(import_module(module), attribute)
        command = self.commands[name]
        assert isinstance(command, Command | Group)
        return command

    def match(self, word: str) -> "Command | Group | None":
        """The command that `word` names: exactly, or as a prefix of one name only."""
        names = self.names()
        if word in names:
            return self.load(word)
        candidates = [name for name in names if name.startswith(word)]
        own = [name for name in candidates if name not in self.extra]
        if len(own or candidates) != 1:
            return None
        return self.load((own or candidates)[0])

    def flag_set(self) -> FlagSet:
        """Flags that may stand before the name of a subcommand."""
        return FlagSet([*self.persistent, *GLOBAL_OPTIONS, HELP])

    def read(self, words: list[str]) -> Line:
        """Parse the words of a group named without a subcommand."""
        return Line(parse_flags(self.flag_set(), words))

    def subcommand(self, name: str, **kwargs: Any) -> Callable[[Callable[..., Any]], Command]:
        """Decorator: a function becomes a command of this group."""

        def register(function: Callable[..., Any]) -> Command:
            child = click.command(name, cls=Command, inherited=self.persistent, **kwargs)(function)
            self.add_command(child)
            return child

        return register


def command(name: str, **kwargs: Any) -> Callable[[Callable[..., Any]], Command]:
    """Decorator: a function becomes a command outside any group."""
    return click.command(name, cls=Command, **kwargs)


def flag(*names: str, type: Any, default: Any, help: str) -> Callable[[Any], Any]:  # noqa: A002
    """Decorator: a flag of a command."""
    return click.option(*names, type=type, default=default, help=help)


def find(root: Group, words: list[str]) -> tuple[list[str], Command | Group, list[str]]:
    """The command that `words` name: its path of names, itself, and the words without its names.

    Raises UnknownCommandError if the first word that is no flag names nothing.
    """
    path: list[str] = []
    node: Command | Group = root
    while isinstance(node, Group):
        position = _first_word(node.flag_set(), words)
        child = None if position is None else node.match(words[position])
        if position is None or child is None:
            break
        words = words[:position] + words[position + 1 :]
        path.append(str(child.name))
        node = child
    if node is root:
        position = _first_word(root.flag_set(), words)
        if position is not None:
            raise UnknownCommandError(_unknown(root, words[position]))
    return path, node, words


def _first_word(flags: FlagSet, words: list[str]) -> int | None:
    """Index of the first word that is neither a flag nor, by its looks, the value of one."""
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            return None
        if word.startswith("--") or (word.startswith("-") and len(word) == 2):
            position += 2 if flags.takes_word(word) else 1
        elif word.startswith("-") or not word:
            position += 1
        else:
            return position
    return None


def _unknown(root: Group, word: str) -> str:
    text = f'unknown command {quote(word)} for "{root.name}"'
    typed = word.lower().encode("utf-8", "surrogateescape")
    similar = [
        name
        for name in root.names()
        if name not in root.extra
        and (_distance(typed, name.encode()) <= 2 or name.encode().startswith(typed))
    ]
    if similar:
        text += "\n\nDid you mean this?\n" + "".join(f"\t{name}\n" for name in similar)
    return text


def _distance(left: bytes, right: bytes) -> int:
    """Levenshtein distance in bytes, so that a typographic dash counts thrice."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row = row, [i]
        for j, b in enumerate(right, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a != b)))
    return row[-1]
