"""The Watch service: one bidirectional stream carries many watchers."""

import asyncio
import random

from pykvd.api.access import Access
from pykvd.api.decode import decode
from pykvd.errors import Code, Failure, RpcError
from pykvd.mvcc.index import FROM_KEY
from pykvd.node.node import Node
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import Stream, StreamHandler, StreamReceiver
from pykvd.watch.watcher import Watcher

#: Unsent bytes of a stream beyond which its watchers wait for the client.
CONGESTED_BYTES = 1 << 20
DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_RANGE = "mvcc: watcher range is empty"


class WatchService:
    """Watch. `progress_interval` seconds pass between periodic progress notices."""

    def __init__(self, node: Node, access: Access, *, progress_interval: float) -> None:
        self._node = node
        self._access = access
        self._progress_interval = progress_interval

    def streams(self) -> dict[str, StreamHandler]:
        """The service's streaming methods by path."""
        return {"/etcdserverpb.Watch/Watch": self.watch}

    def watch(self, stream: Stream) -> StreamReceiver:
        """Start a watch stream."""
        stream.send_headers()
        return _WatchStream(self._node, self._access, stream, self._progress_interval)


class _WatchStream:
    """The watchers of one stream; implements StreamReceiver and watcher.Session."""

    def __init__(
        self, node: Node, access: Access, stream: Stream, progress_interval: float
    ) -> None:
        self._node = node
        self._access = access
        self._hub = node.hub
        self._stream = stream
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._progress_interval = progress_interval * (1 + random.random() / 10)
        self._progress_timer: asyncio.TimerHandle | None = None
        self.send_shared = stream.send_shared

    # Requests

    def message_received(self, message: bytes) -> None:
        """Create, cancel or report progress; a request with nothing set is ignored."""
        request = decode(rpc.WatchRequest, message)
        match request.WhichOneof("request_union"):
            case "create_request":
                self._create(request.create_request)
            case "cancel_request":
                self._cancel(request.cancel_request.watch_id)
            case "progress_request":
                self._progress()

    def _create(self, request: rpc.WatchCreateRequest) -> None:
        key = request.key or FROM_KEY
        end = request.range_end
        if request.start_revision < 0:
            self._refuse(Failure.COMPACTED.text)
            return
        try:
            self._access.permit(self._stream, "watch", self._node.auth.check_read, key, end)
        except RpcError as error:
            self._refuse(_go_text(error))
            return
        if end and end != FROM_KEY and end <= key:
            self._refuse(EMPTY_RANGE)
            return
        watch_id = request.watch_id or self._free_id()
        if watch_id in self._watchers:
            self._refuse(DUPLICATE_ID)
            return
        filters = request.filters
        selector = (
            key,
            end,
            rpc.WatchCreateRequest.NOPUT in filters,
            rpc.WatchCreateRequest.NODELETE in filters,
            request.prev_kv,
        )
        watcher = self._watchers[watch_id] = Watcher(
            self,
            watch_id,
            selector,
            start=request.start_revision,
            fragment=request.fragment,
            progress_notify=request.progress_notify,
        )
        self._send(rpc.WatchResponse(watch_id=watch_id, created=True))
        self._hub.add(watcher)
        if request.progress_notify and self._progress_timer is None:
            self._schedule_progress()

    def _free_id(self) -> int:
        while self._next_id in self._watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _refuse(self, reason: str) -> None:
        self._send(
            rpc.WatchResponse(watch_id=-1, created=True, canceled=True, cancel_reason=reason)
        )

    def _cancel(self, watch_id: int) -> None:
        watcher = self._watchers.pop(watch_id, None)
        if watcher is None:
            return
        self._hub.remove(watcher)
        self._send(rpc.WatchResponse(watch_id=watch_id, canceled=True))

    def _send(self, response: rpc.WatchResponse, *, with_revision: bool = True) -> None:
        revision = self._node.store.revision if with_revision else 0
        self._stream.send(self._node.header(revision) + response.SerializeToString())

    # Progress

    def _progress(self) -> None:
        if self._watchers and all(watcher.synced for watcher in self._watchers.values()):
            self._send(rpc.WatchResponse(watch_id=-1))

    def _schedule_progress(self) -> None:
        loop = asyncio.get_running_loop()
        self._progress_timer = loop.call_later(self._progress_interval, self._periodic_progress)

    def _periodic_progress(self) -> None:
        for watcher in self._watchers.values():
            if watcher.progress_notify and watcher.synced and not watcher.noted:
                self._send(rpc.WatchResponse(watch_id=watcher.id))
            watcher.noted = False
        self._schedule_progress()

    # Session

    @property
    def congested(self) -> bool:
        """Whether the client reads too slowly to be sent more now."""
        return self._stream.buffered > CONGESTED_BYTES

    def compacted(self, watcher: Watcher, compact_revision: int) -> None:
        """Tell that the history this watcher needs is gone; its id stays taken until cancelled."""
        watcher.active = False
        self._send(
            rpc.WatchResponse(
                watch_id=watcher.id, canceled=True, compact_revision=compact_revision
            ),
            with_revision=False,
        )

    def half_closed(self) -> None:
        """Events go on until the call is cancelled, as with etcd."""

    def writable(self) -> None:
        """The client has caught up."""
        self._hub.wake()

    def closed(self) -> None:
        """The client is gone: forget its watchers."""
        if self._progress_timer:
            self._progress_timer.cancel()
        for watcher in self._watchers.values():
            self._hub.remove(watcher)
        self._watchers.clear()


def _go_text(error: RpcError) -> str:
    """A status as grpc-go prints it, which is what etcd gives as a reason."""
    name = Code(error.code).name.title().replace("_", "")
    return f"rpc error: code = {name} desc = {error.message}"
