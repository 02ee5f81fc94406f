"""Kinds of flag values: click parameter types that speak etcdctl's texts.

Each converts a text to a value (ValueError says what is wrong, in etcdctl's words) and shows a
value in usage texts (`show`) and bare (`text`).
"""

from typing import Any

import click

from pykvctl.gotext.durations import format_duration, parse_duration
from pykvctl.gotext.numbers import parse_bool, parse_int, parse_uint
from pykvctl.gotext.quoting import quote


class FlagType(click.ParamType[Any]):
    """A kind of flag value; plain text unless a subclass says otherwise."""

    name = "string"

    def parse(self, text: str) -> Any:
        """The value of `text`; ValueError if there is none."""
        return text

    def text(self, value: Any) -> str:
        """`value` as the environment would hold it."""
        return str(value)

    def show(self, value: Any) -> str:
        """`value` as usage texts show a default."""
        return quote(value)

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002
        ctx: click.Context | None,  # noqa: ARG002
    ) -> Any:
        """Click's entry: defaults are values already."""
        return self.parse(value) if isinstance(value, str) else value


class BoolType(FlagType):
    """`--flag` or `--flag=true|false`; never takes the next word."""

    name = "bool"

    def parse(self, text: str) -> bool:
        """One of strconv's spellings."""
        return parse_bool(text)

    def text(self, value: bool) -> str:
        """`true` or `false`."""
        return "true" if value else "false"

    show = text


class IntType(FlagType):
    """A signed 64-bit number, also hexadecimal, octal or binary by its prefix."""

    name = "int"

    def parse(self, text: str) -> int:
        """A number with strconv's base prefixes."""
        return parse_int(text, 0)

    show = FlagType.text


class UintType(FlagType):
    """An unsigned 64-bit number, also hexadecimal, octal or binary by its prefix."""

    name = "uint"

    def parse(self, text: str) -> int:
        """A number with strconv's base prefixes."""
        return parse_uint(text, 0)

    show = FlagType.text


class DurationType(FlagType):
    """A duration with units; the value is nanoseconds."""

    name = "duration"

    def parse(self, text: str) -> int:
        """Nanoseconds."""
        return parse_duration(text)

    def text(self, value: int) -> str:
        """The shortest exact form."""
        return format_duration(value)

    show = text


class ListType(FlagType):
    """Words between commas; a flag given twice appends."""

    name = "strings"

    def parse(self, text: str) -> list[str]:
        """The words, blanks kept; an empty text is an empty list."""
        return text.split(",") if text else []

    def text(self, value: list[str]) -> str:
        """`[a,b]`."""
        return f"[{','.join(value)}]"

    show = text


STRING = FlagType()
BOOL = BoolType()
INT = IntType()
UINT = UintType()
DURATION = DurationType()
LIST = ListType()
