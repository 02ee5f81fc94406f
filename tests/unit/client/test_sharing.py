"""Many watches on one stream: however it goes, each sees all of its events once, in order."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.client import errors, sharing
from pykvd.client.engine import Engine
from pykvd.client.pool import Pool
from pykvd.client.requests import watch_request
from pykvd.client.steps import Await, Open, Receive, Step
from pykvd.client.transport import CallError
from pykvd.client.watching import Watcher
from pykvd.pb import kv_pb2
from pykvd.pb import rpc_pb2 as rpc
from pykvd.status import Code
from tests.unit.client.plans import Clock

if TYPE_CHECKING:
    from collections.abc import Generator

    from pykvd.client.values import Event

BROKEN = CallError(Code.UNAVAILABLE, "connection lost")


class Server:
    """A history of keys, and the streams on which it tells about them."""

    def __init__(self) -> None:
        self.revision = 1
        self.history: list[tuple[int, bytes]] = []
        self.compacted = 0
        self.streams: list[ServerStream] = []
        self.created = 0
        self.value = b""
        self.silent = False
        """Whether it does nothing, as a process that is stopped."""

    @property
    def live(self) -> list[ServerStream]:
        """The streams that nobody has closed or broken."""
        return [stream for stream in self.streams if not stream.over]

    def put(self, key: bytes) -> int:
        self.revision += 1
        self.history.append((self.revision, key))
        for stream in self.live:
            stream.tell(self.revision, key)
        return self.revision


class ServerStream:
    """One stream; what it has to say waits in `messages`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.messages: deque[bytes] = deque()
        self.watches: dict[int, bytes] = {}
        self.over = False
        self.interrupted = False
        server.streams.append(self)

    def send(self, message: bytes, *, last: bool = False) -> None:
        request = rpc.WatchRequest.FromString(message)
        if request.HasField("cancel_request"):
            watch_id = request.cancel_request.watch_id
            if self.watches.pop(watch_id, None) is not None:
                self.say(rpc.WatchResponse(watch_id=watch_id, canceled=True))
            return
        server, create = self.server, request.create_request
        watch_id, server.created = server.created, server.created + 1
        if create.key == b"forbidden":
            reason = errors.PermissionDenied.text
            refusal = rpc.WatchResponse(
                watch_id=-1, created=True, canceled=True, cancel_reason=reason
            )
            self.say(refusal)
            return
        self.say(rpc.WatchResponse(watch_id=watch_id, created=True))
        if 0 < create.start_revision < server.compacted:
            self.say(
                rpc.WatchResponse(
                    watch_id=watch_id, canceled=True, compact_revision=server.compacted
                )
            )
            return
        self.watches[watch_id] = create.key
        for revision, key in server.history:
            if create.start_revision and revision >= create.start_revision and key == create.key:
                self.tell(revision, key, only=watch_id)

    def tell(self, revision: int, key: bytes, only: int | None = None) -> None:
        item = kv_pb2.KeyValue(key=key, mod_revision=revision, value=self.server.value)
        for watch_id, watched in self.watches.items():
            if watched == key and only in {None, watch_id}:
                self.say(rpc.WatchResponse(watch_id=watch_id, events=[kv_pb2.Event(kv=item)]))

    def say(self, response: rpc.WatchResponse) -> None:
        response.header.revision = self.server.revision
        self.messages.append(response.SerializeToString())

    def receive(self, deadline: float | None = None) -> bytes | None:
        raise NotImplementedError  # the test's driver does it

    def interrupt(self) -> None:
        self.interrupted = True

    def close(self) -> None:
        self.over = True


