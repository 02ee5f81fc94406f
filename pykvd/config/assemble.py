"""From what was given, under whatever name, to the arguments of `Config`."""

from __future__ import annotations

from typing import Any

from pykvd.config.catalog import FLAGS, START_OPTIONS, Flag, Settings
from pykvd.config.errors import ConfigError
from pykvd.config.gates import FeatureGates
from pykvd.logs import get_logger

_log = get_logger("config")

_START_FLAGS = frozenset(option.flag for option in START_OPTIONS)


def assemble(settings: Settings, *, from_file: bool) -> dict[str, Any]:
    """`settings` by field name, older names replaced by the new ones.

    Raises ConfigError where an option is given under both of its names.
    """
    arguments: dict[str, Any] = {}
    for name, value in settings.items():
        flag = FLAGS[name]
        if flag.replacement:
            _log.warn(
                f"--{name} is deprecated in 3.6 and will be decommissioned in 3.7. "
                f"Use {flag.replacement} instead"
            )
        if flag.gate:
            _refuse_both_gates(settings, flag, value)
        elif flag.option is not None and name not in _START_FLAGS:
            _refuse_both_names(settings, flag)
            arguments[flag.option.field_name] = value
    switched = {FLAGS[n].gate: v for n, v in settings.items() if FLAGS[n].gate}
    if switched:
        gates: FeatureGates = arguments.get("feature_gates", FeatureGates())
        arguments["feature_gates"] = gates.with_gates(switched)
    if not from_file and "listen_client_urls" in arguments:
        # A default that names another address than the one listened on would mislead clients.
        arguments.setdefault("advertise_client_urls", ())
    return arguments


def _refuse_both_names(settings: Settings, flag: Flag) -> None:
    assert flag.option is not None
    new = flag.option.flag
    if flag.name != new and new in settings:
        raise ConfigError(
            f"cannot set --{flag.name} and --{new} at the same time, please use --{new} only"
        )


def _refuse_both_gates(settings: Settings, flag: Flag, value: bool) -> None:
    gates: FeatureGates = settings.get("feature-gates", FeatureGates())
    chosen = dict(gates.chosen)
    if flag.gate in chosen:
        both = f"{flag.gate}={str(chosen[flag.gate]).lower()}"
        raise ConfigError(
            f"cannot specify both flags: --{flag.name}={str(value).lower()} and "
            f"--feature-gates={both} at the same time, please just use --feature-gates={both}"
        )
