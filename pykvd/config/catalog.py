"""Every option there is, and every flag, older names included, that leads to one."""

from __future__ import annotations

from typing import Any, NamedTuple

from pykvd.config.clustering import ClusterOptions, DiscoveryOptions
from pykvd.config.gates import GATES
from pykvd.config.member import AddressOptions, StorageOptions, TimingOptions
from pykvd.config.operation import LegacyOptions, LogOptions, ObservationOptions, UpkeepOptions
from pykvd.config.options import BOOL, PATH, TEXT, Kind, Option, options_of
from pykvd.config.security import AuthOptions, ClientSecurityOptions, PeerSecurityOptions

#: What was given, by flag name (older names under themselves), values parsed.
Settings = dict[str, Any]

#: Flags about the start itself; no fields of `Config`, and not for a file.
START_OPTIONS = (
    Option(
        "config-file",
        PATH,
        "",
        "Read the options from this YAML file; all other flags and variables are then ignored.",
        file="",
    ),
    Option("version", BOOL, False, "Print the version and exit.", file=""),
)

#: The groups of the help text, in its order.
GROUPS: dict[str, tuple[Option, ...]] = {
    "Addresses and limits": tuple(options_of(AddressOptions)),
    "Cluster": tuple(options_of(ClusterOptions)),
    "Storage": tuple(options_of(StorageOptions)),
    "Compaction and features": tuple(options_of(UpkeepOptions)),
    "Timing": tuple(options_of(TimingOptions)),
    "Logging": tuple(options_of(LogOptions)),
    "Metrics and tracing": tuple(options_of(ObservationOptions)),
    "Discovery": tuple(options_of(DiscoveryOptions)),
    "Client transport security": tuple(options_of(ClientSecurityOptions)),
    "Peer transport security": tuple(options_of(PeerSecurityOptions)),
    "Authentication": tuple(options_of(AuthOptions)),
    "Version 2 (gone from etcd)": tuple(options_of(LegacyOptions)),
    "Start": START_OPTIONS,
}

OPTIONS: dict[str, Option] = {o.flag: o for group in GROUPS.values() for o in group}

#: Flags of releases long gone, which etcd still takes and ignores, with or without a value.
IGNORED_FLAGS = frozenset(
    {
        "cluster-active-size",
        "cluster-remove-delay",
        "cluster-sync-interval",
        "config",
        "force",
        "max-result-buffer",
        "max-retry-attempts",
        "peer-heartbeat-interval",
        "peer-election-timeout",
        "retry-interval",
        "snapshot",
        "v",
        "vv",
        "test.coverprofile",
        "test.outputdir",
    }
)


class Flag(NamedTuple):
    """One name on the command line.

    option: the option that it sets; None for an older switch of a feature gate or an ignored flag.
    gate: the feature gate that it switches, or "".
    replacement: what to use instead when the name is an older one, or "".
    file_path: its keys in a configuration file, none where a file cannot hold it.
    """

    name: str
    kind: Kind[Any]
    option: Option | None = None
    gate: str = ""
    replacement: str = ""
    file_path: tuple[str, ...] = ()

    @property
    def takes_no_value(self) -> bool:
        """Whether the bare flag is complete, so that a value needs `=`."""
        return self.kind is BOOL or self.name in IGNORED_FLAGS


def _all_flags() -> dict[str, Flag]:
    flags = [Flag(o.flag, o.kind, o, file_path=o.file_path) for o in OPTIONS.values()]
    for o in OPTIONS.values():
        if o.was:
            path = (o.was_file or o.was,)
            flags.append(Flag(o.was, o.kind, o, replacement=f"--{o.flag}", file_path=path))
    for name, gate in GATES.items():
        if gate.was:
            replacement = f"--feature-gates={name}=true"
            flags.append(
                Flag(gate.was, BOOL, gate=name, replacement=replacement, file_path=(gate.was,))
            )
    flags.extend(Flag(name, TEXT) for name in sorted(IGNORED_FLAGS))
    return {flag.name: flag for flag in flags}


FLAGS: dict[str, Flag] = _all_flags()
