"""What every call has to pass.

A client may demand a leader, a learner serves little, and a token may come from a login that this
member has not applied yet.
"""

import asyncio
from collections.abc import Mapping

from pykvd.api.access import Access
from pykvd.api.decode import decode
from pykvd.api.held import HeldStream
from pykvd.api.tasks import CallTasks
from pykvd.errors import Failure
from pykvd.node.node import Node
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import Call, Stream, StreamHandler, StreamReceiver, UnaryHandler

#: Metadata by which a client asks to be refused by a member that knows no leader.
REQUIRE_LEADER = "hasleader"
#: Checks in a row, an election timeout apart, after which such streams end (etcd's figure).
CHECKS = 3
RANGE = "/etcdserverpb.KV/Range"
#: What a learner serves beside serializable Ranges.
LEARNER_UNARY = frozenset({"/etcdserverpb.Maintenance/Status"})
LEARNER_STREAMS = frozenset({"/etcdserverpb.Maintenance/Snapshot"})


class Guard:
    """Wraps handlers; costs a call three attribute reads in the usual case.

    That is where this member votes, has a leader, and auth is off.
    """

    def __init__(self, node: Node, access: Access) -> None:
        self._node = node
        self._access = access
        self._tasks = CallTasks()
        self._streams: dict[Stream, StreamReceiver] = {}
        self._missed = 0
        self._timer: asyncio.TimerHandle | None = None

    def unary(self, handlers: Mapping[str, UnaryHandler]) -> dict[str, UnaryHandler]:
        """The handlers, guarded."""
        return {path: self._guard_unary(path, handler) for path, handler in handlers.items()}

    def streams(self, handlers: Mapping[str, StreamHandler]) -> dict[str, StreamHandler]:
        """The handlers, guarded."""
        return {path: self._guard_stream(path, handler) for path, handler in handlers.items()}

    def _guard_unary(self, path: str, handler: UnaryHandler) -> UnaryHandler:
        node, auth, access = self._node, self._node.auth, self._access

        def guarded(call: Call, payload: bytes) -> bytes | None:
            if node.is_learner:
                _check_learner(path, payload)
            if not node.leader and _wants_leader(call):
                raise Failure.NO_LEADER.error()
            if auth.enabled and access.must_wait(call):
                self._tasks.run(call, self._handle_later(handler, call, payload))
                return None
            return handler(call, payload)

        return guarded

    async def _handle_later(self, handler: UnaryHandler, call: Call, payload: bytes) -> None:
        """Handle a call once every login before it is applied."""
        await self._node.read_barrier()
        reply = handler(call, payload)
        if reply is not None:
            call.reply(reply)

    def _guard_stream(self, path: str, handler: StreamHandler) -> StreamHandler:
        def guarded(stream: Stream) -> StreamReceiver:
            if self._node.is_learner and path not in LEARNER_STREAMS:
                raise Failure.LEARNER.error()
            demanding = _wants_leader(stream)
            if demanding and not self._node.leader:
                raise Failure.NO_LEADER.error()
            receiver: StreamReceiver
            if self._node.auth.enabled and self._access.must_wait(stream):
                receiver = HeldStream(stream, handler, self._node.read_barrier)
            else:
                receiver = handler(stream)
            if demanding:
                self._watch(stream, receiver)
            return receiver

        return guarded

    def _watch(self, stream: Stream, receiver: StreamReceiver) -> None:
        self._streams[stream] = receiver
        if self._timer is None:
            self._schedule()

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._node.config.election_timeout, self._check)

    def _check(self) -> None:
        """End the streams whose clients do not want to hang on a member that is cut off."""
        self._timer = None
        self._streams = {each: owner for each, owner in self._streams.items() if not each.done}
        self._missed = 0 if self._node.leader else self._missed + 1
        if self._missed >= CHECKS:
            streams, self._streams = self._streams, {}
            for stream, receiver in streams.items():
                stream.finish(Failure.NO_LEADER.code, Failure.NO_LEADER.text)
                # It was not the receiver that finished the stream: it must let go of its watchers.
                receiver.closed()
        if self._streams:
            self._schedule()

    def stop(self) -> None:
        """End the checks."""
        if self._timer:
            self._timer.cancel()


def _wants_leader(call: Call | Stream) -> bool:
    return call.metadata.get(REQUIRE_LEADER) == "true"


def _check_learner(path: str, payload: bytes) -> None:
    if path in LEARNER_UNARY:
        return
    if path == RANGE and decode(rpc.RangeRequest, payload).serializable:
        return
    raise Failure.LEARNER.error()
