"""Clients on all members that remember every answer, and the check of what they remember.

Writers, readers and watchers move to the next member when theirs fails. A write without an answer
may have happened or not; one that was acknowledged must be in the history at its revision.
"""

from __future__ import annotations

import itertools
import threading
import time
from random import Random
from typing import TYPE_CHECKING, Self

import grpc

from pykvd.pb import kv_pb2, rpc_pb2
from tests.harness import Client, WatchStream
from tests.harness.methods import DELETE, PUT, RANGE, TXN
from tests.integration.crash.history import History, HistoryError, Write, by_revision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.integration.cluster.cluster import Cluster, Member

SHARED_KEYS = 8
CALL_TIMEOUT = 2.0
#: What the loss of a member, of a leader or of a quorum may look like to a client.
EXPECTED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
ALL_KEYS = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0")


class Load:
    """Threads at work on a cluster, between `with` and its end, where `check` looks at it all.

    `surprises` are answers that no failure explains, stale reads among them.
    """

    def __init__(
        self, cluster: Cluster, *, writers: int = 4, readers: int = 1, watch: bool = True
    ) -> None:
        self.cluster = cluster
        self.writes: list[Write] = []
        self.surprises: list[str] = []
        self.acknowledged = 0
        self.reads = 0
        #: When each acknowledgement came, on the monotonic clock.
        self.times: list[float] = []
        self.watched: list[kv_pb2.Event] = []
        self.stopped = threading.Event()
        #: No more acknowledgements will come.
        self.complete = threading.Event()
        self._floor: dict[bytes, int] = {}
        self._newest = 0
        self._lock = threading.Lock()
        self._history = _now(cluster)
        members = list(cluster)
        self._threads = [
            *(self._thread(_Writer(self, members, n).run) for n in range(writers)),
            *(self._thread(_Reader(self, [m], n).run) for m in members for n in range(readers)),
        ]
        self._watch = watch
        self._watching = self._thread(_Watcher(self, members).run)
        self._last = self._history.revision

    def _thread(self, run: object) -> threading.Thread:
        return threading.Thread(target=run, daemon=True)  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        for thread in (*self._threads, *([self._watching] if self._watch else [])):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join()
        self.complete.set()
        if self._watch:
            self._last = max(self._newest, self._history.revision)
            self._watching.join()

    # What the threads report.

    def begin(self, write: Write) -> None:
        """A write is about to be sent."""
        with self._lock:
            self.writes.append(write)

    def done(self, write: Write, revision: int) -> None:
        """A write was acknowledged."""
        with self._lock:
            write.acknowledge(revision)
            self.acknowledged += 1
            self.times.append(time.monotonic())
            self._newest = max(self._newest, revision)
            for key in (*write.puts, *write.deletes):
                self._floor[key] = max(self._floor.get(key, 0), revision)

    def floor(self, key: bytes) -> tuple[int, int]:
        """What a linearizable read of a key must see now: the newest revision, and the key's."""
        with self._lock:
            return self._newest, self._floor.get(key, 0)

    def read(self, revision: int) -> None:
        """A linearizable read saw this revision: later ones must see no less."""
        with self._lock:
            self.reads += 1
            self._newest = max(self._newest, revision)

    def surprise(self, what: str) -> None:
        """Something that may never happen."""
        with self._lock:
            self.surprises.append(what)

    # What tests wait for.

    def wait_progress(self, acknowledgements: int, timeout: float = 60.0) -> None:
        """Wait until that many more writes are acknowledged."""
        target = self.acknowledged + acknowledgements
        deadline = time.monotonic() + timeout
        while self.acknowledged < target:
            assert time.monotonic() < deadline, (
                f"{self.acknowledged} of {target} in {timeout} s: {self.cluster.describe()}"
            )
            time.sleep(0.01)

    def longest_gap(self, since: float) -> float:
        """The longest time without an acknowledgement after a moment, seconds."""
        times = [since, *(moment for moment in self.times if moment > since)]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    def check(self) -> None:
        """Nothing lost, nothing twice, nothing reordered, on every member; raises HistoryError."""
        if self.surprises:
            raise HistoryError(f"{len(self.surprises)} surprises: {self.surprises[:3]}")
        last = self.cluster.wait_equal()
        first = self._history.revision + 1
        events = [read_events(member, first, last) for member in self.cluster.running]
        if any(other != events[0] for other in events[1:]):
            raise HistoryError("the members tell different histories")
        seen = [event for event in events[0] if event.kv.mod_revision <= self._last]
        for expected, got in itertools.zip_longest(seen, self.watched[: len(seen)]):
            if expected != got:
                raise HistoryError(f"the watch that moved between members: {got}, not {expected}")
        self._history.extend(by_revision(events[0]), self.writes, last)

    @property
    def watched_enough(self) -> bool:
        """Whether the watcher has seen the last acknowledged write."""
        newest = self.watched[-1].kv.mod_revision if self.watched else self._history.revision
        return newest >= self._newest

    @property
    def watch_from(self) -> int:
        """The first revision of this load."""
        return self._history.revision + 1


def _now(cluster: Cluster) -> History:
    """The state of a cluster before the load."""
    (member, *_) = cluster.running
    reply = member.call(RANGE, ALL_KEYS)
    history = History(reply.header.revision)
    history.keys = {kv.key: kv for kv in reply.kvs}
    return history


