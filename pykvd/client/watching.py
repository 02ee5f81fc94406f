"""Watches that outlive their connection: the logic, as plans.

A watch has a stream of its own. When it breaks, another one is opened at the next endpoint and the
watch goes on with the revision after the last one it has delivered, so that nothing is lost and
nothing comes twice. Servers never cut a batch inside of a revision (no fragments are asked for), so
a revision is a point where a watch can go on. If the history there is gone, `Compacted` is raised.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pykvd.client import errors, methods
from pykvd.client.engine import REQUIRE_LEADER, Engine, Open, Pause, Plan, Receive
from pykvd.client.retry import translate
from pykvd.client.transport import CallError
from pykvd.client.values import Event
from pykvd.pb import rpc_pb2 as rpc
from pykvd.status import Code

if TYPE_CHECKING:
    from pykvd.client.transport import AsyncStream, Metadata, Stream

PAUSE_MIN: Final = 0.05
"""After a broken stream, in seconds; doubled with each failure in a row."""
PAUSE_MAX: Final = 1.0
OPEN_TIMEOUT: Final = 5.0
"""For a server to confirm a watch."""

_TRANSIENT: Final = frozenset(
    {Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN, Code.CANCELLED, Code.DEADLINE_EXCEEDED}
)
_STATUS_TEXT: Final = re.compile(r"rpc error: code = \w+ desc = (.*)", re.DOTALL)
_LOGIN_TEXTS: Final = frozenset(
    {errors.InvalidAuthToken.text, errors.AuthOldRevision.text, errors.UserEmpty.text}
)


class Progress:
    """Where a watch is, and what a message of the server means for it. Pure.

    Invariant: all events below `next_revision` that the watch is to see were delivered, none at or
    above it was; 0 until the server has confirmed a watch that starts now.
    """

    def __init__(self, request: rpc.WatchCreateRequest) -> None:
        self._request = request
        self.next_revision = request.start_revision
        self.confirmed = False
        """Whether the present stream has been confirmed."""

    def create(self) -> bytes:
        """The request that starts or resumes it on a new stream."""
        self.confirmed = False
        create = rpc.WatchCreateRequest()
        create.CopyFrom(self._request)
        create.start_revision = self.next_revision
        return rpc.WatchRequest(create_request=create).SerializeToString()

    def receive(self, data: bytes) -> list[Event]:
        """The new events of a message.

        Raises:
            EtcdError: the server has ended the watch: Compacted, or the reason it gives.

        """
        response = rpc.WatchResponse.FromString(data)
        if response.canceled:
            raise _cancellation(response)
        if response.created:
            self.confirmed = True
            if not self.next_revision:
                self.next_revision = response.header.revision + 1
            return []
        first = self.next_revision
        events = [Event.of(event) for event in response.events if event.kv.mod_revision >= first]
        if response.events:
            self.next_revision = max(first, response.events[-1].kv.mod_revision + 1)
        elif response.watch_id != -1:
            # A notice of progress. One for the whole stream (-1) comes from servers before 3.4.25
            # also while the watch lacks history, and nobody here asks for it.
            self.next_revision = max(first, response.header.revision + 1)
        return events


def _cancellation(response: rpc.WatchResponse) -> errors.EtcdError:
    if response.compact_revision:
        gone = errors.Compacted()
        gone.compact_revision = response.compact_revision
        return gone
    found = _STATUS_TEXT.fullmatch(response.cancel_reason)
    reason = found[1] if found else response.cancel_reason
    kind = errors.BY_TEXT.get(reason, errors.WatchCanceled)
    return kind(reason or errors.WatchCanceled.text)


class Watcher:
    """Runs one watch. One at a time uses `fill`; `close` may come from anywhere."""

    def __init__(
        self, engine: Engine, request: rpc.WatchCreateRequest, patience: float | None
    ) -> None:
        self._engine = engine
        self._progress = Progress(request)
        self._patience = patience
        self._stream: Stream | AsyncStream | None = None
        self._endpoint = ""
        self._pause = PAUSE_MIN
        self._lost_at: float | None = None
        self._logged_in = False
        self.closed = False

    @property
    def revision(self) -> int:
        """All changes up to this revision have been delivered or were none of the watch's."""
        return self._progress.next_revision - 1

    def close(self) -> None:
        """End it; who waits in `fill` gets no more events."""
        self.closed = True
        if self._stream is not None:
            self._stream.close()

    def start(self, deadline: float) -> Plan[list[Event]]:
        """Until the server has confirmed the watch; events that came with it.

        Raises:
            DeadlineExceeded: it did not by then; the watch may be started again.

        """
        events: list[Event] = []
        while not (self._progress.confirmed or self.closed):
            try:
                events += yield from self.fill(deadline)
            except TimeoutError as timeout:
                raise _no_answer(timeout) from None
        return events

    def fill(self, deadline: float | None = None) -> Plan[list[Event]]:
        """The events of the next message: maybe none; once closed, none for ever.

        Raises:
            EtcdError: the watch is over.
            Unavailable: no server for as long as its patience.
            TimeoutError: no message by the deadline.

        """
        if self.closed:
            return []
        metadata: Metadata = ()
        try:
            if self._stream is None:
                metadata = yield from self._metadata(self._until(deadline))
                yield from self._open(metadata, deadline)
            return (yield from self._receive(deadline))
        except CallError as failure:
            if not self.closed:
                yield from self._broken(failure, metadata, deadline)
            return []

    def _metadata(self, deadline: float) -> Plan[Metadata]:
        try:
            return (yield from self._engine.metadata(deadline))
        except errors.Unavailable as error:
            raise CallError(error.code, error.message) from None

    def _open(self, metadata: Metadata, deadline: float | None) -> Plan[None]:
        engine = self._engine
        self._endpoint = engine.pool.pick(engine.clock())
        until = self._until(deadline)
        self._stream = yield Open(
            self._endpoint, methods.WATCH.path, until, (*metadata, *REQUIRE_LEADER)
        )
        if self.closed:  # meanwhile
            self._stream.close()
        self._stream.send(self._progress.create())

    def _receive(self, deadline: float | None) -> Plan[list[Event]]:
        assert self._stream is not None
        confirmed = self._progress.confirmed
        try:
            data = yield Receive(self._stream, deadline if confirmed else self._until(deadline))
        except TimeoutError:
            if not confirmed and self._until(deadline) != deadline:
                raise CallError(Code.DEADLINE_EXCEEDED, "no answer to a watch") from None
            raise
        if data is None:
            raise CallError(Code.UNAVAILABLE, "the server ended the watch's stream")
        try:
            events = self._progress.receive(data)
        except errors.EtcdError as ended:
            self._drop()
            if ended.message in _LOGIN_TEXTS and self._engine.has_login and not self._logged_in:
                raise CallError(Code.UNAUTHENTICATED, ended.message) from None
            self.closed = True
            raise
        self._engine.pool.answered(self._endpoint)
        self._pause, self._lost_at, self._logged_in = PAUSE_MIN, None, False
        return events

    def _until(self, deadline: float | None) -> float:
        """When waiting for a server to confirm ends."""
        until = self._engine.clock() + OPEN_TIMEOUT
        return until if deadline is None else min(deadline, until)

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._progress.confirmed = False

    def _broken(self, failure: CallError, metadata: Metadata, deadline: float | None) -> Plan[None]:
        """Get ready for another stream, after a pause; raises EtcdError if there shall be none."""
        self._drop()
        engine = self._engine
        now = engine.clock()
        if failure.message in _LOGIN_TEXTS and engine.has_login and not self._logged_in:
            self._logged_in = True
            engine.forget_token(metadata)
            return
        if failure.code not in _TRANSIENT:
            self.closed = True
            raise translate(failure, repeatable=True) from None
        engine.pool.failed(self._endpoint, now)
        if self._lost_at is None:
            self._lost_at = now
        if self._patience is not None and now - self._lost_at >= self._patience:
            self.closed = True
            raise errors.Unavailable(failure.message, code=failure.code) from None
        seconds = self._pause
        if deadline is not None:
            if now >= deadline:
                raise TimeoutError(failure.message)
            seconds = min(seconds, deadline - now)
        self._pause = min(2 * self._pause, PAUSE_MAX)
        yield Pause(seconds)


def _no_answer(timeout: TimeoutError) -> errors.DeadlineExceeded:
    return errors.DeadlineExceeded(str(timeout) or "no answer to a watch")
