"""A watch's place in history: what it asks for after a break, what it delivers."""

from pykvctl.watcher import Watch, WatchUpdate
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc


def response(*revisions: int, header: int = 0) -> rpc.WatchResponse:
    """A message with an event of each revision."""
    events = [kvpb.Event(kv=kvpb.KeyValue(key=b"k", mod_revision=r)) for r in revisions]
    return rpc.WatchResponse(header=rpc.ResponseHeader(revision=header), events=events)


def delivered(watch: Watch) -> list[list[int]]:
    """Revisions of the updates until the end."""
    watch.end(rpc.WatchResponse(canceled=True), "over")
    return [[e.kv.mod_revision for e in update.response.events] for update in watch][:-1]


def start_of(watch: Watch) -> int:
    """The revision it would ask for now."""
    return int(watch.create_request().create_request.start_revision)


def test_a_fresh_watch_starts_behind_the_revision_it_was_confirmed_at() -> None:
    watch = Watch(rpc.WatchCreateRequest(key=b"k"))
    assert start_of(watch) == 0
    watch.confirm(rpc.WatchResponse(created=True, header=rpc.ResponseHeader(revision=7)))
    assert start_of(watch) == 8


def test_a_watch_of_history_keeps_its_start_until_it_got_events() -> None:
    watch = Watch(rpc.WatchCreateRequest(key=b"k", start_revision=3))
    watch.confirm(rpc.WatchResponse(created=True, header=rpc.ResponseHeader(revision=7)))
    assert start_of(watch) == 3
    watch.deliver(response(3, 5, header=7))
    assert start_of(watch) == 6


def test_progress_of_the_watch_moves_the_start() -> None:
    watch = Watch(rpc.WatchCreateRequest(key=b"k", start_revision=3))
    watch.confirm(rpc.WatchResponse(created=True, watch_id=0))
    watch.deliver(response(header=9))
    assert start_of(watch) == 10


def test_progress_of_the_stream_hides_no_history() -> None:
    """Old servers answer progress requests before they have sent what happened earlier."""
    watch = Watch(rpc.WatchCreateRequest(key=b"k", start_revision=3))
    watch.confirm(rpc.WatchResponse(created=True, watch_id=0))
    progress = response(header=9)
    progress.watch_id = -1
    watch.deliver(progress)
    watch.deliver(response(4))
    assert delivered(watch) == [[], [4]]


def test_what_was_delivered_is_not_delivered_again() -> None:
    watch = Watch(rpc.WatchCreateRequest(key=b"k", start_revision=1))
    watch.deliver(response(2, 3))
    watch.deliver(response(2, 3))
    watch.deliver(response(3, 4, 4))
    assert delivered(watch) == [[2, 3], [4, 4]]


def test_only_messages_without_events_are_progress() -> None:
    assert WatchUpdate(response(header=5)).is_progress
    assert not WatchUpdate(response(5, header=5)).is_progress
    assert not WatchUpdate(rpc.WatchResponse(canceled=True)).is_progress
