"""Watches resume without losing or repeating anything, wherever a stream breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.client import errors
from pykvd.client.engine import Engine
from pykvd.client.pool import Pool
from pykvd.client.requests import watch_request
from pykvd.client.steps import Open, Receive, Send, Step
from pykvd.client.transport import CallError
from pykvd.client.watching import Progress, Watcher
from pykvd.pb import kv_pb2
from pykvd.pb import rpc_pb2 as rpc
from pykvd.status import Code
from tests.unit.client.plans import Clock, play

if TYPE_CHECKING:
    from pykvd.client.values import Event

BROKEN = CallError(Code.UNAVAILABLE, "connection lost")


class Server:
    """Answers watches of one key from a history that grows; cuts streams when told."""

    def __init__(self, clock: Clock, batch: int = 1) -> None:
        self.clock = clock
        self.batch = batch
        self.revision = 1
        self.compacted = 0
        self.opened = 0
        self.failures: list[CallError | None] = []
        """What becomes of the next receives; None (and an end of the list): a message."""

    def __call__(self, step: Step) -> object:
        if isinstance(step, Open):
            self.opened += 1
            return ServerStream(self)
        assert isinstance(step, Receive)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            return failure
        stream = step.stream
        assert isinstance(stream, ServerStream)
        return stream.next()


class ServerStream:
    """One stream of it, with one watch."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.at = 0
        self.created = False

    def send(self, message: bytes, *, last: bool = False) -> None:
        start = rpc.WatchRequest.FromString(message).create_request.start_revision
        self.at = start or self.server.revision + 1

    def receive(self, deadline: float | None = None) -> bytes | None:
        raise NotImplementedError  # the test's driver asks `next`

    def interrupt(self) -> None:
        raise NotImplementedError  # one consumer never does

    def close(self) -> None:
        pass

    def next(self) -> bytes:
        server = self.server
        header = rpc.ResponseHeader(revision=server.revision)
        if not self.created:
            self.created = True
            return rpc.WatchResponse(header=header, created=True).SerializeToString()
        if self.at < server.compacted:
            gone = rpc.WatchResponse(canceled=True, compact_revision=server.compacted)
            return gone.SerializeToString()
        if self.at > server.revision:
            server.revision += 1
            header.revision = server.revision
        last = min(server.revision, self.at + server.batch - 1)
        events = [
            kv_pb2.Event(kv=kv_pb2.KeyValue(key=b"k", mod_revision=revision))
            for revision in range(self.at, last + 1)
        ]
        self.at = last + 1
        return rpc.WatchResponse(header=header, events=events).SerializeToString()


def make_watcher(
    clock: Clock, start: int = 0, patience: float | None = None, **options: object
) -> Watcher:
    engine = Engine(Pool("ab"), clock=clock, **options)  # type: ignore[arg-type]
    return Watcher(engine, watch_request("k", start_revision=start), patience)


def fill_for_ever(watcher: Watcher, server: Server) -> None:
    """Until it raises; there are no events."""
    while True:
        assert play(watcher.fill(), server, server.clock) == []


@given(
    st.lists(st.sampled_from([None, None, None, BROKEN]), max_size=40),
    st.integers(1, 5),
    st.integers(0, 6),
    st.integers(1, 9),
)
def test_every_revision_once_and_in_order(
    failures: list[CallError | None], batch: int, start: int, revision: int
) -> None:
    clock = Clock()
    server = Server(clock, batch)
    server.revision = revision
    watcher = make_watcher(clock, start)
    play(watcher.start(clock.now + 1e6), server, clock)
    server.failures = failures
    seen: list[int] = []
    while len(seen) < 15 or server.failures:
        seen += [event.revision for event in play(watcher.fill(), server, clock)]
        assert watcher.revision == (seen[-1] if seen else watcher.revision)
    first = start or revision + 1
    assert seen == list(range(first, first + len(seen)))


