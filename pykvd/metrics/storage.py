"""The write-ahead log, the store's file, keys, watches and leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.metrics.calls import stream_count
from pykvd.metrics.exposition import Family, counter, gauge, histogram
from pykvd.wal import WalWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pykvd.node.node import Node
    from pykvd.transport.statistics import Counters

WATCH = "/etcdserverpb.Watch/Watch"


def families(node: Node, clients: Sequence[Counters]) -> Iterator[Family]:
    """The samples of one member."""
    yield from _disk(node)
    yield from _keys(node)
    yield from _compactions(node)
    yield from _watches(node, clients)
    yield from _leases(node)


def _disk(node: Node) -> Iterator[Family]:
    backend = node.store.backend
    statistics = backend.statistics
    if isinstance(node.log, WalWriter):
        yield histogram(
            "etcd_disk_wal_fsync_duration_seconds",
            "Making a batch of log records durable: one call that writes and syncs.",
            node.log.sync_seconds,
        )
        yield gauge(
            "etcd_disk_wal_write_bytes_total", "Bytes written to the log.", node.log.written_bytes
        )
    yield histogram(
        "etcd_disk_backend_commit_duration_seconds",
        "Committing a batch of changes to the store's file.",
        statistics.commit_seconds,
    )
    yield histogram(
        "etcd_disk_backend_defrag_duration_seconds",
        "Defragmentations, during which reads and writes go on.",
        statistics.defragment_seconds,
    )
    yield gauge(
        "etcd_disk_defrag_inflight", "Defragmentations under way.", statistics.defragmenting
    )
    yield histogram(
        "etcd_disk_backend_snapshot_duration_seconds",
        "Copying the store's file for a snapshot.",
        statistics.copy_seconds,
    )
    yield gauge("etcd_mvcc_db_total_size_in_bytes", "Size of the store's file.", backend.size)
    yield gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Size of the store's file less its free pages.",
        backend.size_in_use,
    )
    yield gauge(
        "etcd_mvcc_db_open_read_transactions",
        "Long reads of the store's file under way.",
        backend.reading,
    )
    yield histogram(
        "etcd_mvcc_hash_duration_seconds", "Hashing the whole file.", statistics.hash_seconds
    )
    yield histogram(
        "etcd_mvcc_hash_rev_duration_seconds",
        "Hashing the records up to a revision.",
        statistics.hash_revision_seconds,
    )
    yield gauge(
        "pykvd_backend_uncommitted_bytes",
        "Changes that only the log holds so far.",
        backend.uncommitted_bytes,
    )


def _keys(node: Node) -> Iterator[Family]:
    store = node.store
    yield counter("etcd_mvcc_put_total", "Puts, in transactions too.", store.puts)
    yield counter("etcd_mvcc_delete_total", "Keys deleted, in transactions too.", store.deletes)
    yield counter("etcd_mvcc_range_total", "Ranges, in transactions too.", store.ranges)
    yield counter("etcd_mvcc_txn_total", "Transactions.", node.meter.transactions)
    yield gauge("etcd_debugging_mvcc_keys_total", "Live keys.", len(store.index.live))
    yield gauge("etcd_debugging_mvcc_current_revision", "Revision of the store.", store.revision)
    yield gauge(
        "etcd_debugging_mvcc_total_put_size_in_bytes",
        "Bytes of the records written, those of deletions too.",
        store.backend.statistics.record_bytes,
    )


def _compactions(node: Node) -> Iterator[Family]:
    store, sweeper = node.store, node.sweeper
    yield gauge(
        "etcd_debugging_mvcc_compact_revision",
        "Revision of the latest compaction.",
        max(0, store.compact_revision),
    )
    yield counter(
        "etcd_debugging_mvcc_db_compaction_keys_total",
        "Records removed by compactions.",
        store.compacted_records,
    )
    yield gauge(
        "etcd_debugging_mvcc_db_compaction_last",
        "End of the latest compaction, in seconds since the epoch.",
        int(sweeper.finished_at),
    )
    yield histogram(
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        "How long one batch of a compaction held others up.",
        sweeper.batch_milliseconds,
    )
    yield histogram(
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "Whole compactions, pauses included.",
        sweeper.milliseconds,
    )


def _watches(node: Node, clients: Sequence[Counters]) -> Iterator[Family]:
    hub = node.hub
    yield counter("etcd_debugging_mvcc_events_total", "Events sent to watchers.", hub.events_sent)
    yield gauge(
        "etcd_debugging_mvcc_pending_events_total",
        "Events that wait to be sent.",
        hub.pending_events,
    )
    yield gauge("etcd_debugging_mvcc_watcher_total", "Watchers.", hub.watchers)
    yield gauge(
        "etcd_debugging_mvcc_slow_watcher_total",
        "Watchers that have not seen everything.",
        hub.slow_watchers,
    )
    yield gauge(
        "etcd_debugging_mvcc_watch_stream_total",
        "Open watch streams.",
        stream_count(clients, WATCH),
    )


def _leases(node: Node) -> Iterator[Family]:
    lessor = node.lessor
    yield counter("etcd_debugging_lease_granted_total", "Leases granted.", lessor.granted)
    yield counter("etcd_debugging_lease_revoked_total", "Leases revoked.", lessor.revoked)
    yield counter("etcd_debugging_lease_renewed_total", "Renewals.", lessor.renewed)
    yield histogram("etcd_debugging_lease_ttl_total", "TTLs granted, in seconds.", lessor.ttls)
    yield counter(
        "etcd_debugging_server_lease_expired_total",
        "Leases that this member found expired.",
        node.keeper.expired,
    )
    yield gauge("pykvd_leases", "Leases that exist.", len(lessor.leases))
