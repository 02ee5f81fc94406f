"""Options of upkeep and of what operators see: compaction, metrics, tracing, logs, old APIs."""

from __future__ import annotations

from pykvd.config.gates import FEATURE_GATES, FeatureGates
from pykvd.config.options import (
    BOOL,
    DURATION,
    INT,
    LIST_SET,
    TEXT,
    UINT,
    Options,
    choice,
    option,
)

DEFAULT_LOG_ROTATION = (
    '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}'
)


class UpkeepOptions(Options):
    """Compaction and switches of single features."""

    auto_compaction_mode: str = option(
        "periodic", TEXT, "How the retention is read: periodic (time) or revision (count)."
    )
    auto_compaction_retention: str = option(
        "0", TEXT, "History kept by auto compaction: 1h30m, hours, or revisions; 0 turns it off."
    )
    compaction_batch_limit: int = option(
        1000,
        INT,
        "Revisions removed in one batch of a compaction.",
        was="experimental-compaction-batch-limit",
        zero_is_default=True,
    )
    compaction_sleep_interval: float = option(
        0.01,
        DURATION,
        "Pause between two batches of a compaction.",
        was="experimental-compaction-sleep-interval",
        zero_is_default=True,
    )
    feature_gates: FeatureGates = option(
        FeatureGates(), FEATURE_GATES, "Features to turn on or off as Name=true,Other=false."
    )


class ObservationOptions(Options):
    """Metrics, profiles and traces."""

    metrics: str = option("basic", TEXT, "basic, or extensive for histograms of gRPC latency.")
    enable_pprof: bool = option(False, BOOL, "Serve profiles below /debug/pprof/.")
    enable_distributed_tracing: bool = option(
        False,
        BOOL,
        "Export traces to an OpenTelemetry collector.",
        was="experimental-enable-distributed-tracing",
    )
    distributed_tracing_address: str = option(
        "localhost:4317",
        TEXT,
        "Address of that collector.",
        was="experimental-distributed-tracing-address",
    )
    distributed_tracing_service_name: str = option(
        "etcd",
        TEXT,
        "Name of the service in traces.",
        was="experimental-distributed-tracing-service-name",
    )
    distributed_tracing_instance_id: str = option(
        "",
        TEXT,
        "Id of this instance in traces.",
        was="experimental-distributed-tracing-instance-id",
    )
    distributed_tracing_sampling_rate: int = option(
        0,
        INT,
        "Traces sampled in a million.",
        was="experimental-distributed-tracing-sampling-rate",
    )


class LogOptions(Options):
    """The log's lines and where they go."""

    logger: str = option("zap", TEXT, "Only zap, the JSON line format.")
    log_level: str = option("info", TEXT, "debug, info, warn, error, panic or fatal.")
    log_format: str = option("json", TEXT, "json or console.")
    log_outputs: tuple[str, ...] = option(
        ("default",), LIST_SET, "default, stdout, stderr or files; several are written alike."
    )
    enable_log_rotation: bool = option(False, BOOL, "Rotate the one log file.")
    log_rotation_config_json: str = option(DEFAULT_LOG_ROTATION, TEXT, "When and how to rotate it.")


class LegacyOptions(Options):
    """The v2 API and its proxy, which releases up to 3.5 had."""

    v2_deprecation: str = option(
        "write-only",
        choice("not-yet", "write-only", "write-only-skip-check", "write-only-drop-data", "gone"),
        "Stage of the removal of the v2 store.",
    )
    enable_v2: bool = option(False, BOOL, "Serve the v2 API.")
    experimental_enable_v2v3: str = option("", TEXT, "Prefix for a v2 API kept in v3 keys.")
    proxy: str = option("off", choice("off", "readonly", "on"), "Run as a v2 proxy.")
    proxy_failure_wait: int = option(
        5000, UINT, "Milliseconds that the proxy avoids a failed member."
    )
    proxy_refresh_interval: int = option(
        30000, UINT, "Milliseconds between the proxy's looks at the member list."
    )
    proxy_dial_timeout: int = option(1000, UINT, "Milliseconds to connect; 0 means no limit.")
    proxy_write_timeout: int = option(5000, UINT, "Milliseconds to write; 0 means no limit.")
    proxy_read_timeout: int = option(0, UINT, "Milliseconds to read; 0 means no limit.")
