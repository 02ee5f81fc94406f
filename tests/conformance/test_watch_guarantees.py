"""What a watch promises: ordered, unique, atomic, reliable, resumable, with the right `prev_kv`.

One writer that knows its whole history, hundreds of watches, compactions close behind, readers that
stop reading, streams that break. `PYKVD_WATCH_SEED` replays a run.
"""

import os
import random
from contextlib import ExitStack
from itertools import pairwise

import pytest

from pykvd.pb import kv_pb2, rpc_pb2
from tests.conformance.history import EVERYTHING, NODELETE, NOPUT, Watched, Writer, without_previous
from tests.harness import Client, Kind, WatchStream, running
from tests.harness.watching import is_progress

SEED = int(os.environ.get("PYKVD_WATCH_SEED", "1"))
KEYS = [f"k/{number:02}".encode() for number in range(24)]
STREAMS = 6
WATCHES = 300
WRITES = 600
COMPACT_EVERY = 25
COMPACT_BEHIND = 10


def random_watch(rng: random.Random, start: int) -> Watched:
    """A watch of one key, a span of keys, or everything."""
    key, range_end = rng.choice(KEYS), b""
    choice = rng.random()
    if choice < 0.15:
        range_end = min(KEYS[-1] + b"\x00", key + rng.choice((b"\x00", b"\xff")))
    elif choice < 0.25:
        key, range_end = sorted(rng.sample(KEYS, 2))
    elif choice < 0.30:
        key = range_end = EVERYTHING
    filters = (rng.choice((NOPUT, NODELETE)),) if rng.random() < 0.2 else ()
    return Watched(key, range_end, start, rng.random() < 0.5, filters)


class Watching:
    """The watches of one stream, by id; `live` are those that had no history to catch up with."""

    def __init__(self, stream: WatchStream) -> None:
        self.stream = stream
        self.watches: dict[int, Watched] = {}
        self.live: set[int] = set()

    def add(self, watched: Watched) -> None:
        created = self.stream.create(watched.request())
        assert not created.canceled, created
        self.watches[created.watch_id] = watched
        if watched.start > created.header.revision:
            self.live.add(created.watch_id)

    def wait_for(self, writer: Writer) -> None:
        """Wait until every watch has the last event that it is owed, or has ended."""
        for watch_id, watched in self.watches.items():
            revision = writer.owed(watched)[-1].kv.mod_revision
            self.stream.wait(
                lambda watch_id=watch_id, revision=revision: (  # type: ignore[misc]
                    self.stream.canceled(watch_id) is not None
                    or self.last_revision(watch_id) == revision
                ),
                f"watch {watch_id} to reach revision {revision}",
            )

    def last_revision(self, watch_id: int) -> int:
        events = self.stream.events(watch_id)
        return events[-1].kv.mod_revision if events else 0


def check(watching: Watching, writer: Writer) -> set[int]:
    """Hold every watch of a stream against the history; the ids that compaction ended."""
    cut = set()
    for watch_id, watched in watching.watches.items():
        got = watching.stream.events(watch_id)
        canceled = watching.stream.canceled(watch_id)
        if canceled is not None:
            cut.add(watch_id)
            check_compacted(canceled, got, watched, writer)
        check_events(got, writer.owed(watched), writer, whole=canceled is None)
        check_batches(watching, watch_id)
    return cut


def check_events(
    got: list[kv_pb2.Event], owed: list[kv_pb2.Event], writer: Writer, whole: bool
) -> None:
    """Ordered, unique, without a gap; `prev_kv` may be missing only where it is compacted."""
    assert len(got) == len(owed) if whole else len(got) <= len(owed)
    for one, other in zip(got, owed, strict=False):
        lost = other.HasField("prev_kv") and not one.HasField("prev_kv")
        if lost and other.kv.mod_revision - 1 < writer.compacted:
            other = without_previous(other)
        assert one == other


def check_batches(watching: Watching, watch_id: int) -> None:
    """A revision is never split between responses, and headers are not behind their events."""
    batches = [
        response
        for response in watching.stream.responses
        if response.watch_id == watch_id and response.events
    ]
    for response in batches:
        assert not response.fragment
        assert response.header.revision >= response.events[-1].kv.mod_revision
    for one, following in pairwise(batches):
        assert one.events[-1].kv.mod_revision < following.events[0].kv.mod_revision


