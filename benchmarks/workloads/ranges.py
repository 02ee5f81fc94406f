"""Range: single keys, linearizable and serializable; 10 000 keys; a count of 100 000."""

from benchmarks.closed_loop import CallSource, ClosedLoop, Share
from benchmarks.headers import Method
from benchmarks.messages import Template, framed
from benchmarks.workload import Workload, latency_row, throughput_row
from benchmarks.workloads.dataset import END_KEY, FIRST_KEY, KEY_COUNT, KEY_FORMAT, VALUE_SIZE
from pykvd.pb import rpc_pb2

_LIMIT = 10_000


def _range_method(share: Share) -> Method:
    return Method("/etcdserverpb.KV/Range", share.authority)


def _single_key_calls(share: Share, *, serializable: bool) -> CallSource:
    method = _range_method(share)
    request = rpc_pb2.RangeRequest(key=FIRST_KEY, serializable=serializable)
    template = Template(request, FIRST_KEY)
    random = share.random.random
    return lambda: (method, template.fill(KEY_FORMAT % (random() * KEY_COUNT)))


def linearizable_calls(share: Share) -> CallSource:
    """Linearizable reads of random single keys."""
    return _single_key_calls(share, serializable=False)


def serializable_calls(share: Share) -> CallSource:
    """Serializable reads of random single keys."""
    return _single_key_calls(share, serializable=True)


def ten_thousand_keys_calls(share: Share) -> CallSource:
    """Reads of the first 10 000 of 100 000 keys."""
    request = rpc_pb2.RangeRequest(key=FIRST_KEY, range_end=END_KEY, limit=_LIMIT)
    call = (_range_method(share), framed(request))
    return lambda: call


def count_calls(share: Share) -> CallSource:
    """Counts of all 100 000 keys."""
    request = rpc_pb2.RangeRequest(key=FIRST_KEY, range_end=END_KEY, count_only=True)
    call = (_range_method(share), framed(request))
    return lambda: call


RANGE_WORKLOADS = (
    Workload(
        latency_row("range-linearizable-1", "Range of one 300 B key, linearizable, 1 caller"),
        ClosedLoop(1, 1, linearizable_calls, min_reply_bytes=VALUE_SIZE),
        single_process=True,
        needs_keys=True,
    ),
    Workload(
        throughput_row("range-linearizable-100", "the same, 100 callers, 10 connections"),
        ClosedLoop(100, 10, linearizable_calls, min_reply_bytes=VALUE_SIZE),
        needs_keys=True,
    ),
    Workload(
        latency_row("range-serializable-1", "Range of one 300 B key, serializable, 1 caller"),
        ClosedLoop(1, 1, serializable_calls, min_reply_bytes=VALUE_SIZE),
        single_process=True,
        needs_keys=True,
    ),
    Workload(
        throughput_row("range-serializable-100", "the same, 100 callers, 10 connections"),
        ClosedLoop(100, 10, serializable_calls, min_reply_bytes=VALUE_SIZE),
        needs_keys=True,
    ),
    Workload(
        throughput_row(
            "range-10000", "Range of 10 000 keys of 300 B, 1 caller", target=3, p99_target=None
        ),
        ClosedLoop(1, 1, ten_thousand_keys_calls, min_reply_bytes=_LIMIT * VALUE_SIZE),
        single_process=True,
        needs_keys=True,
    ),
    Workload(
        throughput_row(
            "count-100000", "count_only over 100 000 keys, 1 caller", target=100, p99_target=None
        ),
        ClosedLoop(1, 1, count_calls),
        single_process=True,
        needs_keys=True,
    ),
)
