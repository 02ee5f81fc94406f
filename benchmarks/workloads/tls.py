"""Put and Range over TLS 1.3, as `put` and `ranges` have them without."""

from benchmarks.closed_loop import ClosedLoop
from benchmarks.workload import Workload, latency_row, throughput_row
from benchmarks.workloads.dataset import VALUE_SIZE
from benchmarks.workloads.put import put_calls
from benchmarks.workloads.ranges import linearizable_calls

TLS_WORKLOADS = (
    Workload(
        latency_row("tls-put-1", "Put 256 B over TLS, 1 caller"),
        ClosedLoop(1, 1, put_calls, tls=True),
        single_process=True,
        tls=True,
    ),
    Workload(
        throughput_row("tls-put-100", "Put 256 B over TLS, 100 callers, 10 connections"),
        ClosedLoop(100, 10, put_calls, tls=True),
        tls=True,
    ),
    Workload(
        throughput_row(
            "tls-range-100", "Range of one 300 B key over TLS, linearizable, 100 callers"
        ),
        ClosedLoop(100, 10, linearizable_calls, min_reply_bytes=VALUE_SIZE, tls=True),
        needs_keys=True,
        tls=True,
    ),
)