def read_events(member: Member, first: int, last: int) -> list[kv_pb2.Event]:
    """Everything between two revisions, by a watch on all keys."""
    if last < first:
        return []
    with Client(member.endpoint) as client, WatchStream(client) as stream:
        watch = rpc_pb2.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=first)
        watch_id = stream.create(watch).watch_id
        stream.wait(
            lambda: any(
                event.kv.mod_revision >= last
                for response in stream.responses[-1:]
                for event in response.events
            ),
            f"the events up to {last} on {member.name}",
        )
        return [event for event in stream.events(watch_id) if event.kv.mod_revision <= last]


class _Worker:
    """Calls one member after the other until the load is stopped."""

    def __init__(self, load: Load, members: Sequence[Member], number: int) -> None:
        self._load = load
        self._members = itertools.cycle([*members[number % len(members) :], *members[:number]])
        self._name = f"{time.monotonic_ns()}.{number}"
        self._rng = Random(self._name)
        self._serial = 0

    def run(self) -> None:
        """Work on one member until it fails, then on the next."""
        while not self._load.stopped.is_set():
            with Client(next(self._members).endpoint) as client:
                try:
                    while not self._load.stopped.is_set():
                        self._act(client)
                except grpc.RpcError as error:
                    if error.code() not in EXPECTED:
                        self._load.surprise(f"{error.code().name} {error.details()}")
                        return
                except Exception as error:  # noqa: BLE001 - whatever it is, the test must know
                    self._load.surprise(repr(error))
                    return
            # The others need the processor more than one that is refused at once.
            self._load.stopped.wait(0.02)

    def _act(self, client: Client) -> None:
        raise NotImplementedError

    def _key(self) -> bytes:
        return b"k/%d" % self._rng.randrange(SHARED_KEYS)


class _Writer(_Worker):
    """Puts of values used once, transactions on two keys, deletes of its own keys."""

    def _act(self, client: Client) -> None:
        self._rng.choice((self._put, self._put, self._put_pair, self._put_and_delete))(client)

    def _value(self) -> bytes:
        self._serial += 1
        return f"{self._name}/{self._serial}".encode()

    def _put(self, client: Client, key: bytes | None = None) -> None:
        write = Write({key or self._key(): self._value()})
        self._load.begin(write)
        ((name, value),) = write.puts.items()
        request = rpc_pb2.PutRequest(key=name, value=value)
        self._load.done(write, client.call(PUT, request, timeout=CALL_TIMEOUT).header.revision)

    def _put_pair(self, client: Client) -> None:
        value = self._value()
        write = Write({b"p/left": value, b"p/right": value})
        self._load.begin(write)
        puts: Iterator[rpc_pb2.RequestOp] = (
            rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value))
            for key in write.puts
        )
        request = rpc_pb2.TxnRequest(success=list(puts))
        self._load.done(write, client.call(TXN, request, timeout=CALL_TIMEOUT).header.revision)

    def _put_and_delete(self, client: Client) -> None:
        key = b"d/" + self._value()
        self._put(client, key)
        write = Write(deletes=frozenset({key}))
        self._load.begin(write)
        reply = client.call(DELETE, rpc_pb2.DeleteRangeRequest(key=key), timeout=CALL_TIMEOUT)
        if reply.deleted != 1:
            self._load.surprise(f"{key!r} was acknowledged and is not there to delete")
        self._load.done(write, reply.header.revision)


class _Reader(_Worker):
    """Linearizable reads that must see everything acknowledged before they were sent."""

    def _act(self, client: Client) -> None:
        key = self._key()
        newest, own = self._load.floor(key)
        reply = client.call(RANGE, rpc_pb2.RangeRequest(key=key), timeout=CALL_TIMEOUT)
        seen = reply.kvs[0].mod_revision if reply.kvs else 0
        if reply.header.revision < newest or seen < own:
            self._load.surprise(
                f"stale read on {client.endpoint}: revision {reply.header.revision} < {newest} "
                f"or {key!r} at {seen} < {own}"
            )
        self._load.read(reply.header.revision)


class _Watcher:
    """One watch on everything, resumed on the next member where the last one broke off."""

    def __init__(self, load: Load, members: Sequence[Member]) -> None:
        self._load = load
        self._members = itertools.cycle(members)

    def run(self) -> None:
        """Watch until the load has stopped and its last write was seen."""
        deadline = float("inf")
        while time.monotonic() < deadline:
            with Client(next(self._members).endpoint) as client, WatchStream(client) as stream:
                self._follow(stream)
            if self._load.complete.is_set():
                if self._load.watched_enough:
                    return
                deadline = min(deadline, time.monotonic() + 20)
        self._load.surprise("the watch does not complete")

    def _follow(self, stream: WatchStream) -> None:
        seen = self._load.watched
        first = seen[-1].kv.mod_revision + 1 if seen else self._load.watch_from
        watch = rpc_pb2.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=first)
        stream.send(rpc_pb2.WatchRequest(create_request=watch))
        taken = 0
        deadline = float("inf")
        while stream.failure is None and time.monotonic() < deadline:
            responses = stream.responses
            while taken < len(responses):
                seen.extend(responses[taken].events)
                taken += 1
            if self._load.complete.is_set():
                if self._load.watched_enough:
                    return
                # It may sit on a member that hears nothing any more: try the next.
                deadline = min(deadline, time.monotonic() + 5)
            time.sleep(0.01)
