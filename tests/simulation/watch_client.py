"""Clients that watch, and go on elsewhere when their member fails them.

A watch is one logical subscription: it survives streams. What the watch API guarantees is checked
as the responses come in, against the truth: events are those of the range (filter), in order of
revision (ordered), never seen before (unique), whole revisions at a time (atomic), without a gap
(reliable), on whichever member the watch goes on (resumable), with the right previous value; a
progress notice of revision r comes after every event up to r (bookmark).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.errors import Failure
from pykvd.pb import kv_pb2
from pykvd.pb import rpc_pb2 as rpc
from tests.simulation.raft_checks import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pykvd.transport import StreamReceiver
    from tests.simulation.member import Process
    from tests.simulation.truth import Truth
    from tests.simulation.world import World

PATIENCE_SECONDS = 3.0
"""A client that has heard nothing for so long asks for progress, or tries another member."""
REFUSALS = tuple(
    f"rpc error: code = {code} desc = {failure.text}"
    for code, failure in (
        ("InvalidArgument", Failure.USER_EMPTY),
        ("InvalidArgument", Failure.AUTH_OLD_REVISION),
        ("Unauthenticated", Failure.INVALID_TOKEN),
    )
)
"""Root's token may be a bad one for a while."""
WINDOW_BYTES = 600
"""What a slow client takes at a time."""


class WatchStream:
    """`pykvd.transport.Stream`: responses arrive in order, each after a delay."""

    def __init__(self, client: WatchClient, process: Process, slowness: float) -> None:
        token = process.world.administrator.token
        self.metadata: Mapping[str, str | bytes] = {"token": token} if token else {}
        self.deadline: float | None = None
        self.peer = "127.0.0.1:2"
        self.common_name = ""
        self.done = False
        self.buffered = 0
        self.process = process
        self._client = client
        self._world = process.world
        self._slowness = slowness
        self._arrival = 0.0
        self._receiver: StreamReceiver | None = None

    @property
    def congested(self) -> bool:
        """Whether too much waits."""
        return self.buffered > WINDOW_BYTES

    def open(self, request: rpc.WatchCreateRequest) -> None:
        """Reach the service, in the process's turn."""
        self._receiver = self.process.offered.watch(self)
        self.request(rpc.WatchRequest(create_request=request))

    def request(self, request: rpc.WatchRequest) -> None:
        """Send a request on the stream, in the process's turn."""
        assert self._receiver
        if not self.done:
            self._receiver.message_received(request.SerializeToString())

    def close(self) -> None:
        """The client goes away; the service learns of it if it lives."""
        self.done = True
        receiver = self._receiver
        if receiver is not None:
            self.process.loop.run(receiver.closed)

    def send_headers(self) -> None:
        """Nothing to see."""

    def send(self, message: bytes) -> None:
        """Queue one message."""
        if self.done:
            return
        self.buffered += len(message)
        now = self._world.scheduler.now
        delay = self._client.delay() + self._slowness * len(message)
        self._arrival = max(self._arrival, now) + delay
        self._world.scheduler.at(self._arrival, lambda: self._arrive(message))

    def send_shared(self, framed: bytes) -> None:
        """Queue one message that carries its gRPC prefix."""
        self.send(framed[5:])

    def _arrive(self, message: bytes) -> None:
        was_congested = self.congested
        self.buffered -= len(message)
        if self.done:
            return
        self._client.received(self, rpc.WatchResponse.FromString(message))
        receiver = self._receiver
        if was_congested and not self.congested and receiver is not None and not self.done:
            self.process.loop.run(receiver.writable)

    def finish(self, code: int = 0, message: str = "") -> None:
        """The service ends the stream."""
        self.done = True

    def pause_reading(self) -> None:
        """Requests are rare."""

    def resume_reading(self) -> None:
        """Requests are rare."""


