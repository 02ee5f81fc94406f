"""One watch: where it is, and what its consumer has not taken yet.

It goes on through lost streams (see `pykvd.client.sharing`) with the revision after the last one
that came, so that nothing is lost and nothing comes twice. Large batches may come in fragments, cut
inside of a revision; only whole revisions are handed out. If the history that a watch would go on
with is gone, `Compacted` is raised.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pykvd.client import arguments, errors
from pykvd.client.values import Event
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan

_STATUS_TEXT: Final = re.compile(r"rpc error: code = \w+ desc = (.*)", re.DOTALL)


class Progress:
    """Where a watch is, and what a message of the server means for it. Pure.

    Invariant: all events below `next_revision` that the watch is to see were handed out, none at or
    above it was; 0 until the server has confirmed a watch that starts now.
    """

    def __init__(self, request: rpc.WatchCreateRequest) -> None:
        self._request = request
        self._held: list[Event] = []
        """The events of the revision that a fragment may have cut."""
        self.next_revision = request.start_revision
        self.confirmed = False
        """Whether the present stream has confirmed it."""

    def detached(self) -> None:
        """There is no stream for it now."""
        self.confirmed = False
        self._held = []

    def create(self) -> rpc.WatchCreateRequest:
        """The request that starts or resumes it on another stream."""
        create = rpc.WatchCreateRequest()
        create.CopyFrom(self._request)
        create.start_revision = self.next_revision
        create.fragment = True
        return create

    def receive(self, response: rpc.WatchResponse) -> list[Event]:
        """The new events of a message.

        Raises:
            EtcdError: the server has ended the watch: Compacted, or the reason it gives.

        """
        if response.canceled:
            raise _cancellation(response)
        if response.created:
            self.confirmed = True
            if not self.next_revision:
                self.next_revision = response.header.revision + 1
            return []
        first = self.next_revision
        events = [Event.of(event) for event in response.events if event.kv.mod_revision >= first]
        if self._held or response.fragment:
            return self._whole(events, last=not response.fragment)
        if response.events:
            self.next_revision = max(first, response.events[-1].kv.mod_revision + 1)
        elif response.watch_id != -1:
            # A notice of progress. One for the whole stream (-1) comes from servers before 3.4.25
            # also while the watch lacks history, and nobody here asks for it.
            self.next_revision = max(first, response.header.revision + 1)
        return events

    def _whole(self, fragment: list[Event], *, last: bool) -> list[Event]:
        """The events of the revisions that are complete with this fragment."""
        events, self._held = self._held + fragment, []
        if events and not last:
            newest = events[-1].revision
            self._held = [event for event in events if event.revision == newest]
            events = events[: -len(self._held)]
        if events:
            self.next_revision = events[-1].revision + 1
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
    """One watch. One at a time uses `start` and `fill`; `close` may come from anywhere."""

    def __init__(
        self, engine: Engine, request: rpc.WatchCreateRequest, patience: float | None
    ) -> None:
        self._watches = engine.watches
        self._progress = Progress(request)
        self._events: list[Event] = []
        self._revision = 0
        self._failure: errors.EtcdError | None = None
        self.patience = None if patience is None else arguments.seconds("patience", patience)
        """Seconds that it may be without any server; None for ever."""
        self.signal = self._watches.signal()
        """Set when something has changed while its consumer sleeps."""
        self.watch_id = -1
        """On the present stream."""
        self.backlog = 0
        """The bytes of the messages whose events were not taken yet."""
        self.awaited = False
        """Whether its consumer waits."""
        self.closed = False
        """Whether there will be no more events, as its consumer knows."""

    # For its consumer.

    @property
    def revision(self) -> int:
        """All changes up to this revision have been handed out or were none of the watch's."""
        with self._watches.lock:
            return self._revision if self._events else self._progress.next_revision - 1

    def start(self, deadline: float) -> Plan[None]:
        """Until the server has confirmed the watch, or has ended it, which `fill` tells.

        Raises:
            DeadlineExceeded: it did not by then; the watch may be started again.

        """
        try:
            yield from self._watches.wait(self, self._is_confirmed, deadline)
        except TimeoutError as timeout:
            raise errors.DeadlineExceeded(str(timeout) or "no answer to a watch") from None

    def fill(self, deadline: float | None = None) -> Plan[list[Event]]:
        """The events that have come, at least one; once closed, none for ever.

        Raises:
            EtcdError: the watch is over.
            Unavailable: no server for as long as its patience.
            TimeoutError: no events by the deadline.

        """
        yield from self._watches.wait(self, self._has_events, deadline)
        with self._watches.lock:
            return self._take()

    def close(self) -> None:
        """End it; who waits in `fill` gets no more events."""
        self._watches.close(self)

    def _is_confirmed(self) -> bool:
        return self._progress.confirmed

    def _has_events(self) -> bool:
        return bool(self._events)

    def _take(self) -> list[Event]:
        if not self._events and self._failure is not None and not self.closed:
            self.closed = True
            raise self._failure
        events, self._events = self._events, []
        self._revision, self.backlog = self._progress.next_revision - 1, 0
        return events

    # For `Watches`, under its lock.

    @property
    def over(self) -> bool:
        """Whether the server is to tell nothing more."""
        return self.closed or self._failure is not None

    def create(self) -> rpc.WatchCreateRequest:
        """See `Progress.create`."""
        return self._progress.create()

    def receive(self, response: rpc.WatchResponse, size: int) -> None:
        """Keep the events of a message of `size` bytes; raises EtcdError if it ends the watch."""
        events = self._progress.receive(response)
        if events:
            self._events += events
            self.backlog += size
        self.signal.set()

    def detached(self) -> None:
        """See `Progress.detached`."""
        self.watch_id = -1
        self._progress.detached()

    def end(self, failure: errors.EtcdError | None) -> None:
        """Nothing more will come; without a failure its consumer wants nothing more either."""
        if failure is None:
            self.closed = True
            self._events = []
        elif not self.over:
            self._failure = failure
        self.signal.set()