def test_history_that_is_gone_raises_compacted() -> None:
    clock = Clock()
    server = Server(clock)
    watcher = make_watcher(clock)
    play(watcher.start(clock.now + 10), server, clock)
    play(watcher.fill(), server, clock)
    server.revision, server.compacted = 100, 90
    server.failures = [BROKEN]
    with pytest.raises(errors.Compacted) as raised:
        fill_for_ever(watcher, server)
    assert raised.value.compact_revision == 90
    assert watcher.closed
    assert play(watcher.fill(), server, clock) == []


def test_patience_ends() -> None:
    clock = Clock()
    server = Server(clock)
    watcher = make_watcher(clock, patience=5.0)
    play(watcher.start(clock.now + 10), server, clock)
    server.failures = [BROKEN] * 1000
    start = clock.now
    with pytest.raises(errors.Unavailable, match="connection lost"):
        fill_for_ever(watcher, server)
    assert 5.0 <= clock.now - start < 7.0


def test_without_patience_it_goes_on() -> None:
    clock = Clock()
    server = Server(clock)
    watcher = make_watcher(clock, patience=None)
    play(watcher.start(clock.now + 10), server, clock)
    server.failures = [BROKEN] * 500
    assert play(watcher.fill(), server, clock)
    assert not server.failures


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
            errors.PermissionDenied,
        ),
        ("etcdserver: mvcc: required revision has been compacted", errors.Compacted),
        ("mvcc: watcher range is empty", errors.WatchCanceled),
        ("", errors.WatchCanceled),
    ],
)
def test_reasons_are_typed(reason: str, kind: type[errors.EtcdError]) -> None:
    progress = Progress(watch_request("k"))
    response = rpc.WatchResponse(created=True, canceled=True, cancel_reason=reason, watch_id=-1)
    with pytest.raises(kind):
        progress.receive(response)


def test_progress_moves_the_point_to_resume_from() -> None:
    progress = Progress(watch_request("k"))
    header = rpc.ResponseHeader(revision=7)
    progress.receive(rpc.WatchResponse(header=header, created=True))
    assert progress.next_revision == 8
    header.revision = 20
    assert progress.receive(rpc.WatchResponse(header=header)) == []
    assert progress.create().start_revision == 21


def response(*revisions: int, fragment: bool = False) -> rpc.WatchResponse:
    events = [
        kv_pb2.Event(kv=kv_pb2.KeyValue(key=b"k", mod_revision=revision)) for revision in revisions
    ]
    return rpc.WatchResponse(events=events, fragment=fragment)


def revisions(events: list[Event]) -> list[int]:
    return [event.revision for event in events]


def test_a_revision_that_is_cut_is_handed_out_whole() -> None:
    progress = Progress(watch_request("k", start_revision=5))
    assert progress.create().fragment
    assert revisions(progress.receive(response(5, 6, 7, fragment=True))) == [5, 6]
    assert progress.next_revision == 7
    assert progress.receive(response(7, fragment=True)) == []
    assert revisions(progress.receive(response(7, 8, fragment=True))) == [7, 7, 7]
    assert revisions(progress.receive(response(8, 9))) == [8, 8, 9]
    assert progress.next_revision == 10
    assert revisions(progress.receive(response(10))) == [10]


def test_fragments_of_a_lost_stream_come_again() -> None:
    progress = Progress(watch_request("k", start_revision=5))
    assert revisions(progress.receive(response(5, 6, fragment=True))) == [5]
    progress.detached()
    assert progress.create().start_revision == 6
    assert revisions(progress.receive(response(6, 6))) == [6, 6]


def test_a_stale_login_is_renewed() -> None:
    clock = Clock()
    server = Server(clock)
    logins = []

    def answer(step: Step) -> object:
        if isinstance(step, Send):
            logins.append(step)
            return rpc.AuthenticateResponse(token=f"t{len(logins)}").SerializeToString()
        if isinstance(step, Receive) and len(logins) == 1:
            reason = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
            refused = rpc.WatchResponse(created=True, canceled=True, cancel_reason=reason)
            return refused.SerializeToString()
        return server(step)

    watcher = make_watcher(clock, login=("user", "password"))
    play(watcher.start(clock.now + 10), answer, clock)
    assert len(logins) == 2
    assert play(watcher.fill(), server, clock)
