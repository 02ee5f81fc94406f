"""The configuration file: YAML (and so JSON) with the flags' names as keys."""

from __future__ import annotations

from typing import Any

import yaml

from pykvd.config.catalog import FLAGS, Flag, Settings
from pykvd.config.errors import ConfigError
from pykvd.config.options import DURATION, URLS
from pykvd.config.values import quote
from pykvd.oserrors import reason

_NANOSECONDS = 1_000_000_000
#: The Go types of options that are numbers in a file.
_NUMBERS = frozenset({"int", "int64", "uint", "uint32", "uint64", "time.Duration"})
_JSON_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "bool"),
    ((int, float), "number"),
    (list, "array"),
    (dict, "object"),
)


class _Loader(yaml.SafeLoader):
    """YAML as Go's parser has it, where a date is text: a token may look like one."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - overrides the class's own
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_file(path: str) -> Settings:
    """What the file sets; unknown keys are ignored, as etcd does.

    Raises ConfigError for a file that cannot be read, is not YAML or holds a wrong type.
    """
    document = _load(path)
    settings: Settings = {}
    for flag in FLAGS.values():
        value = _look_up(document, flag)
        if value is not None and not (flag.kind is URLS and value == ""):
            settings[flag.name] = _convert(flag, value)
    return settings


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            document = yaml.load(file, _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        verb = "read" if isinstance(error, IsADirectoryError) else "open"
        raise ConfigError(f"{verb} {path}: {reason(error)}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"error converting YAML to JSON: yaml: {_where(error)}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
            f"{_json_type(document)} into Go value of type embed.configYAML"
        )
    return document


def _where(error: yaml.YAMLError | ValueError) -> str:
    """`line N: problem`, on one line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}: {problem}" if mark else problem


def _look_up(document: dict[str, Any], flag: Flag) -> Any:
    """The value below the flag's keys, None where there is none or it is null."""
    value: Any = document if flag.file_path else None
    for depth, key in enumerate(flag.file_path):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ConfigError(_mismatch(value, flag.file_path[:depth], "map"))
        value = value.get(key)
    return value


def _convert(flag: Flag, value: Any) -> object:
    """A value of YAML as the option's own; etcd takes no number for a text, nor the reverse."""
    wanted = flag.kind.file_type
    match value:
        case str() if wanted == "string":
            return _from_text(flag, value)
        case bool() if wanted == "bool":
            return value
        case list() if wanted == "[]string":
            return _strings(flag, value)
        case int() if wanted in _NUMBERS and not isinstance(value, bool):
            return _number(flag, value)
    raise ConfigError(_mismatch(value, flag.file_path, wanted))


def _number(flag: Flag, value: int) -> float:
    if not flag.kind.low <= value <= flag.kind.high:
        raise ConfigError(_mismatch(value, flag.file_path, flag.kind.file_type))
    return value / _NANOSECONDS if flag.kind is DURATION else value


def _strings(flag: Flag, values: list[Any]) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str):
            raise ConfigError(_mismatch(value, flag.file_path, "string"))
    return tuple(values)


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
    found = _json_type(value)
    if found == "number" and wanted in _NUMBERS:
        found = f"number {value}"
    return (
        f"error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into "
        f"Go struct field configYAML.Config.{'.'.join(path)} of type {wanted}"
    )


def _json_type(value: Any) -> str:
    for types, name in _JSON_TYPES:
        if isinstance(value, types):
            return name
    return "string"
