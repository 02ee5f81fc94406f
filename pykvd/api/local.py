"""Calls that a member makes to its own services on behalf of a client.

The services that are layers over others (locks, elections) call them as the client could have done
itself: with the client's metadata and certificate name, so that every permission is checked where
it always is.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from google.protobuf.message import Message

from pykvd.api.calls import Caller, Heard, LocalCall, LocalStream
from pykvd.errors import Code, RpcError
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import StreamHandler, UnaryHandler

R = TypeVar("R", bound=Message)

RANGE = "/etcdserverpb.KV/Range"
TXN = "/etcdserverpb.KV/Txn"
DELETE_RANGE = "/etcdserverpb.KV/DeleteRange"
LEASE_GRANT = "/etcdserverpb.Lease/LeaseGrant"
LEASE_TIME_TO_LIVE = "/etcdserverpb.Lease/LeaseTimeToLive"
WATCH = "/etcdserverpb.Watch/Watch"

WATCH_ENDED = "the watch has ended"
#: Codes that tell how a call ended; all others are answers of an inner call.
CONTEXT_CODES = frozenset({Code.CANCELLED, Code.DEADLINE_EXCEEDED})


class LocalClient:
    """Calls handlers by method path in the name of `caller`.

    Failures of inner calls become Unknown with their text, as they leave etcd's layered services;
    only the codes of a call that ran out of time stay.
    """

    def __init__(
        self,
        unary: Mapping[str, UnaryHandler],
        streams: Mapping[str, StreamHandler],
        caller: Caller,
    ) -> None:
        self._unary = unary
        self._streams = streams
        self._caller = caller

    async def call(self, path: str, request: Message, reply: type[R]) -> R:
        """The answer of a unary method; raises RpcError."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        call = LocalCall(self._caller, partial(_settle, answer))
        call.run(self._unary[path], request.SerializeToString())
        try:
            return reply.FromString(await answer)
        except RpcError as error:
            raise _inner_failure(error) from None
        finally:
            call.abandon()

    @asynccontextmanager
    async def watch(
        self, request: rpc.WatchCreateRequest
    ) -> AsyncIterator[AsyncIterator[rpc.WatchResponse]]:
        """Run one watch; iterating gives its responses, see `_Responses`."""
        heard: asyncio.Queue[Heard] = asyncio.Queue()
        stream = LocalStream(self._caller, heard.put_nowait)
        stream.start(self._streams[WATCH])
        stream.request(rpc.WatchRequest(create_request=request).SerializeToString(), last=False)
        try:
            yield _Responses(stream, heard)
        finally:
            stream.cancel()


class _Responses:
    """What a watch sends after its confirmation.

    Raises RpcError when it is refused or cancelled; a compaction is a response as any other.
    """

    def __init__(self, stream: LocalStream, heard: asyncio.Queue[Heard]) -> None:
        self._stream = stream
        self._heard = heard

    def __aiter__(self) -> "_Responses":
        return self

    async def __anext__(self) -> rpc.WatchResponse:
        while True:
            item = await self._heard.get()
            if not isinstance(item, bytes):
                raise _inner_failure(item or RpcError(Code.UNKNOWN, WATCH_ENDED))
            self._stream.consumed(len(item))
            response = rpc.WatchResponse.FromString(item)
            if response.canceled and not response.compact_revision:
                raise RpcError(Code.UNKNOWN, response.cancel_reason)
            if not response.created:
                return response


def _inner_failure(error: RpcError) -> RpcError:
    return error if error.code in CONTEXT_CODES else RpcError(Code.UNKNOWN, error.message)


def _settle(answer: asyncio.Future[bytes], outcome: bytes | RpcError) -> None:
    if answer.done():
        return
    if isinstance(outcome, bytes):
        answer.set_result(outcome)
    else:
        answer.set_exception(outcome)