class WatchClient:
    """One subscription. `next` is the first revision that was not seen yet."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._rng = rng = world.rng_for(f"watch {number}")
        self._number = number
        self.key, self.end = rng.choice(((b"k0", b""), (b"k", b"l"), (b"k1", b"k3"), (b"k", b"l")))
        self.prev_kv = rng.random() < 0.5
        self.filter = rng.choice(
            (None, None, None, rpc.WatchCreateRequest.NOPUT, rpc.WatchCreateRequest.NODELETE)
        )
        self.slowness = rng.choice((0.0, 0.0, 0.0003, 0.001))
        self.next = 0
        self.compactions = 0
        self._progress = 0
        self._heard = -PATIENCE_SECONDS
        self._stream: WatchStream | None = None

    def begin(self) -> None:
        """Watch from the beginning, from now, or from a revision that is yet to come."""
        self._world.scheduler.after(self._rng.uniform(0.5, 3.0), self._first)

    def _first(self) -> None:
        truth = self._world.checks.truth
        ahead = truth.revision + self._rng.randint(0, 4)
        self.next = self._rng.choice((1, ahead))
        if truth.compacted > self.next:
            self.next = truth.compacted
        self._connect()
        self._check_on_it()

    def delay(self) -> float:
        """How long a response travels."""
        conditions = self._world.network.conditions
        return conditions.delay + self._rng.random() * conditions.jitter

    # Streams

    def _connect(self) -> None:
        """Go on at some member that lets us in; or try again a little later."""
        self._leave()
        serving = [each for each in self._world.members.values() if each.serving]
        if not serving:
            return
        self.connect(self._rng.choice(serving))

    def connect(self, process: Process) -> None:
        """Watch on this member, from `next` on."""
        self._leave()
        stream = self._stream = WatchStream(self, process, self.slowness)
        self._progress = 0
        self._heard = self._world.scheduler.now
        self._world.note("w%d watches on m%d from %d", self._number, process.id, self.next)
        request = rpc.WatchCreateRequest(
            key=self.key,
            range_end=self.end,
            start_revision=self.next,
            prev_kv=self.prev_kv,
            progress_notify=True,
            filters=[] if self.filter is None else [self.filter],
        )

        def arrive() -> None:
            if process.serving and self._stream is stream:
                process.loop.run(lambda: stream.open(request))

        self._world.scheduler.after(self.delay(), arrive)

    def _leave(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def disconnected(self, process: Process) -> None:
        """A member is gone: its streams break."""
        if self._stream is not None and self._stream.process is process:
            self._stream.done = True
            self._stream = None
            self._world.scheduler.after(self._rng.uniform(0.01, 0.5), self._reconnect)

    def _reconnect(self) -> None:
        if self._stream is None:
            self._connect()

    def _check_on_it(self) -> None:
        """Now and then ask for progress, or leave a member for another."""
        self._world.scheduler.after(PATIENCE_SECONDS * self._rng.random(), self._check_on_it)
        stream = self._stream
        silent = self._world.scheduler.now - self._heard > PATIENCE_SECONDS
        restless = not self._world.healed and self._rng.random() < 0.1
        if stream is None or silent or restless:
            self._connect()
        else:
            request = rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())
            stream.process.loop.run(lambda: stream.request(request) if stream._receiver else None)

    # Responses

    def received(self, stream: WatchStream, response: rpc.WatchResponse) -> None:
        """Take and check a response."""
        if stream is not self._stream:
            return
        self._heard = self._world.scheduler.now
        if response.events:
            self._events(response)
        elif response.canceled:
            self._canceled(response)
        elif not response.created:
            self._world.count("watch progress")
            self._progress_to(response.header.revision)

    def _events(self, response: rpc.WatchResponse) -> None:
        truth = self._world.checks.truth
        revisions = [event.kv.mod_revision for event in response.events]
        last = revisions[-1]
        self._world.count("watch response")
        self._world.note("w%d sees %d..%d", self._number, revisions[0], last)
        if revisions[0] < self.next:
            self._fail(f"event of revision {revisions[0]} after {self.next - 1}")
        if revisions[0] <= self._progress:
            self._fail(f"event of revision {revisions[0]} after progress {self._progress}")
        if response.header.revision < last:
            self._fail(f"event of revision {last} under header {response.header.revision}")
        expected = self._expected(truth, self.next, last)
        found = [_summary(event) for event in response.events]
        if found != expected:
            self._fail(f"events {found}, not {expected}")
        if self.prev_kv:
            self._check_previous(truth, response)
        self.next = last + 1

    def _expected(self, truth: Truth, first: int, last: int) -> list[tuple[int, bytes, bytes]]:
        """(revision, key, value or tombstone) of the events that the watch selects."""
        events = []
        for revision in range(first, last + 1):
            for key, kv in truth.changes.get(revision, ()):
                if self._selects(key, deleted=kv is None):
                    value = b"deleted" if kv is None else kv.value
                    events.append((revision, key, value))
        return events

    def _selects(self, key: bytes, *, deleted: bool) -> bool:
        if self.filter is not None:
            no_puts = self.filter == rpc.WatchCreateRequest.NOPUT
            if deleted != no_puts:
                return False
        return self.key <= key < self.end if self.end else key == self.key

    def _check_previous(self, truth: Truth, response: rpc.WatchResponse) -> None:
        for event in response.events:
            before = truth.get(event.kv.key, event.kv.mod_revision - 1)
            if not event.HasField("prev_kv"):
                if before is not None and event.kv.mod_revision > truth.compacted:
                    self._fail(f"no previous value at {event.kv.mod_revision}")
            elif before != event.prev_kv:
                self._fail(f"wrong previous value at {event.kv.mod_revision}")

    def _progress_to(self, revision: int) -> None:
        """All events up to `revision` were sent before."""
        truth = self._world.checks.truth
        missing = self._expected(truth, self.next, revision)
        if missing:
            self._fail(f"progress {revision} before {missing}")
        if revision > truth.revision:
            self._fail(f"progress {revision}, which nobody reached")
        self._progress = max(self._progress, revision)
        self.next = max(self.next, revision + 1)

    def _canceled(self, response: rpc.WatchResponse) -> None:
        compacted = response.compact_revision
        if response.cancel_reason in REFUSALS:
            self._leave()
            self._world.count("watch refused")
            self._world.scheduler.after(self._rng.uniform(0.1, 0.5), self._reconnect)
            return
        if not self.next < compacted <= self._world.checks.truth.compacted:
            self._fail(f"compacted at {compacted}, wanted from {self.next}")
        self._world.count("watch compacted")
        self.compactions += 1
        self.next = compacted
        self._connect()

    def finish(self) -> None:
        """At the end of the quiet phase nothing may be missing."""
        missing = self.missing()
        if missing:
            self._fail(f"never saw {missing}")

    def missing(self) -> list[tuple[int, bytes, bytes]]:
        """What there is to see and was not seen yet."""
        truth = self._world.checks.truth
        return self._expected(truth, self.next, truth.revision)

    def _fail(self, what: str) -> None:
        where = f"m{self._stream.process.id}" if self._stream is not None else "nowhere"
        raise Violation(f"w{self._number} on {where}: {what}")


def _summary(event: kv_pb2.Event) -> tuple[int, bytes, bytes]:
    deleted = event.type == kv_pb2.Event.DELETE
    return event.kv.mod_revision, event.kv.key, b"deleted" if deleted else event.kv.value
