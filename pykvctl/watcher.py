"""Watches that outlive their connection.

All watches of a process share one stream. When it breaks, a new one is opened on the next endpoint
and each watch goes on with the revision after the last one it has delivered, so that no event is
lost or delivered twice. What cannot be resumed (history compacted meanwhile, permission lost) ends
the watch with a reason.

A thread per `WatchStream` receives; each `Watch` is a queue that any one thread may iterate.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

import grpc

from pykvctl.client import REQUIRE_LEADER, Client
from pykvctl.errors import RequestError
from pykvctl.interrupts import LOOK_UP_S
from pykvd.methods import WATCH
from pykvd.pb import rpc_pb2 as rpc

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE_REVISION = "etcdserver: mvcc: required revision is a future revision"
NO_LEADER = "etcdserver: no leader"

# After a broken stream: the first pause, doubled with each failure in a row.
PAUSE_MIN_S = 0.05
PAUSE_MAX_S = 1.0

# Failures of the connection or of one member; another stream may fare better.
_TRANSIENT = frozenset({"Unavailable", "Internal", "Unknown", "Canceled", "Aborted"})


@dataclass(frozen=True)
class WatchUpdate:
    """One message for a watch; `reason` tells why it was cancelled and is empty otherwise."""

    response: rpc.WatchResponse
    reason: str = ""

    @property
    def is_progress(self) -> bool:
        """A message without events that only tells how far the watch has got."""
        response = self.response
        return not (response.events or response.canceled or response.created) and bool(
            response.header.revision
        )


class Watch:
    """One watch; iterating yields its updates, the last one being its cancellation.

    Invariant: `next_revision` is above all revisions delivered, and nothing that is to be delivered
    lies below it; 0 means that it was neither asked to start at a revision nor confirmed yet.
    """

    def __init__(self, request: rpc.WatchCreateRequest) -> None:
        self.next_revision = request.start_revision
        self.watch_id: int | None = None
        self._request = request
        self._updates: SimpleQueue[WatchUpdate | None] = SimpleQueue()

    def __iter__(self) -> Iterator[WatchUpdate]:
        return self.updates(None)

    def updates(self, silence_s: float | None) -> Iterator[WatchUpdate]:
        """As iterating, but raises RequestError when nothing has come for so long."""
        heard = time.monotonic()
        while True:
            try:
                update = self._updates.get(timeout=min(LOOK_UP_S, silence_s or LOOK_UP_S))
            except Empty:
                if silence_s is not None and time.monotonic() - heard > silence_s:
                    raise RequestError("DeadlineExceeded", "the watch is silent") from None
                continue
            if update is None:
                return
            yield update
            heard = time.monotonic()

    def create_request(self) -> rpc.WatchRequest:
        """The request that starts the watch where it stands."""
        create = rpc.WatchCreateRequest()
        create.CopyFrom(self._request)
        create.start_revision = self.next_revision
        return rpc.WatchRequest(create_request=create)

    def confirm(self, response: rpc.WatchResponse) -> None:
        """The server has started the watch; a fresh one begins after the current revision."""
        self.watch_id = response.watch_id
        if self.next_revision == 0:
            self.next_revision = response.header.revision + 1

    def deliver(self, response: rpc.WatchResponse) -> None:
        """Pass on events and progress, without what was delivered before."""
        if any(event.kv.mod_revision < self.next_revision for event in response.events):
            fresh = [e for e in response.events if e.kv.mod_revision >= self.next_revision]
            if not fresh:
                return
            del response.events[:]
            response.events.extend(fresh)
        if response.events:
            self.next_revision = response.events[-1].kv.mod_revision + 1
        elif response.watch_id == self.watch_id:
            # An answer to a progress request is for the whole stream (id -1). Servers before 3.4.25
            # send it also while a watch still lacks history, so it must not move the watch.
            self.next_revision = max(self.next_revision, response.header.revision + 1)
        self._updates.put(WatchUpdate(response))

    def end(self, response: rpc.WatchResponse, reason: str) -> None:
        """Deliver the cancellation and finish."""
        self._updates.put(WatchUpdate(response, reason))
        self._updates.put(None)


class _StaleTokenError(Exception):
    """A watch was refused for a token that has expired: all are started again with a new one."""


class WatchStream:
    """Runs watches over one stream at a time; a context manager."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        # Watches that are not ended, and those of them that wait for the server's confirmation, in
        # the order of their requests, which is the order of the answers.
        self._watches: list[Watch] = []
        self._pending: deque[Watch] = deque()
        self._requests: SimpleQueue[rpc.WatchRequest | None] = SimpleQueue()
        self._call: Iterator[rpc.WatchResponse] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch-stream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        with self._lock:
            self._requests.put(None)
            if isinstance(self._call, grpc.Call):
                self._call.cancel()
        self._thread.join()

    def watch(self, request: rpc.WatchCreateRequest) -> Watch:
        """Start a watch; it needs no server yet."""
        watch = Watch(request)
        with self._lock:
            self._watches.append(watch)
            self._pending.append(watch)
            self._requests.put(watch.create_request())
        return watch

    def request_progress(self) -> None:
        """Ask how far the watches have got; the answer is an update of each of them."""
        self._requests.put(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))

    def _run(self) -> None:
        pause = PAUSE_MIN_S
        while not self._closed.is_set():
            try:
                for response in self._open():
                    pause = PAUSE_MIN_S
                    self._receive(response)
            except _StaleTokenError:
                pass
            except grpc.RpcError as error:
                failure = self._client.translate(error)
                if failure.code not in _TRANSIENT or failure.details == NO_LEADER:
                    self._end_all(failure)
            if self._closed.wait(pause):
                return
            pause = min(2 * pause, PAUSE_MAX_S)
            self._reconnect()

    def _open(self) -> Iterator[rpc.WatchResponse]:
        with self._lock:
            requests = iter(self._requests.get, None)
            self._call = self._client.stream(WATCH, requests, metadata=REQUIRE_LEADER)
            return self._call

    def _reconnect(self) -> None:
        """Turn to the next endpoint and line up all watches again."""
        self._client.turn()
        try:
            self._client.authenticate(PAUSE_MAX_S)
        except RequestError:
            return  # The stream is refused, or tried again with the next endpoint.
        finally:
            with self._lock:
                self._requests.put(None)
                self._requests = SimpleQueue()
                self._pending = deque(self._watches)
                for watch in self._watches:
                    watch.watch_id = None
                    self._requests.put(watch.create_request())

    def _receive(self, response: rpc.WatchResponse) -> None:
        if response.created:
            with self._lock:
                watch = self._pending.popleft() if self._pending else None
            if watch is None:
                return  # Nobody has asked for it.
            if response.canceled:
                if self._client.may_renew_token(response.cancel_reason):
                    raise _StaleTokenError
                self._end(watch, response)
            else:
                watch.confirm(response)
            return
        with self._lock:
            # A message for id -1 concerns the whole stream.
            watches = [w for w in self._watches if response.watch_id in {w.watch_id, -1}]
        for watch in watches:
            if response.canceled:
                self._requests.put(_cancel_request(response.watch_id))
                self._end(watch, response)
            else:
                watch.deliver(response)

    def _end(self, watch: Watch, response: rpc.WatchResponse) -> None:
        with self._lock:
            self._watches.remove(watch)
        if response.compact_revision:
            reason = COMPACTED
        else:
            reason = response.cancel_reason or FUTURE_REVISION
        watch.end(response, reason)

    def _end_all(self, failure: RequestError) -> None:
        with self._lock:
            watches, self._watches = self._watches, []
            self._pending.clear()
        for watch in watches:
            watch.end(rpc.WatchResponse(canceled=True), str(failure))


def _cancel_request(watch_id: int) -> rpc.WatchRequest:
    """Frees the id of an ended watch; until then it would hold up answers to progress requests."""
    return rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=watch_id))
