"""Start-up checks of a whole configuration, in etcd's order and words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.config.errors import ConfigError
from pykvd.config.retention import parse_retention
from pykvd.config.urls import URL, check_bindable, check_reachable, format_urls, parse_members
from pykvd.config.values import quote
from pykvd.logs import FORMATS, LEVELS, STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.config.config import Config

_MAX_ELECTION_MS = 50_000
_MAX_SAMPLING_RATE = 1_000_000
_TLS_VERSIONS = ("TLS1.2", "TLS1.3")
_V3_DISCOVERY = (
    "discovery_token",
    "discovery_endpoints",
    "discovery_cert",
    "discovery_key",
    "discovery_cacert",
    "discovery_user",
    "discovery_password",
)


def check(config: Config) -> None:
    """Raise ConfigError with the first thing that is wrong."""
    for rule in _RULES:
        try:
            rule(config)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(str(error)) from None


def _logging(config: Config) -> None:
    if config.logger == "capnslog":
        raise ConfigError("--logger=capnslog is removed in v3.5")
    if config.logger != "zap":
        raise ConfigError(f"unknown logger option {quote(config.logger)}")
    if config.log_level not in LEVELS:
        raise ConfigError(f"unrecognized level: {quote(config.log_level)}")
    if config.log_format not in FORMATS:
        raise ConfigError(
            f"unknown log format: {config.log_format}, supported values json, console"
        )
    if "default" in config.log_outputs and len(config.log_outputs) > 1:
        raise ConfigError('multi logoutput for "default" is not supported yet')
    if config.enable_log_rotation:
        _log_rotation(config)


def _log_rotation(config: Config) -> None:
    files = [o for o in config.log_outputs if o not in STREAMS]
    if len(files) != 1 or len(config.log_outputs) != 1:
        raise ConfigError(
            "--log-outputs requires a single file path when --log-rotate-config-json is defined"
        )
    from pykvd.rotation import RotationConfig  # noqa: PLC0415 - few ask for it

    try:
        RotationConfig.parse(config.log_rotation_config_json)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"improperly formatted log rotation config: {error}") from None


def _listening(config: Config) -> None:
    check_bindable(config.listen_peer_urls)
    check_bindable(config.listen_client_urls)
    check_bindable(config.listen_client_http_urls)
    check_bindable(config.listen_metrics_urls)
    taken = {url.address for url in config.listen_client_urls}
    for url in config.listen_client_http_urls:
        if url.address in taken:
            raise ConfigError(
                "cannot bind both --listen-client-urls and --listen-client-http-urls "
                f"on the same url {url}"
            )


def _advertised(config: Config) -> None:
    _check_advertised("initial-advertise-peer-urls", config.initial_advertise_peer_urls, unix=False)
    _check_advertised("advertise-client-urls", config.advertise_client_urls, unix=True)


def _check_advertised(flag: str, urls: tuple[URL, ...], *, unix: bool) -> None:
    try:
        check_reachable(urls, unix=unix)
    except ValueError as error:
        text = quote(format_urls(urls))
        raise ConfigError(f'--{flag} {text} must be "host:port" ({error})') from None


def _one_way_to_start(config: Config) -> None:
    ways = (
        config.initial_cluster_is_chosen,
        bool(config.discovery),
        bool(config.discovery_endpoints),
        bool(config.discovery_srv),
    )
    if sum(ways) > 1:
        raise ConfigError(
            "multiple discovery or bootstrap flags are set. Choose one of "
            '"initial-cluster", "discovery", "discovery-endpoints" or "discovery-srv"'
        )


def _discovery(config: Config) -> None:
    if config.discovery_fallback == "proxy":
        raise ConfigError(
            'v2 proxy is deprecated, and --discovery-fallback can\'t be configured as "proxy"'
        )
    if config.discovery_proxy and any(getattr(config, name) for name in _V3_DISCOVERY):
        flags = ", ".join(name.replace("_", "-") for name in _V3_DISCOVERY)
        raise ConfigError(
            "both v2 discovery settings (discovery, discovery-proxy) and v3 discovery settings "
            f"({flags}) are set"
        )
    if bool(config.discovery_token) != bool(config.discovery_endpoints):
        raise ConfigError("both --discovery-token and --discovery-endpoints must be set")
    if not all(map(str.strip, config.discovery_endpoints)):
        raise ConfigError("--discovery-endpoints must not contain empty endpoints")


def _clocks(config: Config) -> None:
    heartbeat, election = config.heartbeat_interval, config.election_timeout
    if heartbeat == 0:
        raise ConfigError("--heartbeat-interval must be >0 (set to 0ms)")
    if election == 0:
        raise ConfigError("--election-timeout must be >0 (set to 0ms)")
    if 5 * heartbeat > election:
        raise ConfigError(
            f"--election-timeout[{election}ms] should be at least as 5 times as "
            f"--heartbeat-interval[{heartbeat}ms]"
        )
    if election > _MAX_ELECTION_MS:
        raise ConfigError(
            f"--election-timeout[{election}ms] is too long, and should be set less than "
            f"{_MAX_ELECTION_MS}ms"
        )


def _advertise_given(config: Config) -> None:
    if config.listen_client_urls and not config.advertise_client_urls:
        raise ConfigError(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly"
        )


def _compaction(config: Config) -> None:
    mode = config.auto_compaction_mode
    if not mode:
        raise ConfigError("undefined auto-compaction-mode")
    if mode not in {"periodic", "revision"}:
        raise ConfigError(f"unknown auto-compaction-mode {quote(mode)}")
    parse_retention(mode, config.auto_compaction_retention)


def _corruption(config: Config) -> None:
    if config.compact_hash_check_time <= 0:
        raise ConfigError("--compact-hash-check-time must be >0 (set to 0s)")


def _tracing(config: Config) -> None:
    if not config.enable_distributed_tracing:
        return
    rate = config.distributed_tracing_sampling_rate
    reason = "positive" if rate < 0 else f"less than {_MAX_SAMPLING_RATE}"
    if not 0 <= rate <= _MAX_SAMPLING_RATE:
        raise ConfigError(
            f"distributed tracing configurition is not valid: (tracing sampling rate must be "
            f"{reason})"
        )


def _gates(config: Config) -> None:
    gates = config.feature_gates
    if gates.enabled("LeaseCheckpointPersist") and not gates.enabled("LeaseCheckpoint"):
        raise ConfigError(
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate "
            "LeaseCheckpoint"
        )


def _tls(config: Config) -> None:
    low, high = config.tls_min_version, config.tls_max_version
    for version in (low, high):
        if version and version not in _TLS_VERSIONS:
            raise ConfigError(
                f"unexpected TLS version {quote(version)} (must be one of: TLS1.2, TLS1.3)"
            )
    if high and low > high:
        raise ConfigError(f"min version ({low}) is greater than max version ({high})")
    if low == "TLS1.3" and config.cipher_suites:
        raise ConfigError("cipher suites cannot be configured when only TLS1.3 is enabled")
    _key_pair(config.cert_file, config.key_file)
    _key_pair(config.peer_cert_file, config.peer_key_file)
    _client_key_pair(config.client_cert_file, config.client_key_file)
    _client_key_pair(config.peer_client_cert_file, config.peer_client_key_file)
    names, hosts = config.peer_cert_allowed_cn, config.peer_cert_allowed_hostname
    if names and hosts:
        raise ConfigError(
            f"AllowedCNs and AllowedHostnames are mutually exclusive "
            f"(cns=[{_quoted(names)}], hostnames=[{_quoted(hosts)}])"
        )


def _key_pair(cert: str, key: str) -> None:
    if bool(cert) != bool(key):
        raise ConfigError(f"KeyFile and CertFile must both be present[key: {key}, cert: {cert}]")


def _client_key_pair(cert: str, key: str) -> None:
    if bool(cert) != bool(key):
        raise ConfigError(
            "ClientKeyFile and ClientCertFile must both be present or both absent: "
            f"key: {key}, cert: {cert}]"
        )


def _quoted(texts: tuple[str, ...]) -> str:
    return " ".join(map(quote, texts))


def _initial_cluster(config: Config) -> None:
    try:
        parse_members(config.initial_cluster)
    except ValueError as error:
        raise ConfigError(f"error setting up initial cluster: {error}") from None


_RULES: tuple[Callable[[Config], None], ...] = (
    _logging,
    _listening,
    _advertised,
    _one_way_to_start,
    _discovery,
    _clocks,
    _advertise_given,
    _compaction,
    _corruption,
    _tracing,
    _gates,
    _tls,
    _initial_cluster,
)
