"""The pause between workloads, after which none pays for the one before.

It outlasts the 100 ms in which both servers gather writes, and the time that cancelled watchers
take. The leases are for etcd 3.4: each of its reads copies the whole buffer that the biggest batch
of Puts has left behind, until a batch comes that has no Put. Without them its Range after a bulk
load is four times slower than it needs to be, which is not what the table is about.
"""

import asyncio

import uvloop

from benchmarks.closed_loop import close_all, connect_many
from benchmarks.connection import call
from benchmarks.headers import Method
from benchmarks.messages import framed
from pykvd.pb import rpc_pb2

_BATCHES = 3
_BATCH_SECONDS = 0.15
_TTL_SECONDS = 3600


def settle(port: int) -> None:
    """Wait until the server at `port` has nothing left to do; raises CallError or OSError."""
    uvloop.run(_settle(port))


async def _settle(port: int) -> None:
    method = Method("/etcdserverpb.Lease/LeaseGrant", f"127.0.0.1:{port}")
    message = framed(rpc_pb2.LeaseGrantRequest(TTL=_TTL_SECONDS))
    connections = await connect_many(port, 1)
    try:
        for _ in range(_BATCHES):
            await asyncio.sleep(_BATCH_SECONDS)
            await call(connections[0], method, message)
        await asyncio.sleep(_BATCH_SECONDS)
    finally:
        close_all(connections)
