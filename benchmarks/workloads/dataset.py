"""Keys that reading workloads find in the store, and how they get there."""

import asyncio

from benchmarks.closed_loop import close_all, connect_many
from benchmarks.connection import Connection, call
from benchmarks.errors import BenchmarkError
from benchmarks.headers import Method
from benchmarks.messages import framed
from pykvd.pb import rpc_pb2

KEY_FORMAT = b"keys/%015d"
KEY_COUNT = 100_000
VALUE_SIZE = 300

FIRST_KEY = KEY_FORMAT % 0
END_KEY = b"keys0"  # just after every key that starts with "keys/"

_TXN_BYTES = 12_000  # of values and keys: one DATA frame
_TXN_PUTS = 100  # etcd allows 128 operations
_CONNECTIONS = 4
_LOADERS = 16


async def load(port: int, count: int, value_size: int) -> None:
    """Put `count` keys in transactions and check that they are there; raises BenchmarkError."""
    key_size = len(FIRST_KEY)
    puts = min(_TXN_PUTS, _TXN_BYTES // (key_size + value_size + 16))
    starts = iter(range(0, count, puts))
    value = b"v" * value_size
    authority = f"127.0.0.1:{port}"
    txn = Method("/etcdserverpb.KV/Txn", authority)
    connections = await connect_many(port, _CONNECTIONS)

    async def loader(connection: Connection) -> None:
        for start in starts:
            request = rpc_pb2.TxnRequest()
            for number in range(start, min(start + puts, count)):
                request.success.add().request_put.MergeFrom(
                    rpc_pb2.PutRequest(key=KEY_FORMAT % number, value=value)
                )
            await call(connection, txn, framed(request))

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(_LOADERS):
                tasks.create_task(loader(connections[number % _CONNECTIONS]))
        count_request = rpc_pb2.RangeRequest(key=FIRST_KEY, range_end=END_KEY, count_only=True)
        method = Method("/etcdserverpb.KV/Range", authority)
        reply = await call(connections[0], method, framed(count_request))
    finally:
        close_all(connections)
    found = rpc_pb2.RangeResponse.FromString(reply).count
    if found != count:
        raise BenchmarkError(f"{count} keys were put, {found} are there")
