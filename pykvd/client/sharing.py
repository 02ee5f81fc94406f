"""All watches of a client on one stream, as plans.

Nobody reads that stream in the background. Of those who wait for a watch one *leads*: it reads for
all, and the others sleep until something has come for them or the lead is passed on to them. While
nobody waits nothing is read, and the server notices.

What comes for a watch while its consumer is away is kept, up to `BACKLOG_BYTES` and one message.
Above that the watch is *parked*: cancelled at the server, and made again from where it is when its
consumer has taken all that was kept. So a slow consumer stops nobody, costs a bounded amount of
memory, and misses nothing, unless the history it needs is compacted meanwhile.

When the stream breaks, the leader opens another one at the next endpoint, and each watch goes on
with the revision after the last one that came for it.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from pykvd.client import errors, methods
from pykvd.client.retry import NO_LOGIN, translate
from pykvd.client.steps import REQUIRE_LEADER, Await, Open, Receive
from pykvd.client.transport import CallError, decode
from pykvd.pb import rpc_pb2 as rpc
from pykvd.status import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan, Signal
    from pykvd.client.transport import AsyncStream, Metadata, Stream
    from pykvd.client.watching import Watcher

BACKLOG_BYTES: Final = 1 << 20
"""What is kept of one watch for a consumer that is away, as it came over the wire."""
PAUSE_MIN: Final = 0.05
"""After a broken stream, in seconds; doubled with each failure in a row."""
PAUSE_MAX: Final = 1.0
OPEN_TIMEOUT: Final = 5.0
"""Seconds without any message after which a server that owes a confirmation is given up."""

_TRANSIENT: Final = frozenset(
    {Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN, Code.CANCELLED, Code.DEADLINE_EXCEEDED}
)


class Watches:
    """The stream, and who is on it. Several threads may use it at a time.

    Invariant: only the leader opens the stream and receives from it; everything else that changes
    here does so under the lock, which nobody holds while waiting.
    """

    def __init__(self, engine: Engine, signal: Callable[[], Signal]) -> None:
        """`signal` makes what sleepers wait for."""
        self.signal = signal
        self._engine = engine
        self.lock = threading.Lock()
        self._watchers: dict[Watcher, None] = {}
        """All that the server tells about, or shall tell about when there is a stream again."""
        self._by_id: dict[int, Watcher] = {}
        self._creating: deque[Watcher] = deque()
        """Those that the server has not confirmed yet; it does so in this order."""
        self._leader: Watcher | None = None
        self._sleepers: dict[Watcher, None] = {}
        self._stream: Stream | AsyncStream | None = None
        self._endpoint = ""
        self._metadata: Metadata = ()
        self._logged_in = False
        """Whether the stream that broke was opened after another login."""
        self._pause = PAUSE_MIN
        self._rests_until = 0.0
        self._lost_at: float | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody watches anything."""
        return self._stream is None and not self._watchers

    def wait(
        self, watcher: Watcher, ready: Callable[[], bool], deadline: float | None
    ) -> Plan[None]:
        """Until a watch is ready or over.

        Raises:
            EtcdError: no login.
            TimeoutError: it is not by the deadline.

        """
        with self.lock:
            if watcher.awaited:
                raise RuntimeError("somebody else waits for this watch already")
            watcher.awaited = True
        try:
            while True:
                with self.lock:
                    self._sleepers.pop(watcher, None)
                    if watcher.over or ready():
                        return
                    self._attach(watcher)
                    leads = self._leader in {None, watcher}
                    if leads:
                        self._leader = watcher
                    else:
                        watcher.signal.clear()
                        self._sleepers[watcher] = None
                if leads:
                    yield from self._lead(watcher, ready, deadline)
                else:
                    yield Await(watcher.signal, deadline)
        finally:
            self._leave(watcher)

    def close(self, watcher: Watcher) -> None:
        """Forget a watch; who waits for it is woken."""
        with self.lock:
            self._end(watcher, None)
            if self._leader is watcher and self._stream is not None:
                self._stream.interrupt()

    def _leave(self, watcher: Watcher) -> None:
        """Waits no more: somebody else has to lead."""
        with self.lock:
            watcher.awaited = False
            self._sleepers.pop(watcher, None)
            if self._leader is watcher:
                self._leader = None
            if self._leader is None and self._sleepers:
                next(iter(self._sleepers)).signal.set()

    # Under the lock.

    def _attach(self, watcher: Watcher) -> None:
        """Have the server tell about a watch that is new, or was parked."""
        if watcher not in self._watchers:
            self._watchers[watcher] = None
            if self._stream is not None:
                self._create(self._stream, watcher)

    def _create(self, stream: Stream | AsyncStream, watcher: Watcher) -> None:
        self._creating.append(watcher)
        stream.send(rpc.WatchRequest(create_request=watcher.create()).SerializeToString())

    def _detach(self, watcher: Watcher) -> None:
        """Have the server tell no more; the last one to go closes the stream."""
        self._watchers.pop(watcher, None)
        if not self._watchers:
            self._drop()
        elif watcher.watch_id in self._by_id:
            self._cancel(watcher.watch_id)

    def _cancel(self, watch_id: int) -> None:
        self._by_id.pop(watch_id, None)
        if self._stream is not None:
            cancel = rpc.WatchCancelRequest(watch_id=watch_id)
            self._stream.send(rpc.WatchRequest(cancel_request=cancel).SerializeToString())

    def _end(self, watcher: Watcher, failure: errors.EtcdError | None) -> None:
        watcher.end(failure)
        self._detach(watcher)

    def _drop(self) -> None:
        """Let go of the stream."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._by_id.clear()
        self._creating.clear()
        for watcher in self._watchers:
            watcher.detached()

    # Of the leader.

    def _lead(
        self, watcher: Watcher, ready: Callable[[], bool], deadline: float | None
    ) -> Plan[None]:
        while not (watcher.over or ready()):
            stream = self._stream
            try:
                if stream is None:
                    yield from self._connect(watcher, deadline)
                else:
                    yield from self._receive(stream, deadline)
            except CallError as failure:
                with self.lock:
                    if self._stream is stream:  # or it was closed on purpose
                        self._broken(failure)

    def _connect(self, watcher: Watcher, deadline: float | None) -> Plan[None]:
        engine = self._engine
        if engine.clock() < self._rests_until:
            yield from self._rest(watcher, deadline)
            return
        until = self._until(deadline)
        self._endpoint, self._metadata = "", ()
        try:
            self._metadata = yield from engine.metadata(until)
        except errors.Unavailable as error:
            raise CallError(error.code, error.message) from None
        self._endpoint = engine.pool.pick(engine.clock())
        metadata = (*self._metadata, *REQUIRE_LEADER)
        try:
            stream = yield Open(self._endpoint, methods.WATCH.path, until, metadata)
        except CallError:
            if until == deadline and engine.clock() >= until:  # it may be the haste, not the server
                raise TimeoutError from None
            raise
        with self.lock:
            self._stream = stream
            for one in self._watchers:
                self._create(stream, one)
            if not self._watchers:  # all closed meanwhile
                self._drop()

    def _rest(self, watcher: Watcher, deadline: float | None) -> Plan[None]:
        """Until the next attempt; ends early if the watch is closed."""
        until = self._rests_until
        if deadline is not None:
            until = min(until, deadline)
        with self.lock:
            if watcher.over:
                return
            watcher.signal.clear()
        try:
            yield Await(watcher.signal, until)
        except TimeoutError:
            if until == deadline:
                raise

    def _until(self, deadline: float | None) -> float:
        """When waiting for a sign of a server ends."""
        until = self._engine.clock() + OPEN_TIMEOUT
        return until if deadline is None else min(deadline, until)

    def _receive(self, stream: Stream | AsyncStream, deadline: float | None) -> Plan[None]:
        until = self._until(deadline) if self._creating else deadline
        try:
            data = yield Receive(stream, until)
        except TimeoutError:
            if until is None or self._engine.clock() < until:
                return  # interrupted
            if until == deadline:
                raise
            raise CallError(Code.DEADLINE_EXCEEDED, "no answer to a watch") from None
        if data is None:
            raise CallError(Code.UNAVAILABLE, "the server ended the watch's stream")
        response = decode(rpc.WatchResponse, data)
        with self.lock:
            if self._stream is stream:
                self._dispatch(response, len(data))

    def _dispatch(self, response: rpc.WatchResponse, size: int) -> None:
        """Give a message to the watch that it is for."""
        found = self._by_id.get(response.watch_id)
        if response.created:
            found = self._confirmed(response)
        if found is None:
            return  # the last words about a watch that was cancelled
        try:
            found.receive(response, size)
        except errors.EtcdError as ended:
            if ended.message in NO_LOGIN and self._engine.has_login and not self._logged_in:
                raise CallError(Code.UNAUTHENTICATED, ended.message) from None
            self._end(found, ended)
            return
        if found.backlog > BACKLOG_BYTES and not found.awaited:
            self._detach(found)
            found.detached()

    def _confirmed(self, response: rpc.WatchResponse) -> Watcher | None:
        if not self._creating:
            raise CallError(Code.INTERNAL, "the server confirms a watch that nobody asked for")
        self._engine.pool.answered(self._endpoint)
        self._pause, self._lost_at, self._logged_in = PAUSE_MIN, None, False
        watcher = self._creating.popleft()
        if watcher.over:
            if not response.canceled:
                self._cancel(response.watch_id)
            return None
        if not response.canceled:
            self._by_id[response.watch_id] = watcher
            watcher.watch_id = response.watch_id
        return watcher

    def _broken(self, failure: CallError) -> None:
        """Get ready for another stream; ends the watches that shall have none."""
        self._drop()
        engine = self._engine
        now = engine.clock()
        if failure.message in NO_LOGIN and engine.has_login and not self._logged_in:
            self._logged_in = True
            engine.forget_token(self._metadata)
            return
        if failure.code not in _TRANSIENT:
            for watcher in list(self._watchers):
                self._end(watcher, translate(failure, repeatable=True))
            return
        engine.pool.failed(self._endpoint, now)
        if self._lost_at is None:
            self._lost_at = now
        for watcher in list(self._watchers):
            if watcher.patience is not None and now - self._lost_at >= watcher.patience:
                self._end(watcher, errors.Unavailable(failure.message, code=failure.code))
        self._rests_until = now + self._pause
        self._pause = min(2 * self._pause, PAUSE_MAX)
