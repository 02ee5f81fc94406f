"""Watch fan-out: one key with 1000 watchers, and 1000 keys with one watcher each.

Every value carries the time at which its Put was sent, so that a watcher tells how long the event
took to reach it, the Put's own sync to disk included. Puts and watchers of a process share a clock.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable

from benchmarks.closed_loop import (
    CallSource,
    Outcome,
    Recorder,
    Share,
    check_streams,
    close_all,
    connect_many,
    start_callers,
)
from benchmarks.connection import Connection, call, connect
from benchmarks.errors import BenchmarkError, CallError
from benchmarks.headers import Method
from benchmarks.histogram import Histogram
from benchmarks.messages import Template, framed, split
from benchmarks.workload import Workload, throughput_row
from pykvd.pb import rpc_pb2

_WATCHERS = 1000
_CONNECTIONS = 10
_STREAMS = 10  # a connection, so 10 watchers a stream
_WRITERS = 100  # for the 1000 keys

_STAMP_MARK = b"sent-at:"
_STAMP_DIGITS = 20
_STAMP_FORMAT = _STAMP_MARK + b"%020d"
_STAMP_SIZE = len(_STAMP_FORMAT % 0)
_PADDING = b"." * (256 - _STAMP_SIZE)

# Undelivered Puts that the single writer lets pile up: enough to keep the server busy while the
# last events of the Put before are on their way, few enough that latency is not that of a queue.
_MAX_UNDELIVERED_PUTS = 4

_DEADLINE_SECONDS = 15.0


class Deliveries:
    """Counts events by when their Put was sent and when they came, and wakes who waits for them."""

    def __init__(self, share: Share) -> None:
        self.total = 0
        self._share = share
        self._seen: Counter[tuple[bytes, int]] = Counter()
        self._created = 0
        self._progress = asyncio.Event()
        self._error: BenchmarkError | None = None

    def add(self, stamps: Iterable[bytes], now_ns: int) -> None:
        """Events with these stamps arrived."""
        for stamp, times in Counter(stamps).items():
            self._seen[stamp, now_ns] += times
            self.total += times
        self._progress.set()

    def created(self) -> None:
        """One more watcher is confirmed."""
        self._created += 1
        self._progress.set()

    def fail(self, error: BenchmarkError) -> None:
        """Give up: one error spoils the figure."""
        self._error = self._error or error
        self._progress.set()

    async def wait_for_watchers(self, count: int) -> None:
        """Wait until `count` watchers are confirmed; raises BenchmarkError."""
        while self._created < count:
            await self._wait(f"{self._created} of {count} watchers were created")

    async def wait_for_events(self, count: int) -> None:
        """Wait until `count` events have come in all; raises BenchmarkError."""
        while self.total < count:
            await self._wait(f"{self.total} of {count} events were delivered")

    async def _wait(self, complaint: str) -> None:
        self._progress.clear()
        if self._error is None:
            try:
                async with asyncio.timeout(_DEADLINE_SECONDS):
                    await self._progress.wait()
            except TimeoutError:
                raise CallError(complaint) from None
        if self._error is not None:
            raise self._error

    def outcome(self) -> Outcome:
        """The events that arrived within the measured time."""
        latencies = Histogram()
        for (stamp, now), times in self._seen.items():
            if self._share.begin_ns <= now < self._share.end_ns:
                latencies.record(now - int(stamp), times)
        return Outcome(latencies)


class _WatchStream:
    """One Watch call with several watchers."""

    def __init__(self, connection: Connection, deliveries: Deliveries) -> None:
        self._connection = connection
        self._deliveries = deliveries
        self._rest = b""

    def start(self, method: Method, keys: Iterable[bytes]) -> None:
        number = self._connection.open_stream(method, self)
        for key in keys:
            create = rpc_pb2.WatchCreateRequest(key=key)
            request = rpc_pb2.WatchRequest(create_request=create)
            self._connection.send(number, framed(request))

    def data(self, payload: bytes) -> None:
        messages, self._rest = split(self._rest + payload if self._rest else payload)
        for message in messages:
            self._control(rpc_pb2.WatchResponse.FromString(message))

    def end(self) -> None:
        self._deliveries.fail(CallError("the server ended a watch stream"))

    def fail(self, error: BenchmarkError) -> None:
        self._deliveries.fail(error)

    def _control(self, response: rpc_pb2.WatchResponse) -> None:
        if response.canceled:
            self._deliveries.fail(CallError(f"watch cancelled: {response.cancel_reason}"))
        elif response.created:
            self._deliveries.created()


def _count_events(connection: Connection, deliveries: Deliveries) -> None:
    """Count the connection's events by their marks in the bytes, frame by frame being too slow.

    An event lies within one frame: both servers send a message that fits whole.
    """

    def tap(data: bytes) -> None:
        marked = data.split(_STAMP_MARK)
        if len(marked) > 1:
            deliveries.add([part[:_STAMP_DIGITS] for part in marked[1:]], connection.now_ns)

    connection.tap = tap


async def _start_watchers(
    share: Share, deliveries: Deliveries, keys: list[bytes]
) -> list[Connection]:
    """Watch each of `keys` (repeated or not), spread over connections and streams."""
    method = Method("/etcdserverpb.Watch/Watch", share.authority)
    connections = await connect_many(share.port, _CONNECTIONS // share.processes)
    try:
        check_streams(connections, _STREAMS)
        count = len(connections) * _STREAMS
        for number in range(count):
            connection = connections[number % len(connections)]
            _WatchStream(connection, deliveries).start(method, keys[number::count])
        for connection in connections:
            connection.flush()
        await deliveries.wait_for_watchers(len(keys))
        for connection in connections:
            _count_events(connection, deliveries)
    except BaseException:
        close_all(connections)
        raise
    return connections


def _stamped_put(key: bytes) -> Template:
    placeholder = _STAMP_FORMAT % 0
    return Template(rpc_pb2.PutRequest(key=key, value=placeholder + _PADDING), placeholder)


async def one_key(share: Share) -> Outcome:
    """One writer puts to one key with 1000 watchers, a few Puts ahead of their deliveries."""
    key = b"watched/one"
    deliveries = Deliveries(share)
    connections = await _start_watchers(share, deliveries, [key] * _WATCHERS)
    try:
        writer = await connect(share.port)
        connections.append(writer)
        method, template = Method("/etcdserverpb.KV/Put", share.authority), _stamped_put(key)
        puts = 0
        while time.monotonic_ns() < share.end_ns:
            await call(writer, method, template.fill(_STAMP_FORMAT % time.monotonic_ns()))
            puts += 1
            await deliveries.wait_for_events((puts - _MAX_UNDELIVERED_PUTS) * _WATCHERS)
        await deliveries.wait_for_events(puts * _WATCHERS)
    finally:
        close_all(connections)
    return deliveries.outcome()


def _stamped_calls(share: Share, keys: list[bytes]) -> CallSource:
    """Puts to random ones of `keys` with the time in their values."""
    method = Method("/etcdserverpb.KV/Put", share.authority)
    templates = [_stamped_put(key) for key in keys]
    choose = share.random.choice
    return lambda: (method, choose(templates).fill(_STAMP_FORMAT % time.monotonic_ns()))


async def many_keys(share: Share) -> Outcome:
    """Writers put to 1000 keys, each with its own watcher."""
    per_process = _WATCHERS // share.processes
    first = per_process * share.index
    keys = [b"watched/many/%04d" % number for number in range(first, first + per_process)]
    deliveries = Deliveries(share)
    connections = await _start_watchers(share, deliveries, keys)
    try:
        recorder = Recorder(share, _WRITERS // share.processes)
        writers = await connect_many(share.port, _CONNECTIONS // share.processes)
        connections += writers
        source = _stamped_calls(share, keys)
        for connection in writers:
            start_callers(connection, _WRITERS // _CONNECTIONS, source, recorder)
        await recorder.outcome()
        await deliveries.wait_for_events(recorder.replies)
    finally:
        close_all(connections)
    return deliveries.outcome()


WATCH_WORKLOADS = (
    Workload(
        throughput_row(
            "watch-1-key",
            "1 writer, 1000 watchers of one key",
            unit="events/s",
            target=2,
            p99_target=None,
        ),
        one_key,
        single_process=True,
    ),
    Workload(
        throughput_row(
            "watch-1000-keys",
            "100 writers, 1000 keys with one watcher each",
            unit="events/s",
            target=2,
            p99_target=None,
        ),
        many_keys,
    ),
)
