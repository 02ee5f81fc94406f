"""The hub over a real store, through random writes, slow readers, compactions and cancellations.

What every watcher has received is compared with the list of all changes: in order, once, whole
revisions, filtered, with the right previous values, and nothing left out once it counts as synced.
"""

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pykvd.mvcc.errors import CompactedError
from pykvd.node.header import HeaderEncoder
from pykvd.pb.kv_pb2 import Event, KeyValue
from pykvd.pb.rpc_pb2 import WatchResponse
from pykvd.watch.hub import Hub
from pykvd.watch.watcher import Watcher
from tests.unit.mvcc.disk import Disk
from tests.unit.mvcc.model import Change, Model, in_range
from tests.unit.watch.sessions import RecordingSession

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = (b"a", b"ab", b"abc", b"b")
RANGES = (
    (b"a", b""),
    (b"a", b"b"),
    (b"ab", b"ac"),
    (b"abc", b"abd"),
    (b"\x00", b"\x00"),
    (b"a\x00", b"b"),
)
#: Small enough that several events pass it.
FRAGMENT_BYTES = 120

History = list[list[tuple[int, bytes]]]
#: Revisions of one tick: each a list of puts, and deletes (0).
histories: st.SearchStrategy[History] = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(KEYS)), min_size=1, max_size=3),
    min_size=1,
    max_size=4,
)


class Request(NamedTuple):
    """A watch; `offset` is the start relative to the next revision, None leaves it out."""

    session: int
    bounds: tuple[bytes, bytes]
    no_put: bool
    no_delete: bool
    prev_kv: bool
    fragment: bool
    offset: int | None


rarely = st.sampled_from((False, False, False, True))
watches = st.builds(
    Request,
    session=st.integers(0, 2),
    bounds=st.sampled_from(RANGES),
    no_put=rarely,
    no_delete=rarely,
    prev_kv=rarely,
    fragment=rarely,
    offset=st.sampled_from((None, None, 0, 1, 2, 3, -1, -2, -5, -20)),
)


class Follower:
    """A watcher beside what it must get: the model's changes from `start` on that it asked for."""

    def __init__(self, watcher: Watcher, session: RecordingSession, start: int) -> None:
        self.watcher = watcher
        self.session = session
        self.start = start
        self.seen = 0
        self.last_header = 0
        self.received: list[Event] = []
        #: Whether the last response was a piece that more pieces follow.
        self.fragmented = False

    def wants(self, change: Change) -> bool:
        key, end, no_put, no_delete, _ = self.watcher.selector
        filtered = no_put if change.kv else no_delete
        return change.main >= self.start and in_range(change.key, key, end) and not filtered