def check_compacted(
    canceled: rpc_pb2.WatchResponse, got: list[kv_pb2.Event], watched: Watched, writer: Writer
) -> None:
    """A watch may end only by a compaction beyond what it had delivered."""
    reached = got[-1].kv.mod_revision if got else watched.start - 1
    assert reached < canceled.compact_revision <= writer.compacted
    assert canceled.header.revision == 0
    assert canceled.cancel_reason == ""


@pytest.mark.parametrize("compacting", [False, True], ids=["keeping", "compacting"])
def test_hundreds_of_watches(subject_kind: Kind, compacting: bool) -> None:
    """None starves (etcd-io/etcd#17529), no event comes twice (#17247)."""
    rng = random.Random(SEED)
    with ExitStack() as stack:
        server = stack.enter_context(running(subject_kind))
        clients = [stack.enter_context(Client(server.endpoint)) for _ in range(3)]
        writer = Writer(clients[0], KEYS, rng)
        streams = [
            Watching(stack.enter_context(WatchStream(clients[1 + number % 2])))
            for number in range(STREAMS)
        ]
        for number in range(WRITES):
            if number % 2 == 0 and number // 2 < WATCHES:
                past = rng.choice((0, rng.randrange(20)))
                start = max(writer.compacted, writer.revision - past) + 1
                streams[rng.randrange(STREAMS)].add(random_watch(rng, start))
            writer.write()
            if compacting and number % COMPACT_EVERY == 0:
                writer.compact(COMPACT_BEHIND)
        finish(writer, streams)
        for watching in streams:
            cut = check(watching, writer)
            assert compacting or not cut
            assert not cut & watching.live


def finish(writer: Writer, streams: list[Watching]) -> None:
    """End the history with an event for every watch, and wait for it everywhere."""
    for key in KEYS:
        writer.commit([writer.put_op(key)])
    writer.delete_all()
    for watching in streams:
        watching.wait_for(writer)


def test_readers_that_stop_hold_nobody_up(subject_kind: Kind) -> None:
    rng = random.Random(SEED)
    with ExitStack() as stack:
        server = stack.enter_context(running(subject_kind))
        clients = [stack.enter_context(Client(server.endpoint)) for _ in range(3)]
        writer = Writer(clients[0], KEYS, rng)
        slow, quick = (Watching(stack.enter_context(WatchStream(client))) for client in clients[1:])
        for watching in (slow, quick):
            for _ in range(20):
                span = Watched(b"k/", b"k0", writer.revision + 1, prev_kv=True)
                watching.add(span)
        slow.stream.pause()
        for _ in range(WRITES):
            writer.write()
        finish(writer, [quick])
        assert not check(quick, writer)
        slow.stream.resume()
        slow.wait_for(writer)
        assert not check(slow, writer)


def test_a_broken_stream_resumes_where_it_was(subject_kind: Kind) -> None:
    rng = random.Random(SEED)
    with ExitStack() as stack:
        server = stack.enter_context(running(subject_kind))
        client = stack.enter_context(Client(server.endpoint))
        writer = Writer(client, KEYS, rng)
        got: list[kv_pb2.Event] = []
        whole = Watched(EVERYTHING, EVERYTHING, writer.revision + 1, prev_kv=True)
        for _ in range(12):
            start = got[-1].kv.mod_revision + 1 if got else whole.start
            with Client(server.endpoint) as other, WatchStream(other) as stream:
                watched = Watched(EVERYTHING, EVERYTHING, start, prev_kv=True)
                watch_id = stream.create(watched.request()).watch_id
                for _ in range(rng.randrange(1, 30)):
                    writer.write()
                stream.wait(lambda: len(stream.events(watch_id)) > 0, "some events")  # noqa: B023
                got += stream.events(watch_id)
        check_events(got, writer.owed(whole, got[-1].kv.mod_revision), writer, whole=True)


