"""The links to the other members."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pykvd.metrics.exposition import Family, counters, gauges, histogram, histograms, labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.node.node import Node
    from pykvd.node.prober import Prober
    from pykvd.peer import PeerNetwork


def families(node: Node, prober: Prober) -> Iterator[Family]:
    """The samples; `To` and `From` are ids of members, in hexadecimal."""
    if node.network is None:
        return
    network = cast("PeerNetwork", node.network)
    statistics = network.statistics()
    for name, kind, text, field in _SENDING:
        make = counters if kind == "counter" else gauges
        samples = (
            (labels(To=f"{peer:x}"), getattr(totals, field))
            for peer, totals in statistics.peers.items()
        )
        yield make(name, text, samples)
    for name, text, by_sender in (
        ("received_bytes_total", "Bytes received.", statistics.bytes_received),
        ("received_failures_total", "Batches that were of no use.", statistics.batches_rejected),
    ):
        yield counters(
            f"etcd_network_peer_{name}",
            text,
            (
                (labels(From=f"{peer:x}"), by_sender.get(peer, 0))
                for peer in {**dict.fromkeys(statistics.peers), **by_sender}
            ),
        )
    yield counters(
        "etcd_network_snapshot_receive_success",
        "Snapshots installed.",
        (
            (labels(From=f"{peer:x}"), count)
            for peer, count in statistics.snapshots_received.items()
        ),
    )
    yield histogram(
        "pykvd_snapshot_send_duration_seconds",
        "Sending a snapshot until it is installed.",
        network.snapshot_seconds,
    )
    yield from _connections(node, network)
    yield histograms(
        "etcd_network_peer_round_trip_time_seconds",
        "Asking a member and hearing from it.",
        ((labels(To=f"{peer:x}"), seconds) for peer, seconds in prober.seconds.items()),
    )


_SENDING = (
    ("etcd_network_peer_sent_bytes_total", "counter", "Bytes sent.", "bytes_sent"),
    (
        "etcd_network_peer_sent_failures_total",
        "counter",
        "Messages that could not be sent.",
        "messages_dropped",
    ),
    ("etcd_network_snapshot_send_success", "counter", "Snapshots sent.", "snapshots_sent"),
    ("etcd_network_snapshot_send_failures", "counter", "Snapshots given up.", "snapshots_failed"),
    ("pykvd_peer_queued_bytes", "gauge", "Bytes that wait to be sent.", "queued_bytes"),
    ("pykvd_peer_sent_messages_total", "counter", "Raft messages sent.", "messages_sent"),
    ("pykvd_peer_sent_batches_total", "counter", "Batches of them.", "batches_sent"),
)


def _connections(node: Node, network: PeerNetwork) -> Iterator[Family]:
    peers = network.statistics().peers
    pairs = {peer: labels(Local=f"{node.member_id:x}", Remote=f"{peer:x}") for peer in peers}
    yield gauges("etcd_network_known_peers", "Members known.", ((pairs[peer], 1) for peer in peers))
    up = {peer: totals.connected_since is not None for peer, totals in peers.items()}
    yield gauges(
        "etcd_network_active_peers",
        "Whether a member takes our messages.",
        ((pairs[peer], int(up[peer])) for peer in peers),
    )
    yield counters(
        "etcd_network_disconnected_peers_total",
        "Connections to a member that were lost.",
        ((pairs[peer], totals.connections - up[peer]) for peer, totals in peers.items()),
    )
