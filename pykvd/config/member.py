"""Options of the member itself: its addresses, its storage, its clocks and its limits."""

from __future__ import annotations

from pykvd.config.options import (
    BOOL,
    DURATION,
    INT,
    INT64,
    PATH,
    TEXT,
    UINT,
    UINT32,
    UINT64,
    URLS,
    Options,
    option,
)
from pykvd.config.urls import URL, parse_urls

DEFAULT_NAME = "default"
DEFAULT_PEER_URLS = parse_urls("http://localhost:2380")
DEFAULT_CLIENT_URLS = parse_urls("http://localhost:2379")


class AddressOptions(Options):
    """Who this member is and where it listens."""

    name: str = option(DEFAULT_NAME, TEXT, "Name of this member, unique in its cluster.")
    listen_peer_urls: tuple[URL, ...] = option(
        DEFAULT_PEER_URLS, URLS, "Addresses bound for the traffic of other members."
    )
    listen_client_urls: tuple[URL, ...] = option(
        DEFAULT_CLIENT_URLS,
        URLS,
        "Addresses bound for clients: gRPC, and HTTP unless --listen-client-http-urls is set.",
    )
    listen_client_http_urls: tuple[URL, ...] = option(
        (), URLS, "Addresses for HTTP alone; --listen-client-urls then speaks gRPC alone."
    )
    listen_metrics_urls: tuple[URL, ...] = option(
        (), URLS, "Further addresses for /metrics and the health paths."
    )
    max_request_bytes: int = option(1_572_864, UINT, "Largest request a client may send, in bytes.")
    max_txn_ops: int = option(128, UINT, "Operations allowed in one branch of a transaction.")
    max_concurrent_streams: int = option(
        2**32 - 1, UINT32, "HTTP/2 streams that one client connection may have open."
    )
    grpc_keepalive_min_time: float = option(
        5.0, DURATION, "Shortest interval between a client's pings that is tolerated."
    )
    grpc_keepalive_interval: float = option(
        7200.0, DURATION, "Time between the server's pings on an idle connection; 0 turns them off."
    )
    grpc_keepalive_timeout: float = option(
        20.0, DURATION, "Time that the answer to a ping may take before the connection is closed."
    )
    enable_grpc_gateway: bool = option(True, BOOL, "Serve the JSON gateway below /v3/.")
    socket_reuse_port: bool = option(
        False, BOOL, "Set SO_REUSEPORT on listeners.", file="socket-options.reuse-port"
    )
    socket_reuse_address: bool = option(
        False, BOOL, "Set SO_REUSEADDR on listeners.", file="socket-options.reuse-address"
    )


class StorageOptions(Options):
    """Where the data lies and how it is written."""

    data_dir: str = option("", PATH, "Data directory; empty means <name>.etcd.")
    wal_dir: str = option(
        "", PATH, "Directory of the write-ahead log; empty means inside the data directory."
    )
    quota_backend_bytes: int = option(
        2 * 1024**3,
        INT64,
        "Database size that raises the NOSPACE alarm; negative means no quota.",
        zero_is_default=True,
    )
    snapshot_count: int = option(
        10_000, UINT64, "Applied entries between two snapshots of the log.", zero_is_default=True
    )
    snapshot_catchup_entries: int = option(
        5000,
        UINT64,
        "Log entries kept behind a snapshot for slow followers.",
        was="experimental-snapshot-catchup-entries",
        was_file="experimental-snapshot-catch-up-entries",
    )
    max_snapshots: int = option(5, UINT, "Snapshot files kept; 0 keeps all.")
    max_wals: int = option(5, UINT, "Log files kept; 0 keeps all.")
    backend_batch_interval: float = option(
        0.1,
        DURATION,
        "Longest time before written changes are committed to the database file.",
        zero_is_default=True,
    )
    backend_batch_limit: int = option(
        10_000,
        INT,
        "Changes after which they are committed to the database file.",
        zero_is_default=True,
    )
    backend_bbolt_freelist_type: str = option("", TEXT, "Freelist form of etcd's database file.")
    bootstrap_defrag_threshold_megabytes: int = option(
        0,
        UINT,
        "Defragment at start when at least this much would be freed; 0 means never.",
        was="experimental-bootstrap-defrag-threshold-megabytes",
    )
    memory_mlock: bool = option(
        False, BOOL, "Lock the process's pages in RAM.", was="experimental-memory-mlock"
    )
    unsafe_no_fsync: bool = option(
        False, BOOL, "Never sync to disk. A power cut then loses acknowledged writes."
    )


class TimingOptions(Options):
    """Raft's clocks, the periods of the server's own work, and when slowness is reported."""

    heartbeat_interval: int = option(100, UINT, "Milliseconds between a leader's heartbeats.")
    election_timeout: int = option(
        1000, UINT, "Milliseconds without a leader after which a follower stands for election."
    )
    initial_election_tick_advance: bool = option(
        True, BOOL, "Skip most of the first election timeout at start."
    )
    raft_read_timeout: float = option(
        5.0, DURATION, "Read timeout of connections between members.", file=""
    )
    raft_write_timeout: float = option(
        5.0, DURATION, "Write timeout of connections between members.", file=""
    )
    watch_progress_notify_interval: float = option(
        600.0,
        DURATION,
        "Time between the progress notifications of an idle watch.",
        was="experimental-watch-progress-notify-interval",
        zero_is_default=True,
    )
    warning_apply_duration: float = option(
        0.1,
        DURATION,
        "Applying a request for longer than this is logged.",
        was="experimental-warning-apply-duration",
    )
    warning_unary_request_duration: float = option(
        0.3,
        DURATION,
        "Answering a unary request for longer than this is logged.",
        was="experimental-warning-unary-request-duration",
        zero_is_default=True,
    )
    corrupt_check_time: float = option(
        0.0,
        DURATION,
        "Period of the comparison of hashes between members; 0 turns it off.",
        was="experimental-corrupt-check-time",
    )
    compact_hash_check_time: float = option(
        60.0,
        DURATION,
        "Period of the comparison of compaction hashes between members.",
        was="experimental-compact-hash-check-time",
    )
    downgrade_check_time: float = option(
        5.0,
        DURATION,
        "Period of the check for a downgrade.",
        was="experimental-downgrade-check-time",
    )
