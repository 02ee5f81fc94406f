"""The hub, case by case (etcd API: Watch); the machine beside this file mixes them at random."""

from collections import deque
from collections.abc import Callable, Iterator

import pytest

from pykvd.node.header import HeaderEncoder
from pykvd.pb.kv_pb2 import Event
from pykvd.watch.hub import CATCH_UP_RECORDS, CATCH_UP_WATCHERS, Hub
from pykvd.watch.watcher import Selector, Watcher
from tests.unit.mvcc.disk import Disk
from tests.unit.watch.sessions import RecordingSession

ALL: Selector = (b"\x00", b"\x00", False, False, False)
ALL_WITH_PREVIOUS: Selector = (b"\x00", b"\x00", False, False, True)
FRAGMENT_BYTES = 2000


class Server:
    """A store with a hub; `turn` is one turn of the event loop."""

    def __init__(self) -> None:
        self.disk = Disk(recent_bytes=1 << 16)
        self.scheduled: deque[Callable[[], None]] = deque()
        self.hub = Hub(
            self.disk.store,
            header=HeaderEncoder(1, 2),
            schedule=self.scheduled.append,
            fragment_bytes=FRAGMENT_BYTES,
        )
        self._ids = 0

    def put(self, *keys: bytes, size: int = 1) -> None:
        """Put all keys in one revision, without a flush."""
        self.disk.store.begin()
        for key in keys:
            self.disk.store.put(key, bytes(size), 0)
        self.hub.notify(self.disk.store.revision + 1, self.disk.store.end())

    def delete(self, key: bytes) -> None:
        self.disk.store.begin()
        self.disk.store.delete(key)
        self.hub.notify(self.disk.store.revision + 1, self.disk.store.end())

    def watch(
        self,
        session: RecordingSession,
        start: int = 0,
        selector: Selector = ALL,
        fragment: bool = False,
    ) -> Watcher:
        self._ids += 1
        watcher = Watcher(session, self._ids, selector, start=start, fragment=fragment)
        self.hub.add(watcher)
        return watcher

    def turn(self) -> None:
        for _ in range(len(self.scheduled)):
            self.scheduled.popleft()()

    def compact(self, revision: int) -> None:
        self.disk.store.compact(revision)
        for _ in self.disk.store.sweep(100):
            pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.disk.remove()


@pytest.fixture
def session() -> RecordingSession:
    return RecordingSession()


def revisions(session: RecordingSession) -> list[int]:
    return [event.kv.mod_revision for each in session.responses for event in each.events]


def test_the_revisions_of_a_tick_come_in_one_response(
    server: Server, session: RecordingSession
) -> None:
    watcher = server.watch(session)
    for _ in range(3):
        server.put(b"k")
    server.hub.flush()
    (response,) = session.responses
    assert (response.watch_id, response.header.revision) == (watcher.id, 4)
    assert revisions(session) == [2, 3, 4]
    server.hub.flush()
    assert len(session.responses) == 1


def test_nothing_before_the_start_revision_is_delivered(
    server: Server, session: RecordingSession
) -> None:
    """Not even of the tick in which the start is reached, where others watch the same keys."""
    server.watch(RecordingSession())
    later, much_later = server.watch(session, start=4), server.watch(session, start=9)
    for _ in range(4):
        server.put(b"k")
    assert later.synced
    assert not much_later.synced
    server.hub.flush()
    assert revisions(session) == [4, 5]


def test_a_start_reached_by_other_keys_alone_sends_nothing(
    server: Server, session: RecordingSession
) -> None:
    one_key: Selector = (b"k", b"", False, False, False)
    server.watch(RecordingSession(), selector=one_key)
    server.watch(session, start=4, selector=one_key)
    for key in (b"k", b"x", b"x"):
        server.put(key)
    server.hub.flush()
    assert session.responses == []


def test_a_slow_session_resumes_where_it_was(server: Server, session: RecordingSession) -> None:
    watcher = server.watch(session)
    server.put(b"k")
    server.hub.flush()
    session.congested = True
    for _ in range(5):
        server.put(b"k")
        server.hub.flush()
        server.turn()
    assert not watcher.synced
    session.congested = False
    server.hub.wake()
    server.turn()
    assert watcher.synced
    assert revisions(session) == [2, 3, 4, 5, 6, 7]
    assert session.responses[-1].header.revision == 7


def test_a_slow_session_slows_no_other(server: Server, session: RecordingSession) -> None:
    slow = RecordingSession()
    server.watch(slow)
    server.watch(session)
    slow.congested = True
    for _ in range(3):
        server.put(b"k")
        server.hub.flush()
    assert revisions(session) == [2, 3, 4]
    assert len(server.scheduled) == 1


