"""LeaseGrant, and LeaseKeepAlive on streams that stay open."""

from benchmarks.closed_loop import (
    CallSource,
    ClosedLoop,
    Outcome,
    Recorder,
    Share,
    check_streams,
    close_all,
    connect_many,
)
from benchmarks.connection import Connection, call
from benchmarks.errors import BenchmarkError, CallError
from benchmarks.headers import Method
from benchmarks.messages import framed, split
from benchmarks.workload import Workload, throughput_row
from pykvd.pb import rpc_pb2

_CONNECTIONS = 10
_STREAMS = 10  # a connection
_TTL_SECONDS = 3600  # nothing expires while anything is measured


def _grant_method(share: Share) -> Method:
    return Method("/etcdserverpb.Lease/LeaseGrant", share.authority)


def grant_calls(share: Share) -> CallSource:
    """Grants of leases whose ids the server chooses."""
    method = _grant_method(share)
    message = framed(rpc_pb2.LeaseGrantRequest(TTL=_TTL_SECONDS))
    return lambda: (method, message)


class _KeepAlive:
    """One closed loop of keep-alives on its own stream, for its own lease."""

    def __init__(self, connection: Connection, lease: int, recorder: Recorder) -> None:
        self._connection = connection
        self._recorder = recorder
        self._message = framed(rpc_pb2.LeaseKeepAliveRequest(ID=lease))
        self._number = 0
        self._sent_ns = 0
        self._rest = b""

    def start(self, method: Method) -> None:
        self._number = self._connection.open_stream(method, self)
        self._send()

    def data(self, payload: bytes) -> None:
        messages, self._rest = split(self._rest + payload)
        for message in messages:
            if rpc_pb2.LeaseKeepAliveResponse.FromString(message).TTL <= 0:
                self._recorder.fail(CallError("the lease is gone"))
            now = self._connection.now_ns
            self._recorder.record(self._sent_ns, now)
            if now < self._recorder.end_ns:
                self._send()
            else:
                self._recorder.retire()

    def end(self) -> None:
        self._recorder.fail(CallError("the server ended a keep-alive stream"))

    def fail(self, error: BenchmarkError) -> None:
        self._recorder.fail(error)

    def _send(self) -> None:
        self._sent_ns = self._connection.now_ns
        self._connection.send(self._number, self._message)


async def keep_alive(share: Share) -> Outcome:
    """Grant a lease for every stream, then keep them all alive as often as answers come."""
    connections = await connect_many(share.port, _CONNECTIONS // share.processes)
    grant = framed(rpc_pb2.LeaseGrantRequest(TTL=_TTL_SECONDS))
    grant_method = _grant_method(share)
    method = Method("/etcdserverpb.Lease/LeaseKeepAlive", share.authority)
    recorder = Recorder(share, len(connections) * _STREAMS)
    try:
        check_streams(connections, _STREAMS)
        for connection in connections:
            for _ in range(_STREAMS):
                reply = await call(connection, grant_method, grant)
                lease = rpc_pb2.LeaseGrantResponse.FromString(reply).ID
                _KeepAlive(connection, lease, recorder).start(method)
            connection.flush()
        return await recorder.outcome()
    finally:
        close_all(connections)


LEASE_WORKLOADS = (
    Workload(
        throughput_row("lease-grant-100", "LeaseGrant, 100 callers, 10 connections"),
        ClosedLoop(100, 10, grant_calls),
    ),
    Workload(
        throughput_row("lease-keepalive-100", "LeaseKeepAlive, 100 streams, 10 connections"),
        keep_alive,
    ),
)
