"""Callers that send a call, wait for its answer and send the next: load that follows the server."""

import asyncio
import random
import time
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmarks.connection import Connection, connect
from benchmarks.errors import BenchmarkError, CallError
from benchmarks.headers import Method
from benchmarks.histogram import Histogram

_DRAIN_SECONDS = 15.0

# Makes the next call of a caller: the method and its framed message.
CallSource = Callable[[], tuple[Method, bytes]]


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a workload that one process makes, and when (monotonic nanoseconds).

    `port` is that of the only server or of the leader, `followers` has those of other members.
    """

    port: int
    index: int
    processes: int
    begin_ns: int
    end_ns: int
    followers: tuple[int, ...] = ()

    @property
    def authority(self) -> str:
        """The server's address, as the `:authority` of calls."""
        return f"127.0.0.1:{self.port}"

    @property
    def random(self) -> random.Random:
        """Random numbers that differ between processes and not between runs."""
        return random.Random(self.index)


@dataclass(slots=True)
class Outcome:
    """Latencies of the calls or events that ended in the measured time, and the load's own cost."""

    latencies: Histogram = field(default_factory=Histogram)
    busy: float = 0.0  # processors that the generator kept busy, from connecting to the end

    def merge(self, other: "Outcome") -> None:
        """Add what another process counted."""
        self.latencies.merge(other.latencies)
        self.busy += other.busy


class Recorder:
    """Latencies of one share, its running callers, and the first error among them."""

    def __init__(self, share: Share, callers: int) -> None:
        self.end_ns = share.end_ns
        self.reply_bytes = 0
        self.replies = 0
        self._begin_ns = share.begin_ns
        self._latencies = array("q")
        self._running = callers
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def record(self, sent_ns: int, now_ns: int) -> None:
        """Count an answer that came at `now_ns`, if that is within the measured time."""
        self.replies += 1
        if self._begin_ns <= now_ns < self.end_ns:
            self._latencies.append(now_ns - sent_ns)

    def retire(self) -> None:
        """One caller has its last answer."""
        self._running -= 1
        if not self._running and not self._finished.done():
            self._finished.set_result(None)

    def fail(self, error: BenchmarkError) -> None:
        """Give up: one error spoils the figure."""
        if not self._finished.done():
            self._finished.set_exception(error)

    async def outcome(self) -> Outcome:
        """Wait for every caller; raises the first error, or CallError for missing answers."""
        patience = (self.end_ns - time.monotonic_ns()) / 1e9 + _DRAIN_SECONDS
        try:
            async with asyncio.timeout(patience):
                await self._finished
        except TimeoutError:
            raise CallError(f"{self._running} calls were never answered") from None
        return Outcome(Histogram(self._latencies))


class Caller:
    """One closed loop of unary calls on a connection that it shares with others."""

    __slots__ = ("_connection", "_next_call", "_recorder", "_sent_ns")

    def __init__(self, connection: Connection, next_call: CallSource, recorder: Recorder) -> None:
        self._connection = connection
        self._next_call = next_call
        self._recorder = recorder
        self._sent_ns = 0

    def start(self) -> None:
        """Send the next call. Its time runs from the read that released it."""
        method, message = self._next_call()
        self._sent_ns = self._connection.now_ns
        self._connection.request(method, message, self)

    def data(self, payload: bytes) -> None:
        """Count what was answered, so that empty answers are noticed."""
        self._recorder.reply_bytes += len(payload)

    def end(self) -> None:
        """Record the answer and go on until the time is over."""
        now = self._connection.now_ns
        self._recorder.record(self._sent_ns, now)
        if now < self._recorder.end_ns:
            self.start()
        else:
            self._recorder.retire()

    def fail(self, error: BenchmarkError) -> None:
        """Give up."""
        self._recorder.fail(error)


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """`callers` unary callers over `connections`, divided among the processes.

    `source` makes the calls of one process; replies of fewer than `min_reply_bytes` on average
    are an error. With `all_members` the connections go to the members of a cluster by turns,
    with `tls` over TLS.
    """

    callers: int
    connections: int
    source: Callable[[Share], CallSource]
    min_reply_bytes: int = 1
    all_members: bool = False
    tls: bool = False

    async def __call__(self, share: Share) -> Outcome:
        """Make one process's share of the calls; raises BenchmarkError."""
        recorder = Recorder(share, self.callers // share.processes)
        next_call = self.source(share)
        connections = await self._connect(share)
        try:
            per_connection = self.callers // self.connections
            for connection in connections:
                start_callers(connection, per_connection, next_call, recorder)
            outcome = await recorder.outcome()
        finally:
            close_all(connections)
        if recorder.reply_bytes < recorder.replies * self.min_reply_bytes:
            raise BenchmarkError(f"{recorder.replies} replies had {recorder.reply_bytes} bytes")
        return outcome

    async def _connect(self, share: Share) -> list[Connection]:
        count = self.connections // share.processes
        ports = (share.port, *share.followers) if self.all_members else (share.port,)
        first = count * share.index
        return [
            await connect(ports[number % len(ports)], tls=self.tls)
            for number in range(first, first + count)
        ]


def start_callers(
    connection: Connection, callers: int, next_call: CallSource, recorder: Recorder
) -> None:
    """Start closed loops on a connection; raises BenchmarkError when it takes fewer streams."""
    check_streams([connection], callers)
    connection.now_ns = time.monotonic_ns()
    for _ in range(callers):
        Caller(connection, next_call, recorder).start()
    connection.flush()


def check_streams(connections: Iterable[Connection], wanted: int) -> None:
    """Raise BenchmarkError when a connection may not have `wanted` streams at a time."""
    allowed = min(connection.max_streams for connection in connections)
    if allowed < wanted:
        raise BenchmarkError(f"the server allows {allowed} streams a connection, not {wanted}")


async def connect_many(port: int, count: int) -> list[Connection]:
    """Open `count` connections to 127.0.0.1:`port`."""
    return [await connect(port) for _ in range(count)]


def close_all(connections: list[Connection]) -> None:
    """Close the connections of a share."""
    for connection in connections:
        connection.close()
