"""The configuration file: YAML (and so JSON) with the flags' names as keys."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import yaml

from pykvd.config.catalog import FLAGS, Flag, Settings
from pykvd.config.errors import ConfigError
from pykvd.config.options import BOOL, DURATION, URLS, Kind
from pykvd.config.values import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

_NANOSECONDS = 1_000_000_000


def read_file(path: str) -> Settings:
    """What the file sets; unknown keys are ignored, as etcd does.

    Raises ConfigError for a file that cannot be read, is not YAML or holds a wrong type.
    """
    document = _load(path)
    settings: Settings = {}
    for flag in FLAGS.values():
        value = _look_up(document, flag.file_path)
        if value is not None:
            settings[flag.name] = _convert(flag, value)
    return settings


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            document = yaml.safe_load(file)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise ConfigError(f"open {path}: {reason}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"error converting YAML to JSON: yaml: {_where(error)}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(_mismatch(document, (), "embed.configYAML"))
    return document


def _where(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """`line N: problem`, on one line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).replace("\n", " ")
    return f"line {mark.line + 1}: {problem}" if mark else problem


def _look_up(document: dict[str, Any], path: Iterable[str]) -> Any:
    """The value below the keys `path`, None where there is none or it is null."""
    path = tuple(path)
    value: Any = document if path else None
    for depth, key in enumerate(path):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ConfigError(_mismatch(value, path[:depth], "map"))
        value = value.get(key)
    return value


def _convert(flag: Flag, value: Any) -> object:
    """A value of YAML as the option's own."""
    kind = flag.kind
    if kind.file_type == "[]string":
        return _strings(flag, value)
    if kind.file_type == "string":
        return _from_text(flag, _scalar_text(flag, value))
    if kind is BOOL:
        if not isinstance(value, bool):
            raise ConfigError(_mismatch(value, flag.file_path, kind.file_type))
        return value
    number = _number(flag, kind, value)
    return number / _NANOSECONDS if kind is DURATION else number


def _number(flag: Flag, kind: Kind[Any], value: Any) -> int:
    fits = isinstance(value, int) and not isinstance(value, bool) and kind.low <= value <= kind.high
    if not fits:
        raise ConfigError(_mismatch(value, flag.file_path, kind.file_type))
    return int(value)


def _strings(flag: Flag, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigError(_mismatch(value, flag.file_path, "[]string"))
    return tuple(_scalar_text(flag, item) for item in value)


def _scalar_text(flag: Flag, value: Any) -> str:
    """Numbers and bools stand for their own text where a string is wanted."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ConfigError(_mismatch(value, flag.file_path, "string"))


def _from_text(flag: Flag, text: str) -> object:
    try:
        return flag.kind.parse(text)
    except ValueError as error:
        if flag.name == "initial-cluster-state":
            reason = f"unexpected clusterState {quote(text)}"
        elif flag.kind is URLS:
            reason = f"unexpected error setting up {flag.name}: {error}"
        else:
            reason = f"invalid value {quote(text)} for {flag.name}: {error}"
        raise ConfigError(reason) from None


def _mismatch(value: Any, path: tuple[str, ...], wanted: str) -> str:
    """The text of Go's JSON decoder for a value of the wrong type."""
    where = ".".join(("configYAML", "Config", *path)) if path else "configYAML"
    return (
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
        f"{_json_type(value)} into Go struct field {where} of type {wanted}"
    )


def _json_type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case int():
            return f"number {value}"
    return "number" if isinstance(value, float) else "string"
