"""`Config`: all options of a server, from flags, variables, a file or keyword arguments."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING

from pykvd.config.catalog import OPTIONS
from pykvd.config.checks import check
from pykvd.config.clustering import DEFAULT_INITIAL_CLUSTER, ClusterOptions, DiscoveryOptions
from pykvd.config.member import DEFAULT_NAME, AddressOptions, StorageOptions, TimingOptions
from pykvd.config.operation import LegacyOptions, LogOptions, ObservationOptions, UpkeepOptions
from pykvd.config.retention import parse_retention
from pykvd.config.security import AuthOptions, ClientSecurityOptions, PeerSecurityOptions
from pykvd.config.support import check_support, without_effect
from pykvd.config.urls import URL, parse_members
from pykvd.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_log = get_logger("config")

_ZERO_IS_DEFAULT = [option for option in OPTIONS.values() if option.zero_is_default]


class Config(
    LegacyOptions,
    AuthOptions,
    PeerSecurityOptions,
    ClientSecurityOptions,
    DiscoveryOptions,
    ObservationOptions,
    LogOptions,
    TimingOptions,
    UpkeepOptions,
    StorageOptions,
    ClusterOptions,
    AddressOptions,
):
    """The options of one server; fields are named as etcd's flags, with underscores.

    Values are ready for use: durations are float seconds, except `heartbeat_interval` and
    `election_timeout`, which are milliseconds; a 0 that means "the default" is replaced by it;
    an empty `data_dir` becomes `<name>.etcd`. The fields stand in the base classes, by subject.
    Nothing is checked before `validate()`.
    """

    def __post_init__(self) -> None:
        values = vars(self)
        for option in _ZERO_IS_DEFAULT:
            values[option.field_name] = values[option.field_name] or option.default
        values["data_dir"] = self.data_dir or f"{self.name}.etcd"

    @classmethod
    def from_args(cls, argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Config:
        """The checked configuration of a command line (without the program's name) and variables.

        `environ` is the process's own environment when it is left out. A configuration file named
        in either stands alone. Raises ConfigError, UsageError or HelpRequested.
        """
        # Here and below: a program that makes its Config itself pays for no parser.
        from pykvd.config.assemble import assemble  # noqa: PLC0415
        from pykvd.config.commandline import parse_arguments  # noqa: PLC0415
        from pykvd.config.environment import read_environment  # noqa: PLC0415

        environ = os.environ if environ is None else environ
        given = parse_arguments(argv)
        path = given.get("config-file") or environ.get("ETCD_CONFIG_FILE")
        if path:
            return cls.from_file(path)
        config = cls(**assemble(given | read_environment(environ, given), from_file=False))
        config.validate()
        return config

    @classmethod
    def from_file(cls, path: str) -> Config:
        """The checked configuration in a YAML file. Raises ConfigError."""
        from pykvd.config.assemble import assemble  # noqa: PLC0415
        from pykvd.config.file import read_file  # noqa: PLC0415

        config = cls(**assemble(read_file(path), from_file=True))
        config.validate()
        _log.info(
            "loaded server configuration, other configuration command line flags and environment "
            "variables will be ignored if provided",
            path=path,
        )
        return config

    def validate(self) -> None:
        """Raise ConfigError with the first thing that is wrong or cannot be done yet.

        What is only without effect is logged as a warning.
        """
        check(self)
        check_support(self)
        for flag in without_effect(self):
            _log.warn("flag is accepted but has no effect yet", flag=flag)

    @property
    def initial_cluster_is_chosen(self) -> bool:
        """Whether `initial_cluster` was given rather than left at its default."""
        return self.initial_cluster not in {"", DEFAULT_INITIAL_CLUSTER}

    @property
    def discovers(self) -> bool:
        """Whether the other members are looked for, instead of listed in `initial_cluster`."""
        # The name of a service alone leads nowhere; but it asks for more than a lone member.
        named = self.discovery_srv_name and not self.initial_cluster_is_chosen
        return bool(self.discovery_endpoints or self.discovery_srv or named)

    @property
    def is_plain(self) -> bool:
        """Whether there is nobody to talk TLS with: no other member, no option or URL of TLS."""
        lone = not (
            self.listen_peer_urls
            or self.initial_cluster_is_chosen
            or self.initial_cluster_state == "existing"
            or self.discovers
        )
        urls = self.listen_client_urls + self.listen_client_http_urls + self.listen_metrics_urls
        options = fields(ClientSecurityOptions) + fields(PeerSecurityOptions)
        return (
            lone
            and not any(url.is_secure for url in urls)
            and all(getattr(self, each.name) == each.default for each in options)
        )

    @property
    def initial_members(self) -> dict[str, tuple[URL, ...]]:
        """Peer URLs by member name to form the cluster from; empty with discovery.

        As in etcd a name alone is enough: the default list then holds this member as it
        advertises itself.
        """
        if self.initial_cluster == DEFAULT_INITIAL_CLUSTER:
            if self.discovers:
                return {}
            if self.name != DEFAULT_NAME:
                return {self.name: self.initial_advertise_peer_urls}
        return parse_members(self.initial_cluster)

    @property
    def compaction_retention(self) -> float:
        """History kept by auto compaction: seconds if periodic, else revisions; 0 keeps all."""
        return parse_retention(self.auto_compaction_mode, self.auto_compaction_retention)

    def as_flags(self) -> dict[str, str]:
        """Every option in its text form by flag name, for the log; passwords are left out."""
        options = (OPTIONS[field.name.replace("_", "-")] for field in fields(self))
        return {
            option.flag: option.kind.show(getattr(self, option.field_name))
            for option in options
            if option.flag != "discovery-password"
        }