def test_history_comes_in_slices_that_split_no_revision(
    server: Server, session: RecordingSession
) -> None:
    for number in range(CATCH_UP_RECORDS // 2):
        server.put(b"a%d" % number, b"b", b"c")
    server.put(*(b"x%d" % number for number in range(CATCH_UP_RECORDS * 2)))
    server.put(b"last")
    server.disk.commit()
    last = server.disk.store.revision
    server.watch(session, start=2)
    while server.scheduled:
        server.turn()
    assert len(session.responses) > 2
    found = revisions(session)
    assert found == sorted(found)
    assert len(found) == CATCH_UP_RECORDS // 2 * 3 + CATCH_UP_RECORDS * 2 + 1
    ends = [response.events[-1].kv.mod_revision for response in session.responses]
    starts = [response.events[0].kv.mod_revision for response in session.responses]
    assert all(end < start for end, start in zip(ends, starts[1:], strict=False))
    assert {response.header.revision for response in session.responses} == {last}


def test_more_watchers_than_a_slice_serves(server: Server, session: RecordingSession) -> None:
    server.put(b"k")
    for _ in range(CATCH_UP_WATCHERS + 10):
        server.watch(session, start=1)
    server.turn()
    assert len(session.responses) == CATCH_UP_WATCHERS
    server.turn()
    assert len(session.responses) == CATCH_UP_WATCHERS + 10


def test_writes_while_history_is_read_arrive_once(
    server: Server, session: RecordingSession
) -> None:
    for _ in range(CATCH_UP_RECORDS + 10):
        server.put(b"k")
    server.watch(session, start=1)
    server.turn()
    server.put(b"k")
    server.hub.flush()
    server.turn()
    server.put(b"k")
    server.hub.flush()
    assert revisions(session) == list(range(2, CATCH_UP_RECORDS + 10 + 2 + 2))


def test_compacted_history_ends_a_watcher_and_no_other(
    server: Server, session: RecordingSession
) -> None:
    for _ in range(5):
        server.put(b"k")
    live, old, just = server.watch(session), server.watch(session, 2), server.watch(session, 4)
    server.compact(4)
    server.turn()
    assert session.ended == {old.id: 4}
    assert [response.watch_id for response in session.responses] == [just.id]
    server.put(b"k")
    server.hub.flush()
    assert [event.kv.mod_revision for event in session.responses[0].events] == [4, 5, 6]
    assert {response.watch_id for response in session.responses[1:]} == {live.id, just.id}
    server.hub.remove(old)


def test_a_watcher_that_lags_behind_a_compaction_is_ended(
    server: Server, session: RecordingSession
) -> None:
    watcher = server.watch(session)
    session.congested = True
    for _ in range(3):
        server.put(b"k")
        server.hub.flush()
    server.compact(4)
    session.congested = False
    server.hub.wake()
    server.turn()
    assert session.ended == {watcher.id: 4}
    assert session.responses == []


def test_a_removed_watcher_gets_nothing(server: Server, session: RecordingSession) -> None:
    """Whether it was synced, waited for its start, or lagged."""
    server.put(b"k")
    for start in (0, 3, 5, 1):
        server.hub.remove(server.watch(session, start=start))
    for _ in range(5):
        server.put(b"k")
    server.hub.flush()
    server.turn()
    assert session.responses == []


def test_the_previous_value_is_that_of_the_revision_before(
    server: Server, session: RecordingSession
) -> None:
    """Not that of an earlier change of the same transaction; none for what was compacted."""
    server.watch(session, selector=ALL_WITH_PREVIOUS)
    server.put(b"k", size=3)
    server.put(b"k", size=4)
    server.disk.store.begin()
    server.disk.store.put(b"k", b"in between", 0)
    server.disk.store.delete(b"k")
    server.hub.notify(4, server.disk.store.end())
    server.put(b"k", size=6)
    server.hub.flush()
    events = [event for response in session.responses for event in response.events]
    previous = [len(each.prev_kv.value) if each.HasField("prev_kv") else None for each in events]
    assert previous == [None, 3, 4, 4, None]
    assert [event.type for event in events] == [Event.PUT] * 3 + [Event.DELETE, Event.PUT]
    late = RecordingSession()
    server.compact(3)
    server.watch(late, start=3, selector=ALL_WITH_PREVIOUS)
    server.turn()
    events = [event for response in late.responses for event in response.events]
    previous = [len(each.prev_kv.value) if each.HasField("prev_kv") else None for each in events]
    assert previous == [None, 4, 4, None]


@pytest.mark.parametrize("live", [True, False])
def test_fragments_stay_below_the_limit(
    server: Server, session: RecordingSession, live: bool
) -> None:
    sizes = (900, 900, 100, 100, 5000, 100, 900, 900, 900)
    if live:
        server.watch(session, fragment=True)
    for number, size in enumerate(sizes):
        server.put(b"k%d" % number, size=size)
    server.hub.flush()
    if not live:
        server.watch(session, start=1, fragment=True)
        server.turn()
    assert [len(event.kv.value) for each in session.responses for event in each.events] == [*sizes]
    *pieces, last = session.responses
    assert len(pieces) >= 4
    assert all(piece.fragment for piece in pieces)
    assert not last.fragment
    assert {each.header.revision for each in session.responses} == {10}
    assert {each.watch_id for each in session.responses} == {1}
    for response, size in zip(session.responses, session.sizes, strict=True):
        assert size < FRAGMENT_BYTES or len(response.events) == 1
    # Greedy: no piece would have taken the next one's first event.
    for piece, following in zip(session.responses, session.responses[1:], strict=False):
        more = piece.ByteSize() + following.events[0].ByteSize()
        assert more >= FRAGMENT_BYTES - 50


def test_without_the_option_a_response_has_any_size(
    server: Server, session: RecordingSession
) -> None:
    server.watch(session)
    server.put(*(b"k%d" % number for number in range(10)), size=1000)
    server.hub.flush()
    (response,) = session.responses
    assert len(response.events) == 10
    assert not response.fragment


def test_a_single_event_is_never_marked_as_a_fragment(
    server: Server, session: RecordingSession
) -> None:
    server.watch(session, fragment=True)
    server.put(b"k", size=FRAGMENT_BYTES * 2)
    server.hub.flush()
    (response,) = session.responses
    assert not response.fragment
