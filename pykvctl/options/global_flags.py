"""The flags that every command has, and the environment variables behind them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from pykvctl.gotext.durations import SECOND
from pykvctl.options.values import BOOL, DURATION, INT, LIST, STRING, FlagType

PREFIX = "ETCDCTL_"


@dataclass(frozen=True)
class GlobalFlags:
    """Values of the global flags; durations in nanoseconds, sizes in bytes."""

    cacert: str
    cert: str
    command_timeout: int
    debug: bool
    dial_timeout: int
    discovery_srv: str
    discovery_srv_name: str
    endpoints: list[str]
    hex: bool
    insecure_discovery: bool
    insecure_skip_tls_verify: bool
    insecure_transport: bool
    keepalive_time: int
    keepalive_timeout: int
    key: str
    max_recv_bytes: int
    max_request_bytes: int
    password: str
    user: str
    write_out: str


def _flag(names: str, kind: FlagType, default: Any, text: str) -> click.Option:
    return click.Option(names.split(), type=kind, default=default, help=text)


# Sorted by name: this is the order of usage texts and of the --debug listing.
GLOBAL_OPTIONS: list[click.Option] = [
    _flag(
        "--cacert", STRING, "", "verify certificates of TLS-enabled servers using this CA bundle"
    ),
    _flag("--cert", STRING, "", "identify the client using this TLS certificate file"),
    _flag("--command-timeout", DURATION, 5 * SECOND, "timeout for short running commands"),
    _flag("--debug", BOOL, False, "print the global flags and transport logs"),
    _flag("--dial-timeout", DURATION, 2 * SECOND, "timeout for setting up a connection"),
    _flag(
        "-d --discovery-srv", STRING, "", "domain whose SRV records name the endpoints of a cluster"
    ),
    _flag("--discovery-srv-name", STRING, "", "suffix of the service name for DNS discovery"),
    _flag("--endpoints", LIST, ["127.0.0.1:2379"], "gRPC endpoints"),
    _flag("--hex", BOOL, False, "print byte strings as hex encoded strings"),
    _flag("--insecure-discovery", BOOL, True, "accept SRV records of plain text endpoints"),
    _flag(
        "--insecure-skip-tls-verify", BOOL, False, "accept any server certificate (for tests only)"
    ),
    _flag("--insecure-transport", BOOL, True, "use plain text where no TLS file is given"),
    _flag("--keepalive-time", DURATION, 2 * SECOND, "idle time before a connection is probed"),
    _flag("--keepalive-timeout", DURATION, 6 * SECOND, "time to wait for the answer to a probe"),
    _flag("--key", STRING, "", "identify the client using this TLS key file"),
    _flag("--max-recv-bytes", INT, 0, "largest answer accepted, in bytes (0: 2147483647)"),
    _flag("--max-request-bytes", INT, 0, "largest request sent, in bytes (0: 2097152)"),
    _flag("--password", STRING, "", "password (--user then holds the name only)"),
    _flag("--user", STRING, "", "username[:password] (prompts if there is no password)"),
    _flag(
        "-w --write-out",
        STRING,
        "simple",
        "set the output format (fields, json, protobuf, simple, table)",
    ),
]


class ShadowedVariableError(Exception):
    """A flag was given although its environment variable is set; the argument is its name."""


def variable_of(option: click.Option) -> str:
    """Name of the environment variable behind a global flag."""
    return PREFIX + (option.name or "").upper()


def from_flags(values: Mapping[str, Any]) -> GlobalFlags:
    """The flags given on the command line, defaults for the others."""
    defaults = {option.name: option.default for option in GLOBAL_OPTIONS}
    return GlobalFlags(**{**defaults, **values})


def from_environment(given: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Values of the variables whose flags are not in `given`.

    Unreadable values are ignored. Raises ShadowedVariableError for a flag given in both places.
    """
    values: dict[str, Any] = {}
    for option in GLOBAL_OPTIONS:
        text = environ.get(variable_of(option), "")
        if not text:
            continue
        if option.name in given:
            raise ShadowedVariableError(variable_of(option))
        assert isinstance(option.type, FlagType)
        try:
            values[str(option.name)] = option.type.parse(text)
        except ValueError:
            continue
    return values


def unrecognized(environ: Mapping[str, str], *, known: frozenset[str]) -> list[str]:
    """`NAME=VALUE` of each variable with our prefix that is neither a flag's nor in `known`."""
    names = known | {variable_of(option) for option in GLOBAL_OPTIONS}
    return [
        f"{name}={value}"
        for name, value in environ.items()
        if name.startswith(PREFIX) and name not in names
    ]
