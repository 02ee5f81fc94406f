"""Calls of a `Client` in any thread to a server whose loop runs in another.

The caller posts its request to the server's loop and sleeps until the answer is in its queue: no
socket, no parsing of frames, no event loop of its own. Deadlines are kept by the caller, so that
they hold when the server's loop hangs.
"""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from pykvd.api.calls import LOW_WATER
from pykvd.client.transport import CallError
from pykvd.embedded.door import ForkedError
from pykvd.embedded.loop_transport import CLOSED, DEADLINE, NOT_RUNNING, SERVER_CLOSED
from pykvd.status import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.api.calls import Heard, LocalCall, LocalStream
    from pykvd.client.transport import Metadata
    from pykvd.embedded.door import Door, Host

_NEVER_RAN = RpcError(Code.UNAVAILABLE, NOT_RUNNING)
_INTERRUPTED = RpcError(Code.CANCELLED, "interrupted")


class ThreadTransport:
    """A `Transport`; `host` is the server.

    It outlives a restart of the server. Raises RuntimeError on the server's own thread, which would
    wait for itself, and ForkedError after a fork.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._waiting: dict[_Waiting, None] = {}

    def unary(self, path: str, request: bytes, deadline: float, metadata: Metadata) -> bytes:
        """See `Transport.unary`."""
        door = self._enter(deadline)
        waiting = _Unary(door, path, request, deadline, metadata)
        self._add(waiting)
        try:
            waiting.post(waiting.start)
            return waiting.answer(deadline)
        finally:
            self._discard(waiting)

    def stream(self, path: str, deadline: float, metadata: Metadata) -> ThreadStream:
        """See `Transport.stream`."""
        stream = ThreadStream(self._enter(deadline), path, metadata, self._discard)
        self._add(stream)
        stream.post(stream.start)
        return stream

    def close(self) -> None:
        """See `Transport.close`."""
        if os.getpid() != self._owner:
            return  # the calls are the parent's
        with self._lock:
            self._closed = True
            waiting, self._waiting = list(self._waiting), {}
        for each in waiting:
            each.close()

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
        if door.thread == threading.get_ident():
            raise RuntimeError("a blocking client on its server's own thread would wait for itself")
        if deadline <= time.monotonic():
            raise CallError(Code.DEADLINE_EXCEEDED, DEADLINE, sent=False)
        return door

    def _add(self, waiting: _Waiting) -> None:
        with self._lock:
            if self._closed:
                raise CallError(Code.CANCELLED, CLOSED, sent=False)
            self._waiting[waiting] = None

    def _discard(self, waiting: _Waiting) -> None:
        with self._lock:
            self._waiting.pop(waiting, None)


class _Waiting:
    """A call whose client waits at the other end of a queue."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.heard: SimpleQueue[Heard] = SimpleQueue()

    def post(self, step: Callable[[], None]) -> None:
        """Run a step on the server's loop; ends the call where that loop is gone."""
        if not self.door.post(step):
            self.heard.put(_NEVER_RAN)

    def next(self, deadline: float | None) -> Heard:
        """What is heard next. Raises TimeoutError."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            return self.heard.get(timeout=left)
        except Empty:
            raise TimeoutError from None

    def close(self) -> None:
        """End the call from the client's side."""
        raise NotImplementedError


class _Unary(_Waiting):
    def __init__(
        self, door: Door, path: str, request: bytes, deadline: float, metadata: Metadata
    ) -> None:
        super().__init__(door)
        self._path = path
        self._request = request
        self._deadline = deadline
        self._metadata = metadata
        self._call: LocalCall | None = None
        self._given_up = False

    def start(self) -> None:
        """On the loop: make the call, unless the caller has left meanwhile."""
        if self._given_up:
            return
        loop_deadline = self.door.loop.time() + self._deadline - time.monotonic()
        self._call = self.door.call(
            self._path, self._request, dict(self._metadata), loop_deadline, self.heard.put
        )

    def answer(self, deadline: float) -> bytes:
        """Wait for the reply; raises CallError."""
        try:
            answer = self.next(deadline)
        except TimeoutError:
            self._leave()
            raise CallError(Code.DEADLINE_EXCEEDED, DEADLINE) from None
        except BaseException:  # a KeyboardInterrupt must not leave the call behind
            self._leave()
            raise
        if isinstance(answer, bytes):
            return answer
        assert answer is not None
        raise CallError(answer.code, answer.message, sent=answer is not _NEVER_RAN)

    def close(self) -> None:
        self._leave()
        self.heard.put(RpcError(Code.CANCELLED, CLOSED))

    def _leave(self) -> None:
        self._given_up = True
        self.post(self._abandon)

    def _abandon(self) -> None:
        if self._call is not None:
            self._call.abandon()


class ThreadStream(_Waiting):
    """A `Stream`."""

    def __init__(
        self,
        door: Door,
        path: str,
        metadata: Metadata,
        over: Callable[[_Waiting], None],
    ) -> None:
        super().__init__(door)
        self._path = path
        self._metadata = metadata
        self._over = over
        self._stream: LocalStream | None = None
        self._read = 0

    def start(self) -> None:
        """On the loop: begin the call."""
        self._stream = self.door.stream(self._path, dict(self._metadata), self.heard.put)

    def send(self, message: bytes, *, last: bool = False) -> None:
        """See `Stream.send`."""
        self.post(partial(self._send, message, last))

    def _send(self, message: bytes, last: bool) -> None:
        assert self._stream is not None
        self.door.send(self._stream, message, last=last)

    def receive(self, deadline: float | None = None) -> bytes | None:
        """See `Stream.receive`."""
        item = self.next(deadline)
        if isinstance(item, bytes):
            self._note_read(len(item))
            return item
        if item is _INTERRUPTED:
            raise TimeoutError
        self.heard.put(item)  # the end stays the end
        self._over(self)
        if item is None:
            return None
        raise CallError(item.code, item.message, sent=item is not _NEVER_RAN)

    def _note_read(self, size: int) -> None:
        """Tell the server, but not message by message: that would wake its loop for each."""
        self._read += size
        if self._read >= LOW_WATER:
            self.post(partial(self._consumed, self._read))
            self._read = 0

    def _consumed(self, size: int) -> None:
        assert self._stream is not None
        self._stream.consumed(size)

    def interrupt(self) -> None:
        """See `Stream.interrupt`."""
        self.heard.put(_INTERRUPTED)

    def close(self) -> None:
        """See `Stream.close`."""
        self._over(self)
        self.post(self._cancel)
        self.heard.put(RpcError(Code.CANCELLED, CLOSED))

    def _cancel(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
