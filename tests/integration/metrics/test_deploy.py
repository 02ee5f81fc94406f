"""Dashboards and alert rules: every metric that ours or etcd's name exists, and moves."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pykvd.node.commands import Command
from pykvd.node.reads import SLOW_S
from pykvd.node.responder import FutureResponder
from pykvd.pb import rpc_pb2 as rpc
from tests.harness import methods
from tests.integration.cluster.together import NAMES, Together, together
from tests.integration.store.serving import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[3] / "deploy"
SERIES = re.compile(r"\b(?:etcd|grpc|pykvd|process|os)_[a-z0-9_]+")
LABELS = re.compile(r"\{[^{}]*\}|\b(?:by|without|on)\s*\([^()]*\)")

#: What the dashboard and alert rules published with etcd ask for (contrib/mixin).
OF_ETCD = {
    "etcd_disk_backend_commit_duration_seconds_bucket",
    "etcd_disk_wal_fsync_duration_seconds_bucket",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_peer_round_trip_time_seconds_bucket",
    "etcd_network_peer_sent_bytes_total",
    "etcd_network_peer_sent_failures_total",
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_quota_backend_bytes",
    "grpc_server_handled_total",
    "grpc_server_handling_seconds_bucket",
    "grpc_server_started_total",
    "process_resident_memory_bytes",
}
#: Settings, and limits of the process.
CONSTANT = {"etcd_server_quota_backend_bytes", "process_max_fds", "etcd_server_id"}


def named_by(expression: str) -> set[str]:
    """The names of series in a PromQL expression."""
    return set(SERIES.findall(LABELS.sub("", expression)))


def dashboard() -> set[str]:
    panels = json.loads((DEPLOY / "grafana" / "pykvd.json").read_text())["panels"]
    targets = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return set().union(*map(named_by, targets))


def alerts() -> set[str]:
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "pykvd-alerts.yaml").read_text())["groups"]
    return set().union(*(named_by(rule["expr"]) for rule in group["rules"]))


class Scrapes:
    """What the members told, as Prometheus reads it: the values that each series has had."""

    def __init__(self, cluster: Together) -> None:
        self._cluster = cluster
        self._first: set[tuple[str, ...]] = set()
        self.values: dict[str, dict[tuple[str, ...], set[float]]] = {}

    def take(self) -> None:
        """Scrape every member that runs."""
        for name, server in self._cluster.servers.items():
            if server.metrics:
                for sample, labels, value in samples(server.metrics.render()):
                    seen = self.values.setdefault(sample, {})
                    seen.setdefault((name, *labels), set()).add(value)

    def remember_first(self) -> None:
        """Scrape, and take what there is for what is there from the start."""
        self.take()
        self._first = {(name, *labels) for name, found in self.values.items() for labels in found}

    def moved(self, name: str) -> bool:
        """Whether any series of this name has had two values, or came up after the start."""
        found = self.values.get(name, {})
        return any(
            len(values) > 1 or (name, *labels) not in self._first
            for labels, values in found.items()
        )


def samples(text: bytes) -> Iterator[tuple[str, tuple[str, ...], float]]:
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = tuple(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            yield sample.name, labels, sample.value


async def keep_scraping(scrapes: Scrapes) -> None:
    while True:
        scrapes.take()
        await asyncio.sleep(0.05)


async def use_everything(cluster: Together) -> None:
    """Reads, writes, failures, watches, leases, compaction, defragmentation."""
    client = cluster.clients["n1"]
    watch = client.channel.stream_stream(
        "/etcdserverpb.Watch/Watch",
        request_serializer=rpc.WatchRequest.SerializeToString,
        response_deserializer=rpc.WatchResponse.FromString,
    )()
    create = rpc.WatchCreateRequest(key=b"\x00", range_end=b"\x00", start_revision=1)
    await watch.write(rpc.WatchRequest(create_request=create))
    await watch.read()
    revision = 0
    for number in range(60):
        # Much more than the watcher, who does not read, is sent ahead of time.
        revision = await client.put(b"k%d" % (number % 5), b"v" * 100_000)
    await client.grant(7, 1)
    await client.delete(b"k1")
    await client.all()
    with pytest.raises(grpc.aio.AioRpcError):
        await client.put(b"")
    await watch.read()
    await client.compact(revision)
    for each in NAMES:
        await cluster.clients[each].call(methods.DEFRAGMENT)
    watch.cancel()


async def break_everything(cluster: Together, leader: str, scrapes: Scrapes) -> None:
    """A late loop and a read that waits for it, an odd member, an alarm, a lost leader."""
    read = FutureResponder()
    cluster.node(leader).read_later(read, lambda: b"")
    await asyncio.sleep(0)
    # The loop is what is measured.
    time.sleep(1.1 * SLOW_S)  # noqa: ASYNC251
    await read.future
    odd = cluster.node(next(name for name in NAMES if name != leader))
    odd.store.begin()
    odd.store.put(b"odd", b"", 0)
    odd.store.end()
    await cluster.clients[leader].put(b"after")

    async def accused() -> bool:
        return bool(cluster.node(leader).applier.alarms)

    await eventually(accused, "an alarm")
    await cluster.servers[leader].kill()
    rest = {name: cluster.servers[name] for name in NAMES if name != leader}
    cluster.servers = rest
    await cluster.leader()
    scrapes.take()
    # Without a majority nothing is decided any more.
    first, second = rest
    await cluster.servers[first].kill()
    cluster.servers = {second: rest[second]}
    node = cluster.node(second)
    request = rpc.PutRequest(key=b"never")
    with pytest.raises(Exception, match=r"timed out|deadline"):
        await node.execute(Command.PUT, request)


async def test_what_dashboards_and_alerts_name_exists_and_moves(tmp_path: Path) -> None:
    ours = dashboard() | alerts()
    assert len(ours) > 40
    options = {"metrics": "extensive", "warning_apply_duration": 1e-9}
    async with together(tmp_path, **options) as cluster:
        scrapes = Scrapes(cluster)
        scrapes.remember_first()
        scraping = asyncio.get_running_loop().create_task(keep_scraping(scrapes))
        leader = await cluster.leader()
        await use_everything(cluster)

        async def expired() -> bool:
            return bool(cluster.node(leader).keeper.expired)

        await eventually(expired, "the lease to expire")
        await break_everything(cluster, leader, scrapes)
        scraping.cancel()
        scrapes.take()
    assert ours | OF_ETCD <= scrapes.values.keys()
    still = {name for name in (ours | OF_ETCD) - CONSTANT if not scrapes.moved(name)}
    assert still == set()
