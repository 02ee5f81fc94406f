"""What one option is: its value's kind, its names on the command line, in variables and in files.

The groups of options (`member`, `clustering`, ...) are `Options` whose fields `option()` makes.
Flags, variables, the configuration file and the help text are all derived from them.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, fields
from functools import partial
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, TypeVar, dataclass_transform

from pykvd.config.urls import URL, format_urls, parse_urls
from pykvd.config.values import format_duration, parse_bool, parse_duration, parse_integer, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from dataclasses import Field
    from typing import ClassVar

T = TypeVar("T")

_METADATA_KEY = "option"


class Kind(NamedTuple, Generic[T]):
    """A type of value.

    name: what the help text calls it.
    parse: from the text of a flag or variable; ValueError holds the reason.
    show: back to that text.
    file_type: how a configuration file holds it, as a Go type name (error texts show it).
    low, high: the range of an integer in a file.
    """

    name: str
    parse: Callable[[str], T]
    show: Callable[[T], str]
    file_type: str = "string"
    low: int = 0
    high: int = 0


def _integer(file_type: str, low: int, high: int) -> Kind[int]:
    def parse(text: str) -> int:
        return parse_integer(text, low, high)

    return Kind("number", parse, str, file_type, low, high)


def _parse_uint32(text: str) -> int:
    """Etcd reads this type by itself, which shows in the text of its errors."""
    try:
        return parse_integer(text, 0, 2**32 - 1)
    except ValueError as error:
        reason = str(error).replace("parse error", "invalid syntax")
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: {reason}") from None


def _parse_flag_duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError("parse error") from None


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _parse_set(text: str) -> tuple[str, ...]:
    return tuple(sorted(set(_parse_list(text))))


def _parse_origins(text: str) -> tuple[str, ...]:
    if text == "*":
        return ("*",)
    return tuple(map(str, parse_urls(text)))


def choice(*values: str) -> Kind[str]:
    """One of a closed list, case-sensitive."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError("invalid value")
        return text

    return Kind("|".join(filter(None, values)), parse, str)


TEXT: Kind[str] = Kind("string", str, str)
PATH: Kind[str] = Kind("path", str, str)
BOOL: Kind[bool] = Kind("bool", parse_bool, lambda v: str(v).lower(), "bool")
INT = _integer("int", -(2**63), 2**63 - 1)
INT64 = _integer("int64", -(2**63), 2**63 - 1)
UINT = _integer("uint", 0, 2**64 - 1)
UINT32 = Kind("number", _parse_uint32, str, "uint32", 0, 2**32 - 1)
UINT64 = _integer("uint64", 0, 2**64 - 1)
#: Float seconds in Python, `1h30m` as a flag, integer nanoseconds in a file.
DURATION: Kind[float] = Kind(
    "duration", _parse_flag_duration, format_duration, "time.Duration", -(2**63), 2**63 - 1
)
URLS: Kind[tuple[URL, ...]] = Kind("urls", parse_urls, format_urls)
#: In order, with a YAML list in a file.
LIST: Kind[tuple[str, ...]] = Kind("list", _parse_list, ",".join, "[]string")
#: Sorted and distinct as a flag, with a YAML list in a file.
LIST_SET: Kind[tuple[str, ...]] = Kind("list", _parse_set, ",".join, "[]string")
#: The same with one comma-separated string in a file.
TEXT_SET: Kind[tuple[str, ...]] = Kind("list", _parse_set, ",".join)
ORIGINS: Kind[tuple[str, ...]] = Kind("list", _parse_origins, ",".join)


class Option(NamedTuple):
    """One option of the server.

    flag: name on the command line, without dashes.
    default: value when it is given nowhere.
    help: one or two sentences, without the default.
    file: its dotted keys in a configuration file where they are not just the flag's name; "" when
        a file cannot hold it.
    was: the name before release 3.6, still understood.
    was_file: its key in a file where that differs from `was`.
    zero_is_default: whether 0 means the default.
    """

    flag: str
    kind: Kind[Any]
    default: Any
    help: str
    file: str | None = None
    was: str = ""
    was_file: str = ""
    zero_is_default: bool = False

    @property
    def field_name(self) -> str:
        """The attribute of `Config`."""
        return self.flag.replace("-", "_")

    @property
    def file_path(self) -> tuple[str, ...]:
        """The keys that lead to it in a configuration file; empty when none do."""
        dotted = self.flag if self.file is None else self.file
        return tuple(filter(None, dotted.split(".")))


class _Arguments:
    """What `help` and notebooks show of an `Options` class; made when somebody looks."""

    def __get__(self, _: object, owner: type[Options]) -> Signature:
        options = getattr(owner, "__dataclass_fields__", {}).values()
        return Signature(
            [Parameter(each.name, Parameter.KEYWORD_ONLY, default=each.default) for each in options]
        )


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Options:
    """A frozen dataclass of options, whose arguments are all by keyword and may all be left out.

    What `dataclass` would write and compile for a hundred fields at every start is here once, for
    any fields.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    __signature__ = _Arguments()

    def __init_subclass__(cls) -> None:
        dataclass(init=False, repr=False, eq=False)(cls)

    def __init__(self, **given: Any) -> None:
        values = vars(self)
        for each in fields(self):
            values[each.name] = given.pop(each.name, each.default)
        if given:
            name = type(self).__name__
            raise TypeError(f"{name}() got an unexpected keyword argument {min(given)!r}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """Complete the values."""

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({shown})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")


def variable_of(flag: str) -> str:
    """The environment variable of a flag: `ETCD_DATA_DIR` for `data-dir`."""
    return "ETCD_" + flag.replace("-", "_").upper()


def option(default: T, kind: Kind[T], text: str, **rest: Any) -> T:
    """A dataclass field for one option, whose flag is the field's name with dashes.

    `rest` are further fields of `Option`.
    """
    described = partial(Option, kind=kind, default=default, help=text, **rest)
    return field(default=default, metadata={_METADATA_KEY: described})


def options_of(group: type[Any]) -> Iterator[Option]:
    """The options that a group declares itself, in order."""
    for each in fields(group):
        if each.name in group.__annotations__:
            yield each.metadata[_METADATA_KEY](flag=each.name.replace("_", "-"))
