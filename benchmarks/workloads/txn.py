"""Txn: compare a version, then put."""

from benchmarks.closed_loop import CallSource, ClosedLoop, Share
from benchmarks.headers import Method
from benchmarks.messages import Template
from benchmarks.workload import Workload, throughput_row
from benchmarks.workloads.put import VALUE
from pykvd.pb import rpc_pb2

_KEY_FORMAT = b"txn/%016d"
_KEY_COUNT = 100_000


def txn_calls(share: Share) -> CallSource:
    """Txns on random keys whose compare holds, whether the key exists or not."""
    method = Method("/etcdserverpb.KV/Txn", share.authority)
    key = _KEY_FORMAT % 0
    compare = rpc_pb2.Compare(
        key=key,
        target=rpc_pb2.Compare.VERSION,
        result=rpc_pb2.Compare.GREATER,
        version=-1,
    )
    put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=VALUE))
    template = Template(rpc_pb2.TxnRequest(compare=[compare], success=[put]), key)
    random = share.random.random
    return lambda: (method, template.fill(_KEY_FORMAT % (random() * _KEY_COUNT)))


TXN_WORKLOADS = (
    Workload(
        throughput_row("txn-100", "Txn: compare a version, put 256 B, 100 callers"),
        ClosedLoop(100, 10, txn_calls),
    ),
)