class Consumer:
    """Somebody who takes the events of one watch; each `advance` does one step of the plan."""

    def __init__(self, test: Bench, key: bytes, *, start: int = 0) -> None:
        self._bench = test
        self.watcher = Watcher(test.engine, watch_request(key, start_revision=start), None)
        self.seen: list[int] = []
        self.failure: errors.EtcdError | None = None
        self._plan: Generator[Step, object, list[Event]] | None = None
        self._step: Step | None = None
        self.wants = True
        """Whether it comes back for more."""

    def advance(self) -> bool:
        """Do what can be done; whether that was anything."""
        if self._plan is None:
            if not self.wants or self.watcher.closed:
                return False
            self._plan = self.watcher.fill()
            self._resume(None)
            return True
        assert self._step is not None
        answer = self._bench.answer(self._step)
        if answer is None:
            return False
        self._resume(answer)
        return True

    def leave(self) -> None:
        """Go away in the middle of a step, as a cancelled task does."""
        if self._plan is not None:
            self._plan.close()
            self._plan = self._step = None

    def _resume(self, answer: object) -> None:
        plan = self._plan
        assert plan is not None
        try:
            if isinstance(answer, BaseException):
                self._step = plan.throw(answer)
            elif self._step is None:
                self._step = next(plan)
            else:
                self._step = plan.send(None if answer is AWAKE else answer)
        except StopIteration as done:
            self.seen += [event.revision for event in done.value]
            self._plan = self._step = None
        except errors.EtcdError as failure:
            self.failure = failure
            self._plan = self._step = None


AWAKE = object()


