"""The member: its role, its versions, Raft, proposals, applies, alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.config.gates import GATES
from pykvd.histogram import REQUEST_BOUNDS, Histogram
from pykvd.metrics.exposition import (
    Family,
    counter,
    gauge,
    gauges,
    histogram,
    histograms,
    labels,
)
from pykvd.pb import rpc_pb2 as rpc
from pykvd.version import API_VERSION, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.config import Config
    from pykvd.node.node import Node

_ALARM_NAMES = {number: name for name, number in rpc.AlarmType.items()}


def families(node: Node, config: Config) -> Iterator[Family]:
    """The samples of one member."""
    yield from _identity(node, config)
    yield from _raft(node)
    yield from _proposals(node)
    yield from _applies(node)
    yield gauge(
        "etcd_server_quota_backend_bytes",
        "Bytes that the store's file may have.",
        max(0, config.quota_backend_bytes),
    )
    yield gauges(
        "etcd_debugging_server_alarms",
        "Alarms that are up.",
        (
            (labels(server_id=f"{member:x}", alarm_type=_ALARM_NAMES.get(kind, str(kind))), 1)
            for member, kind in sorted(node.applier.alarms)
        ),
    )


def _identity(node: Node, config: Config) -> Iterator[Family]:
    for name, text, label, value in (
        ("etcd_server_id", "Id of the member.", "server_id", f"{node.member_id:x}"),
        ("etcd_server_version", "Version of the API.", "server_version", API_VERSION),
        ("etcd_cluster_version", "Version of the cluster.", "cluster_version", API_VERSION[:3]),
        ("pykvd_version", "Version of pykvd.", "version", VERSION),
    ):
        yield gauges(name, text, [(labels(**{label: value}), 1)])
    yield gauges(
        "etcd_server_feature_enabled",
        "Whether a feature gate is on.",
        (
            (labels(name=name, stage=gate.stage.upper()), int(config.feature_gates.enabled(name)))
            for name, gate in GATES.items()
        ),
    )


def _raft(node: Node) -> Iterator[Family]:
    status = node.raft.status()
    yield gauge("etcd_server_has_leader", "Whether a leader is known.", int(bool(node.leader)))
    yield gauge("etcd_server_is_leader", "Whether this member leads.", int(node.is_leader))
    yield gauge("etcd_server_is_learner", "Whether it only listens.", int(node.is_learner))
    yield counter(
        "etcd_server_leader_changes_seen_total", "Leaders that came.", node.leader_changes
    )
    yield counter(
        "etcd_server_heartbeat_send_failures_total",
        "Turns in which a leader's heartbeats were late.",
        node.late_ticks,
    )
    yield gauge(
        "etcd_server_snapshot_apply_in_progress_total",
        "Whether a snapshot is being installed.",
        int(node.installing),
    )
    yield counter(
        "etcd_server_learner_promote_successes",
        "Learners that became voters while this member led.",
        node.promotions,
    )
    yield gauge("etcd_debugging_auth_revision", "Revision of the auth store.", node.auth.revision)
    yield gauge("pykvd_raft_term", "Term of Raft.", status.term)
    yield counter(
        "etcd_server_read_indexes_failed_total", "Linearizable reads timed out.", node.reads.failed
    )
    yield counter(
        "etcd_server_slow_read_indexes_total",
        "Questions to the leader before reads that took too long.",
        node.reads.slow,
    )
    yield gauge("etcd_server_proposals_committed_total", "Index of the last commit.", status.commit)


def _proposals(node: Node) -> Iterator[Family]:
    yield gauge(
        "etcd_server_proposals_applied_total",
        "Index of the last entry applied.",
        node.committer.index,
    )
    yield gauge(
        "etcd_server_proposals_pending", "Proposals not applied yet.", node.proposals.pending
    )
    yield counter(
        "etcd_server_proposals_failed_total", "Proposals that failed.", node.proposals.failed
    )
    yield histogram(
        "pykvd_batch_size", "Commands that shared one raft entry.", node.meter.batch_sizes
    )
    yield histogram(
        "pykvd_batch_apply_duration_seconds",
        "Applying all commands of a raft entry.",
        node.meter.batch_seconds,
    )


def _applies(node: Node) -> Iterator[Family]:
    meter = node.meter
    yield counter(
        "etcd_server_slow_apply_total",
        "Applies and reads longer than --warning-apply-duration.",
        meter.slow,
    )
    # Put is always there, so that dashboards have something to show from the start.
    applied = {("Put", True): Histogram(REQUEST_BOUNDS)} | meter.apply_seconds
    yield histograms(
        "etcd_server_apply_duration_seconds",
        "Applying a command; that of a Put is its share of a batch.",
        (
            (labels(version="v3", op=name, success=str(succeeded).lower()), seconds)
            for (name, succeeded), seconds in applied.items()
        ),
    )
    yield histograms(
        "etcd_server_range_duration_seconds",
        "Reading a Range from the store.",
        [(labels(success="true"), meter.range_seconds)],
    )
