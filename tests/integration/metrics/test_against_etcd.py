"""Families that a real etcd has too: the same type, labels and buckets."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pykvd.pb import rpc_pb2
from tests.harness import ETCD, PYKVD, Client, running
from tests.harness.methods import GRANT, PUT, RANGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from tests.harness import Server


def families(server: Server) -> dict[str, Metric]:
    """What a used server tells."""
    with Client(server.endpoint) as client:
        client.call(GRANT, rpc_pb2.LeaseGrantRequest(TTL=100))
        client.call(PUT, rpc_pb2.PutRequest(key=b"k"))
        client.call(RANGE, rpc_pb2.RangeRequest(key=b"k"))
    with urllib.request.urlopen(f"{server.url}/metrics") as reply:
        text = reply.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def label_names(family: Metric) -> set[frozenset[str]]:
    return {frozenset(sample.labels) for sample in family.samples}


def bounds(samples: Iterable[object]) -> set[str]:
    return {sample.labels["le"] for sample in samples if "le" in sample.labels}  # type: ignore[attr-defined]


@pytest.mark.etcd
@pytest.mark.skipif(not ETCD.installed(), reason="Debian's etcd-server is not installed")
def test_what_both_have_is_alike() -> None:
    with (
        running(PYKVD, ["--metrics=extensive"]) as ours,
        running(ETCD, ["--metrics=extensive"]) as theirs,
    ):
        mine, real = families(ours), families(theirs)
    common = {name for name in mine.keys() & real.keys() if not name.startswith("process_")}
    assert len(common) > 50
    for name in sorted(common):
        assert (name, mine[name].type) == (name, real[name].type)
        # A family that nothing has happened to yet has no series.
        if mine[name].samples and real[name].samples:
            assert (name, label_names(mine[name])) == (name, label_names(real[name]))
        theirs_le = bounds(real[name].samples)
        assert (name, bounds(mine[name].samples)) == (name, theirs_le)
    rpcs = {"etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Lease"}
    for name in ("grpc_server_handled", "grpc_server_started", "grpc_server_handling_seconds"):
        assert series(real[name], rpcs) <= series(mine[name], rpcs)


def series(family: Metric, services: set[str]) -> set[frozenset[tuple[str, str]]]:
    """The label sets of the methods of some services."""
    return {
        frozenset(sample.labels.items())
        for sample in family.samples
        if sample.labels["grpc_service"] in services
    }