def test_progress_is_never_ahead_of_events(subject_kind: Kind) -> None:
    """etcd-io/etcd#15220."""
    rng = random.Random(SEED)
    with ExitStack() as stack:
        server = stack.enter_context(running(subject_kind))
        clients = [stack.enter_context(Client(server.endpoint)) for _ in range(2)]
        writer = Writer(clients[0], KEYS, rng)
        watching = Watching(stack.enter_context(WatchStream(clients[1])))
        for number in range(300):
            if number % 3 == 0:
                start = max(2, writer.revision - rng.randrange(10))
                watching.add(random_watch(rng, start))
            writer.write()
            watching.stream.ask_progress()
        finish(writer, [watching])
        watching.stream.ask_progress()
        watching.stream.wait(
            lambda: (
                watching.stream.progress()[-1:] != []
                and watching.stream.progress()[-1].header.revision == writer.revision
            ),
            "the last progress answer",
        )
        promised: dict[int, int] = {}
        for response in watching.stream.responses:
            if response.created:
                # It may still be owed history from before earlier promises.
                promised[response.watch_id] = 0
            elif is_progress(response):
                promised = dict.fromkeys(promised, response.header.revision)
            elif response.events:
                assert response.events[0].kv.mod_revision > promised[response.watch_id]
        assert set(promised.values()) == {writer.revision}
        check(watching, writer)


@pytest.mark.parametrize("ahead", [1, 3])
def test_nothing_before_a_future_start(subject_kind: Kind, ahead: int) -> None:
    rng = random.Random(SEED)
    with running(subject_kind) as server, Client(server.endpoint) as client:
        writer = Writer(client, KEYS, rng)
        with WatchStream(client) as stream:
            watching = Watching(stream)
            watching.add(Watched(EVERYTHING, EVERYTHING, writer.revision + ahead))
            for _ in range(20):
                writer.write()
            finish(writer, [watching])
            check(watching, writer)


@pytest.mark.parametrize("offset", [-1, 0, 1])
@pytest.mark.parametrize("delete_at", [-1, 0, 1])
def test_a_delete_around_a_compaction(client: Client, offset: int, delete_at: int) -> None:
    """Watches from, and deletes at, the revisions around a compaction."""
    rng = random.Random(f"{offset}/{delete_at}")
    prefix = f"d/{offset}/{delete_at}/".encode()
    keys = [prefix + bytes([letter]) for letter in b"abcdefgh"]
    writer = Writer(client, keys, rng)
    writer.commit([writer.put_op(key) for key in keys])
    at = writer.revision + 3
    while writer.revision < at + 4:
        if writer.revision + 1 == at + delete_at:
            writer.commit([writer.delete_op(keys[0])])
        else:
            writer.commit([writer.put_op(rng.choice(keys[1:]))])
    writer.compact(writer.revision - at)
    watched = Watched(prefix, prefix + b"\xff", at + offset)
    with WatchStream(client) as stream:
        watch_id = stream.create(watched.request()).watch_id
        if offset < 0:
            stream.wait(lambda: stream.canceled(watch_id) is not None, "the end of the watch")
            return
        owed = writer.owed(watched)
        stream.wait(lambda: len(stream.events(watch_id)) >= len(owed), "the history")
        assert stream.events(watch_id) == owed


@pytest.mark.timeout(60)
def test_large_batches_come_in_fragments(client: Client) -> None:
    rng = random.Random(SEED)
    keys = [b"f/%d" % number for number in range(6)]
    writer = Writer(client, keys, rng)
    first = writer.revision + 1
    for key in keys:
        put = rpc_pb2.PutRequest(key=key, value=rng.randbytes(700_000))
        writer.commit([rpc_pb2.RequestOp(request_put=put)])
    for fragment in (True, False):
        with WatchStream(client) as stream:
            request = Watched(b"f/", b"f0", first).request()
            request.fragment = fragment
            watch_id = stream.create(request).watch_id
            stream.wait(lambda: len(stream.events(watch_id)) == len(keys), "all events")  # noqa: B023
            batches = [response for response in stream.responses if response.events]
            assert stream.events(watch_id) == writer.owed(Watched(b"f/", b"f0", first))
            flags = [response.fragment for response in batches]
            assert flags == ([True, True, False] if fragment else [False])
            if fragment:
                assert all(response.ByteSize() < (2 << 20) for response in batches)
                assert len({response.header.revision for response in batches}) == 1
