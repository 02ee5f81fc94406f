"""Options in the environment: `ETCD_DATA_DIR` stands for `--data-dir`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.config.catalog import FLAGS, IGNORED_FLAGS, Settings
from pykvd.config.errors import ConfigError, ShadowedVariableError
from pykvd.config.options import variable_of
from pykvd.config.values import quote
from pykvd.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = get_logger("config")

_PREFIX = "ETCD_"
#: Known, but not to be set this way: a unit file that exports it must not make `--version` out of
#: a start.
_VERSION = variable_of("version")
_SECRETS = frozenset({variable_of("discovery-password")})
_VARIABLES = {variable_of(name): flag for name, flag in FLAGS.items()}


def read_environment(environ: Mapping[str, str], given: Settings) -> Settings:
    """What the variables set, beside the flags `given`; an empty variable sets nothing.

    Raises ConfigError for a bad value, ShadowedVariableError for an option that is also a flag.
    """
    settings: Settings = {}
    for variable in sorted(name for name in environ if name.startswith(_PREFIX)):
        value = environ[variable]
        flag = _VARIABLES.get(variable)
        if variable == _VERSION:
            _log.warn("cannot set special environment variable", key=variable, value=value)
        elif flag is None or not value:
            _log.warn(
                "unrecognized environment variable", environment_variable=f"{variable}={value}"
            )
        elif flag.name in given:
            raise ShadowedVariableError(variable, flag.name)
        else:
            if flag.name not in IGNORED_FLAGS:
                settings[flag.name] = _parse(variable, value)
            _log.info(
                "recognized and used environment variable",
                variable_name=variable,
                variable_value="..." if variable in _SECRETS else value,
            )
    return settings


def _parse(variable: str, value: str) -> object:
    try:
        return _VARIABLES[variable].kind.parse(value)
    except ValueError as error:
        raise ConfigError(f"invalid value {quote(value)} for {variable}: {error}") from None