class HubMachine(RuleBasedStateMachine):
    """Random clients of one hub."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk(recent_bytes=2000)
        self.model = Model()
        self.scheduled: deque[Callable[[], None]] = deque()
        self.hub = self._make_hub()
        self.sessions = [RecordingSession() for _ in range(3)]
        self.followers: list[Follower] = []
        self.next_id = 0

    def _make_hub(self) -> Hub:
        return Hub(
            self.disk.store,
            header=HeaderEncoder(1, 2),
            schedule=self.scheduled.append,
            fragment_bytes=FRAGMENT_BYTES,
        )

    def teardown(self) -> None:
        self.disk.remove()

    # Clients

    @initialize(requests=st.lists(watches, min_size=2, max_size=4), history=histories)
    def begin(self, requests: list[Request], history: History) -> None:
        self.tick(history)
        for request in requests:
            self.watch(request)

    @rule(request=watches)
    def watch(self, request: Request) -> None:
        self.next_id += 1
        newest = self.model.revision + 1
        start = 0 if request.offset is None else max(1, newest + request.offset)
        selector = (*request.bounds, request.no_put, request.no_delete, request.prev_kv)
        session = self.sessions[request.session]
        watcher = Watcher(session, self.next_id, selector, start=start, fragment=request.fragment)
        self.hub.add(watcher)
        self.followers.append(Follower(watcher, session, start or newest))

    @precondition(lambda self: self.followers)
    @rule(data=st.data(), really=st.sampled_from((True, False, False)))
    def cancel(self, data: st.DataObject, really: bool) -> None:
        """What was received stays checked; nothing may come any more."""
        if not really:
            return
        follower = data.draw(st.sampled_from(self.followers))
        self.hub.remove(follower.watcher)
        follower.session.ended.setdefault(follower.watcher.id, 0)
        self.followers.remove(follower)

    @rule(session=st.integers(0, 2))
    def toggle_congestion(self, session: int) -> None:
        chosen = self.sessions[session]
        chosen.congested = not chosen.congested
        if not chosen.congested:
            self.hub.wake()

    # The server

    @rule(history=histories)
    def tick(self, history: History) -> None:
        """Apply several revisions, then flush once."""
        for write in history:
            self._write(write)
        self.hub.flush()
        self._check_responses()

    @rule(history=histories)
    def another_tick(self, history: History) -> None:
        """A second chance for writes among the other rules."""
        self.tick(history)

    def _write(self, write: list[tuple[int, bytes]]) -> None:
        self.disk.store.begin()
        for kind, key in write:
            if kind:
                value = b"%d" % len(self.model.changes)
                self.disk.store.put(key, value, 0)
                self.model.put(key, value, 0)
            elif key in self.model.live:
                self.disk.store.delete(key)
                self.model.delete(key)
        events = self.disk.store.end()
        self.model.end()
        if events:
            self.hub.notify(self.disk.store.revision, events)

    @rule()
    def catch_up(self) -> None:
        """One turn of the loop."""
        for _ in range(len(self.scheduled)):
            self.scheduled.popleft()()
        self._check_responses()

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        revision = self.model.revision - data.draw(st.integers(0, self.model.revision - 1))
        try:
            self.disk.store.compact(revision)
        except CompactedError:
            assert revision <= self.model.compacted
            return
        self.model.compacted = revision
        for _ in self.disk.store.sweep(1000):
            pass

    @rule()
    def commit(self) -> None:
        self.disk.commit()

    @rule()
    def quiesce(self) -> None:
        """When everybody reads, everybody gets everything."""
        for session in self.sessions:
            session.congested = False
        self.hub.wake()
        for _ in range(1000):
            if not self.scheduled:
                break
            self.catch_up()
        assert not self.scheduled, "catching up does not end"
        for follower in self.followers:
            waits = follower.start > self.model.revision
            ended = follower.watcher.id in follower.session.ended
            assert follower.watcher.synced or ended or waits

    # Checks

    def _check_responses(self) -> None:
        for session in self.sessions:
            responses, session.responses = session.responses, []
            sizes, session.sizes = session.sizes, []
            for response, size in zip(responses, sizes, strict=True):
                self._check_response(response, size)

    def _check_response(self, response: WatchResponse, size: int) -> None:
        follower = next(each for each in self.followers if each.watcher.id == response.watch_id)
        assert response.events
        assert response.header.revision >= response.events[-1].kv.mod_revision
        assert response.header.revision >= follower.last_header
        follower.last_header = response.header.revision
        if follower.watcher.fragment:
            assert size < FRAGMENT_BYTES or len(response.events) == 1
        else:
            assert not response.fragment
        before = follower.received[-1].kv.mod_revision if follower.received else 0
        if not follower.fragmented:
            assert response.events[0].kv.mod_revision > before, "a revision was split"
        follower.fragmented = response.fragment
        for event in response.events:
            self._check_event(follower, event)

    def _check_event(self, follower: Follower, event: Event) -> None:
        """The event is the next change that the watcher wants."""
        changes = self.model.changes
        while not follower.wants(changes[follower.seen]) or (
            # Of the compacted revision itself only what is still stored is delivered.
            changes[follower.seen].main <= self.model.compacted
            and not _is(changes[follower.seen], event)
        ):
            follower.seen += 1
        change = changes[follower.seen]
        follower.seen += 1
        assert _is(change, event)
        if change.kv:
            assert event.kv == change.kv
        else:
            assert event.kv == KeyValue(key=change.key, mod_revision=change.main)
        self._check_previous(follower, change, event)
        follower.received.append(event)

    def _check_previous(self, follower: Follower, change: Change, event: Event) -> None:
        with_previous = follower.watcher.selector[4]
        created = event.kv.version == 1
        with_previous = with_previous and not created
        previous = self.model.at(change.main - 1).get(change.key) if with_previous else None
        if change.main - 1 < self.model.compacted or previous is None:
            assert not event.HasField("prev_kv")
        else:
            assert event.prev_kv == previous

    @invariant()
    def synced_watchers_have_everything(self) -> None:
        """What a progress notice promises."""
        for follower in self.followers:
            if follower.watcher.synced:
                rest = self.model.changes[follower.seen :]
                missing = [
                    change
                    for change in rest
                    if follower.wants(change) and change.main > self.model.compacted
                ]
                assert not missing, follower.watcher.selector

    @invariant()
    def only_compacted_history_ends_a_watcher(self) -> None:
        for follower in self.followers:
            compact_revision = follower.session.ended.get(follower.watcher.id)
            if compact_revision is not None:
                assert follower.watcher.next < compact_revision <= self.model.compacted


def _is(change: Change, event: Event) -> bool:
    return (
        change.main == event.kv.mod_revision
        and change.key == event.kv.key
        and (event.type == Event.DELETE if change.kv is None else event.kv == change.kv)
    )


TestHub = HubMachine.TestCase
TestHub.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, derandomize=True
)
