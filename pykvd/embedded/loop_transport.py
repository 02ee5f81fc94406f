"""Calls of an `AsyncClient` to a server on the same event loop (`pykvd.client.transport`)."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from typing import TYPE_CHECKING

from pykvd.client.transport import CallError
from pykvd.embedded.door import ForkedError
from pykvd.status import Code, RpcError

if TYPE_CHECKING:
    from pykvd.api.calls import Heard, LocalCall, LocalStream
    from pykvd.client.transport import Metadata
    from pykvd.embedded.door import Door, Host

DEADLINE = "context deadline exceeded"
CLOSED = "the client is closed"
NOT_RUNNING = "the embedded server is not running"
SERVER_CLOSED = "the embedded server is closed"
_INTERRUPTED = RpcError(Code.CANCELLED, "interrupted")


class LoopTransport:
    """An `AsyncTransport`; `host` is the server.

    It outlives a restart of the server. Raises RuntimeError on another loop than the server's, and
    ForkedError after a fork.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._owner = os.getpid()
        self._closed = False
        self._calls: dict[asyncio.Future[bytes], None] = {}
        self._streams: dict[LoopStream, None] = {}

    async def unary(self, path: str, request: bytes, deadline: float, metadata: Metadata) -> bytes:
        """See `AsyncTransport.unary`."""
        door = self._enter(deadline)
        answer: asyncio.Future[bytes] = door.loop.create_future()
        left = deadline - time.monotonic()
        call = door.call(
            path, request, dict(metadata), door.loop.time() + left, lambda it: _settle(answer, it)
        )
        if answer.done():
            return answer.result()
        self._calls[answer] = None
        timer = door.loop.call_later(left, _expire, answer, call)
        try:
            return await answer
        finally:
            timer.cancel()
            self._calls.pop(answer, None)
            call.abandon()

    async def stream(self, path: str, deadline: float, metadata: Metadata) -> LoopStream:
        """See `AsyncTransport.stream`."""
        stream = LoopStream(self._enter(deadline), path, metadata, self._streams)
        self._streams[stream] = None
        return stream

    async def close(self) -> None:
        """See `AsyncTransport.close`."""
        self._closed = True
        for answer in list(self._calls):
            _settle(answer, RpcError(Code.CANCELLED, CLOSED))
        for stream in list(self._streams):
            stream.close()

    def _enter(self, deadline: float) -> Door:
        if os.getpid() != self._owner:
            raise ForkedError(self._owner)
        if self._closed:
            raise CallError(Code.CANCELLED, CLOSED, sent=False)
        if self._host.closed:
            raise CallError(Code.CANCELLED, SERVER_CLOSED, sent=False)
        door = self._host.door
        if door is None:
            raise CallError(Code.UNAVAILABLE, NOT_RUNNING, sent=False)
        if asyncio.get_running_loop() is not door.loop:
            raise RuntimeError("this client belongs to the event loop on which its server runs")
        if deadline <= time.monotonic():
            raise CallError(Code.DEADLINE_EXCEEDED, DEADLINE, sent=False)
        return door


class LoopStream:
    """An `AsyncStream`."""

    def __init__(
        self, door: Door, path: str, metadata: Metadata, siblings: dict[LoopStream, None]
    ) -> None:
        self._door = door
        self._siblings = siblings
        self._heard: deque[Heard] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._stream: LocalStream = door.stream(path, dict(metadata), self._deliver)

    def _deliver(self, item: Heard) -> None:
        self._heard.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def send(self, message: bytes, *, last: bool = False) -> None:
        """See `AsyncStream.send`."""
        self._door.send(self._stream, message, last=last)

    async def receive(self, deadline: float | None = None) -> bytes | None:
        """See `AsyncStream.receive`."""
        while not self._heard:
            self._waiter = self._door.loop.create_future()
            left = None if deadline is None else deadline - time.monotonic()
            async with asyncio.timeout(left):
                await self._waiter
        item = self._heard.popleft()
        if isinstance(item, bytes):
            self._stream.consumed(len(item))
            return item
        if item is _INTERRUPTED:
            raise TimeoutError
        self._heard.appendleft(item)  # the end stays the end
        self._siblings.pop(self, None)
        if item is None:
            return None
        raise CallError(item.code, item.message)

    def interrupt(self) -> None:
        """See `AsyncStream.interrupt`."""
        self._deliver(_INTERRUPTED)

    def close(self) -> None:
        """See `AsyncStream.close`."""
        self._siblings.pop(self, None)
        self._heard.clear()
        self._stream.cancel()
        self._deliver(RpcError(Code.CANCELLED, CLOSED))


def _settle(answer: asyncio.Future[bytes], outcome: bytes | RpcError) -> None:
    if answer.done():
        return
    if isinstance(outcome, bytes):
        answer.set_result(outcome)
    else:
        answer.set_exception(CallError(outcome.code, outcome.message))


def _expire(answer: asyncio.Future[bytes], call: LocalCall) -> None:
    call.abandon()
    _settle(answer, RpcError(Code.DEADLINE_EXCEEDED, DEADLINE))
