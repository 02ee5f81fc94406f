"""Put of 256 bytes to random keys, by 1, 100 and 1000 callers, and with deadlines."""

from benchmarks.closed_loop import CallSource, ClosedLoop, Share
from benchmarks.headers import Method
from benchmarks.messages import Template
from benchmarks.workload import Workload, latency_row, throughput_row
from pykvd.pb import rpc_pb2

KEY_FORMAT = b"put/%016d"
VALUE = bytes(range(256))
_KEY_COUNT = 100_000


def put_calls(share: Share, *, deadline: bool = False) -> CallSource:
    """Puts to random keys of `KEY_FORMAT`."""
    method = Method("/etcdserverpb.KV/Put", share.authority, deadline=deadline)
    placeholder = KEY_FORMAT % 0
    template = Template(rpc_pb2.PutRequest(key=placeholder, value=VALUE), placeholder)
    random = share.random.random
    return lambda: (method, template.fill(KEY_FORMAT % (random() * _KEY_COUNT)))


def put_calls_with_deadline(share: Share) -> CallSource:
    """The same with a `grpc-timeout` that is new to the dynamic table on every call."""
    return put_calls(share, deadline=True)


PUT_WORKLOADS = (
    Workload(
        latency_row("put-1", "Put 256 B, 1 caller"),
        ClosedLoop(1, 1, put_calls),
        single_process=True,
    ),
    Workload(
        throughput_row("put-100", "Put 256 B, 100 callers, 10 connections"),
        ClosedLoop(100, 10, put_calls),
    ),
    Workload(
        throughput_row("put-1000", "Put 256 B, 1000 callers, 100 connections"),
        ClosedLoop(1000, 100, put_calls),
    ),
    Workload(
        throughput_row("put-deadline-100", "Put 256 B with a new deadline each, 100 callers"),
        ClosedLoop(100, 10, put_calls_with_deadline),
    ),
)