class Bench:
    """A client, a server, and consumers that are advanced one step at a time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.server = Server()
        self.engine = Engine(Pool("ab"), clock=self.clock)
        self.consumers: list[Consumer] = []
        self.refused = 0
        """How many attempts to open a stream fail from now on."""

    def watch(self, key: bytes, *, start: int = 0) -> Consumer:
        consumer = Consumer(self, key, start=start)
        self.consumers.append(consumer)
        return consumer

    def answer(self, step: Step) -> object:
        """What becomes of a step now; None if it still waits."""
        if isinstance(step, Open):
            if self.refused:
                self.refused -= 1
                return BROKEN
            return ServerStream(self.server)
        if isinstance(step, Receive):
            stream = cast(ServerStream, step.stream)
            if stream.over:
                return BROKEN
            if stream.messages and not self.server.silent:
                return stream.messages.popleft()
            if stream.interrupted:
                stream.interrupted = False
                return TimeoutError()
            return None
        assert isinstance(step, Await)
        if cast(threading.Event, step.signal).is_set():
            return AWAKE
        if step.deadline is not None:  # a rest between attempts
            self.clock.now = max(self.clock.now, step.deadline)
            return TimeoutError()
        return None

    def settle(self) -> None:
        """Advance all until nobody can do anything."""
        while sum(consumer.advance() for consumer in self.consumers):
            pass


KEYS = [b"a", b"b", b"c"]
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(0, 4)),
        st.tuples(st.just("advance"), st.integers(0, 4)),
        st.tuples(st.just("put"), st.sampled_from(KEYS)),
        st.tuples(st.just("break"), st.integers(0, 3)),
        st.tuples(st.just("leave"), st.integers(0, 4)),
        st.tuples(st.just("settle"), st.none()),
        st.tuples(st.just("close"), st.integers(0, 4)),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(ACTIONS)
def test_all_events_once_and_in_order(actions: list[tuple[str, object]]) -> None:
    bench = Bench()
    server = bench.server
    for key in (*KEYS, *KEYS[:2]):
        bench.watch(key, start=2)
    for action, detail in actions:
        if action == "put":
            server.put(cast(bytes, detail))
        elif action == "break":
            for stream in server.live:
                stream.over = True
            bench.refused = cast(int, detail)
        elif action == "settle":
            bench.settle()
        else:
            consumer = bench.consumers[cast(int, detail)]
            if action == "advance":
                consumer.advance()
            elif action == "leave":
                consumer.leave()
            else:
                consumer.watcher.close()
    bench.settle()
    for consumer, key in zip(bench.consumers, (*KEYS, *KEYS[:2]), strict=True):
        expected = [revision for revision, written in server.history if written == key]
        if consumer.watcher.closed:
            expected = expected[: len(consumer.seen)]
        assert consumer.seen == expected
    open_watches = sum(not consumer.watcher.closed for consumer in bench.consumers)
    assert len(server.live) == min(open_watches, 1)
    assert sum(len(stream.watches) for stream in server.live) == open_watches


def test_one_stream_for_all_which_ends_with_the_last() -> None:
    bench = Bench()
    consumers = [bench.watch(b"%d" % index) for index in range(100)]
    bench.settle()
    assert len(bench.server.streams) == 1
    assert len(bench.server.streams[0].watches) == 100
    for consumer in consumers[1:]:
        consumer.watcher.close()
    bench.settle()
    assert len(bench.server.live[0].watches) == 1
    consumers[0].watcher.close()
    assert not bench.server.live


def test_a_refused_watch_ends_alone() -> None:
    bench = Bench()
    good, refused = bench.watch(b"a"), bench.watch(b"forbidden")
    bench.settle()
    assert isinstance(refused.failure, errors.PermissionDenied)
    revision = bench.server.put(b"a")
    bench.settle()
    assert (good.seen, good.failure) == ([revision], None)
    assert len(bench.server.streams) == 1


def test_history_that_is_gone_ends_one_watch_only() -> None:
    bench = Bench()
    bench.server.revision, bench.server.compacted = 100, 90
    good, late = bench.watch(b"a"), bench.watch(b"b", start=10)
    bench.settle()
    assert isinstance(late.failure, errors.Compacted)
    assert late.failure.compact_revision == 90
    revision = bench.server.put(b"a")
    bench.settle()
    assert good.seen == [revision]


def test_a_slow_consumer_is_parked_and_misses_nothing() -> None:
    bench = Bench()
    server = bench.server
    fast, slow = bench.watch(b"k"), bench.watch(b"k")
    bench.settle()
    slow.leave()
    slow.wants = False
    server.value = bytes(sharing.BACKLOG_BYTES // 8)
    revisions = []
    for _ in range(50):
        revisions.append(server.put(b"k"))
        bench.settle()
    assert fast.seen == revisions
    assert slow.watcher.backlog <= sharing.BACKLOG_BYTES + len(server.value) + 100
    assert len(server.live[0].watches) == 1
    slow.wants = True
    bench.settle()
    assert slow.seen == revisions
    assert (len(server.streams), len(server.live[0].watches)) == (1, 2)


def test_a_slow_consumer_whose_history_went_gets_what_was_kept_then_compacted() -> None:
    bench = Bench()
    server = bench.server
    fast, slow = bench.watch(b"k"), bench.watch(b"k")
    bench.settle()
    slow.leave()
    slow.wants = False
    server.value = bytes(sharing.BACKLOG_BYTES // 2)
    revisions = []
    for _ in range(9):
        revisions.append(server.put(b"k"))
        bench.settle()
    server.compacted = server.revision
    slow.wants = True
    bench.settle()
    assert slow.seen == revisions[:2]
    assert isinstance(slow.failure, errors.Compacted)
    assert fast.seen == revisions


def test_closing_the_watch_that_leads_wakes_it() -> None:
    bench = Bench()
    leader, other = bench.watch(b"a"), bench.watch(b"b")
    bench.settle()
    bench.server.silent = True
    leader.watcher.close()
    assert leader.advance()
    assert not leader.advance()
    bench.server.silent = False
    revision = bench.server.put(b"b")
    bench.settle()
    assert (leader.seen, other.seen) == ([], [revision])


def test_a_watch_closed_before_it_is_confirmed_is_cancelled_then() -> None:
    bench = Bench()
    other, hasty = bench.watch(b"a"), bench.watch(b"b")
    bench.settle()
    bench.server.silent = True
    late = bench.watch(b"c")
    late.advance()
    late.watcher.close()
    bench.server.silent = False
    bench.settle()
    assert sorted(bench.server.live[0].watches.values()) == [b"a", b"b"]
    assert (other.failure, hasty.failure) == (None, None)


def test_one_consumer_a_watch() -> None:
    bench = Bench()
    consumer = bench.watch(b"a")
    bench.settle()
    with pytest.raises(RuntimeError, match="somebody else waits"):
        next(consumer.watcher.fill())
    revision = bench.server.put(b"a")
    bench.settle()
    assert consumer.seen == [revision]


@pytest.mark.parametrize("text", ["unasked", "garbage"])
def test_nonsense_on_the_stream_breaks_it_and_nothing_else(text: str) -> None:
    bench = Bench()
    consumer = bench.watch(b"a")
    bench.settle()
    nonsense = rpc.WatchResponse(created=True).SerializeToString()
    bench.server.live[0].messages.append(nonsense if text == "unasked" else b"\xff\xff\xff")
    bench.settle()
    revision = bench.server.put(b"a")
    bench.settle()
    assert consumer.seen == [revision]
    assert len(bench.server.streams) == 2
