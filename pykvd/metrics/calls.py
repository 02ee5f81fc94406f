"""gRPC calls by method and outcome, as go-grpc-prometheus names them."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from pykvd.histogram import Histogram
from pykvd.metrics.exposition import Family, Labels, counter, counters, histograms, labels
from pykvd.status import Code
from pykvd.transport.statistics import CALL_BOUNDS, Counters, MethodCounters

#: Methods that are streams, and how; all others are unary.
STREAMS = {
    "/etcdserverpb.KV/RangeStream": "server_stream",
    "/etcdserverpb.Maintenance/Snapshot": "server_stream",
    "/etcdserverpb.Watch/Watch": "bidi_stream",
    "/etcdserverpb.Lease/LeaseKeepAlive": "bidi_stream",
    "/grpc.health.v1.Health/Watch": "server_stream",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": "bidi_stream",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "bidi_stream",
    "/v3electionpb.Election/Observe": "server_stream",
}
#: Go's names of the codes.
CODE_NAMES = {
    **{code: "".join(part.capitalize() for part in code.name.split("_")) for code in Code},
    Code.OK: "OK",
    Code.CANCELLED: "Canceled",
}

_ByPath = Mapping[str, Sequence[MethodCounters]]


def families(sources: Sequence[Counters], *, timed: bool) -> Iterator[Family]:
    """The calls of all listeners together; every method has every code from the start."""
    by_path = _by_path(sources)
    yield _per_method("grpc_server_started_total", "Calls begun.", by_path, _started)
    yield _per_method("grpc_server_msg_received_total", "Messages received.", by_path, _received)
    yield _per_method("grpc_server_msg_sent_total", "Messages sent.", by_path, _sent)
    yield counters(
        "grpc_server_handled_total",
        "Calls finished, by status code.",
        (
            (_labels(path, name), sum(_ended(each, code) for each in found))
            for path, found in by_path.items()
            for code, name in CODE_NAMES.items()
        ),
    )
    if timed:
        yield histograms(
            "grpc_server_handling_seconds",
            "Seconds from the headers of a call to its end.",
            ((_labels(path), _seconds(found)) for path, found in by_path.items()),
        )
    yield _by_version(sources)
    yield counter(
        "etcd_network_client_grpc_received_bytes_total",
        "Bytes received from clients.",
        sum(source.bytes_received for source in sources),
    )
    yield counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "Bytes sent to clients.",
        sum(source.bytes_sent for source in sources),
    )


def stream_count(sources: Sequence[Counters], path: str) -> int:
    """Open calls of a method."""
    return sum(
        method.started - method.ok - sum(method.failed.values())
        for source in sources
        for method in source.methods.get(path, {}).values()
    )


def _by_path(sources: Sequence[Counters]) -> _ByPath:
    found: defaultdict[str, list[MethodCounters]] = defaultdict(list)
    for source in sources:
        for path, versions in source.methods.items():
            found[path] += versions.values()
    return found


def _per_method(
    name: str, text: str, by_path: _ByPath, count: Callable[[str, MethodCounters], int]
) -> Family:
    return counters(
        name,
        text,
        (
            (_labels(path), sum(count(path, each) for each in found))
            for path, found in by_path.items()
        ),
    )


def _started(_path: str, method: MethodCounters) -> int:
    return method.started


def _received(path: str, method: MethodCounters) -> int:
    return method.received if path in STREAMS else method.started


def _sent(path: str, method: MethodCounters) -> int:
    return method.sent if path in STREAMS else method.ok


def _ended(method: MethodCounters, code: Code) -> int:
    return method.ok if code is Code.OK else method.failed.get(code, 0)


def _seconds(found: Sequence[MethodCounters]) -> Histogram:
    total = Histogram(CALL_BOUNDS)
    for method in found:
        total.counts = [a + b for a, b in zip(total.counts, method.seconds.counts, strict=True)]
        total.sum += method.seconds.sum
    return total


def _by_version(sources: Sequence[Counters]) -> Family:
    """What clients say that they were made for."""
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    found["unary", "unknown"] = found["stream", "unknown"] = 0
    for source in sources:
        for path, versions in source.methods.items():
            kind = "stream" if path in STREAMS else "unary"
            for version, method in versions.items():
                found[kind, version] += method.started
    return counters(
        "etcd_server_client_requests_total",
        "Calls of clients by kind and API version.",
        (
            (labels(type=kind, client_api_version=version), count)
            for (kind, version), count in found.items()
        ),
    )


@cache
def _labels(path: str, code: str = "") -> Labels:
    service, _, method = path[1:].partition("/")
    kind = STREAMS.get(path, "unary")
    common = {"grpc_method": method, "grpc_service": service, "grpc_type": kind}
    return labels(grpc_code=code, **common) if code else labels(**common)
