"""Put and Range on three members: through the leader, and through all by turns."""

from itertools import cycle

from benchmarks.closed_loop import (
    Caller,
    CallSource,
    ClosedLoop,
    Outcome,
    Recorder,
    Share,
    close_all,
)
from benchmarks.connection import Connection, connect
from benchmarks.workload import Workload, latency_row, throughput_row
from benchmarks.workloads.dataset import VALUE_SIZE
from benchmarks.workloads.put import put_calls
from benchmarks.workloads.ranges import linearizable_calls, serializable_calls

_LATENCY_TARGET = 1.2


class _TurningCaller(Caller):
    """A closed loop that makes each call on the next connection."""

    __slots__ = ("_turns",)

    def __init__(
        self, connections: list[Connection], next_call: CallSource, recorder: Recorder
    ) -> None:
        super().__init__(connections[0], next_call, recorder)
        self._turns = cycle(connections)

    def start(self) -> None:
        """Send the next call; its time runs from the answer that released it."""
        released_ns = self._connection.now_ns
        self._connection = next(self._turns)
        self._connection.now_ns = released_ns
        super().start()
        self._connection.flush()


async def put_by_turns(share: Share) -> Outcome:
    """One caller that puts through one member after the other."""
    recorder = Recorder(share, callers=1)
    connections = [await connect(port) for port in (share.port, *share.followers)]
    try:
        _TurningCaller(connections, put_calls(share), recorder).start()
        return await recorder.outcome()
    finally:
        close_all(connections)


CLUSTER_WORKLOADS = (
    Workload(
        latency_row(
            "cluster-put-leader-1",
            "3 members: Put 256 B through the leader, 1 caller",
            target=_LATENCY_TARGET,
        ),
        ClosedLoop(1, 1, put_calls),
        single_process=True,
    ),
    Workload(
        throughput_row("cluster-put-leader-100", "the same, 100 callers, 10 connections"),
        ClosedLoop(100, 10, put_calls),
    ),
    Workload(
        throughput_row("cluster-put-leader-1000", "the same, 1000 callers, 100 connections"),
        ClosedLoop(1000, 100, put_calls),
    ),
    Workload(
        latency_row(
            "cluster-put-all-1",
            "3 members: Put 256 B through each in turn, 1 caller",
            target=_LATENCY_TARGET,
        ),
        put_by_turns,
        single_process=True,
    ),
    Workload(
        throughput_row("cluster-put-all-100", "Put through all, 100 callers, 10 connections"),
        ClosedLoop(100, 10, put_calls, all_members=True),
    ),
    Workload(
        throughput_row("cluster-put-all-1000", "Put through all, 1000 callers, 100 connections"),
        ClosedLoop(1000, 100, put_calls, all_members=True),
    ),
    Workload(
        throughput_row(
            "cluster-range-linearizable-100", "Range through all, linearizable, 100 callers"
        ),
        ClosedLoop(100, 10, linearizable_calls, min_reply_bytes=VALUE_SIZE, all_members=True),
        needs_keys=True,
    ),
    Workload(
        throughput_row(
            "cluster-range-serializable-100", "Range through all, serializable, 100 callers"
        ),
        ClosedLoop(100, 10, serializable_calls, min_reply_bytes=VALUE_SIZE, all_members=True),
        needs_keys=True,
    ),
)
