"""`Door`: where calls from the same process enter a server, past the checks of the network path."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pykvd.api.calls import LocalCall, LocalStream
from pykvd.errors import Failure
from pykvd.status import Code, RpcError
from pykvd.transport.grpc import message_too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pykvd.api.calls import Heard
    from pykvd.api.services import Services


class ForkedError(RuntimeError):
    """The server was started by another process, of which this one is a fork."""

    def __init__(self, owner: int) -> None:
        super().__init__(
            f"this server runs in process {owner}, not in its fork {os.getpid()}: connect to its "
            "endpoint with a client of this process, or start a server here"
        )


class _Program(NamedTuple):
    """The `Caller` of all calls that come this way; `peer` is what logs and services see."""

    metadata: Mapping[str, str]
    deadline: float | None
    peer: str = "in-process"
    common_name: str = ""


class Host(Protocol):
    """Whose door it is: a server that may stop and start again until it is closed for good."""

    @property
    def door(self) -> Door | None:
        """The door while it runs."""

    @property
    def closed(self) -> bool:
        """Whether it will never run again."""


class Door:
    """The services of one running server for callers on its loop.

    Requests are bounded as on the wire, unknown methods are refused in the same words, and the
    handlers are those that the listener calls, with the same guard in front.
    """

    def __init__(self, services: Services, *, max_message_bytes: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self._services = services
        self._max_message_bytes = max_message_bytes
        self._calls: dict[LocalCall, None] = {}
        self._streams: dict[LocalStream, None] = {}
        self._closed = False
        self._sealed = False
        self._sealing = threading.Lock()

    def post(self, step: Callable[[], None]) -> bool:
        """Have the loop run a step, from another thread; False when it will not any more."""
        with self._sealing:
            if not self._sealed:
                self.loop.call_soon_threadsafe(step)
            return not self._sealed

    def call(
        self,
        path: str,
        request: bytes,
        metadata: Mapping[str, str],
        deadline: float | None,
        answered: Callable[[bytes | RpcError], None],
    ) -> LocalCall:
        """Start a unary call, which may be answered at once. `deadline` is on the loop's clock."""
        call = LocalCall(_Program(metadata, deadline), answered)
        handler = self._services.unary.get(path)
        if refusal := self._refusal(known=handler is not None, path=path, request=request):
            call.fail(refusal.code, refusal.message)
        else:
            assert handler is not None
            call.run(handler, request)
        if not call.done:
            self._calls[call] = None
            call.on_end = self._forget_call
        return call

    def stream(
        self, path: str, metadata: Mapping[str, str], deliver: Callable[[Heard], None]
    ) -> LocalStream:
        """Start a streaming call."""
        stream = LocalStream(_Program(metadata, None), deliver)
        handler = self._services.streams.get(path)
        if refusal := self._refusal(known=handler is not None, path=path):
            stream.finish(refusal.code, refusal.message)
        else:
            assert handler is not None
            self._streams[stream] = None
            stream.on_end = self._forget_stream
            stream.start(handler)
        return stream

    def send(self, stream: LocalStream, message: bytes, *, last: bool) -> None:
        """A client's message on its stream."""
        if stream.done:
            return
        if len(message) > self._max_message_bytes:
            error = message_too_large(len(message), self._max_message_bytes)
            stream.refuse(error)
        else:
            stream.request(message, last=last)

    def _refusal(self, *, known: bool, path: str, request: bytes = b"") -> RpcError | None:
        if self._closed:
            return Failure.STOPPED.error()
        if not known:
            service, _, method = path.removeprefix("/").rpartition("/")
            return RpcError(Code.UNIMPLEMENTED, f"unknown method {method} for service {service}")
        if len(request) > self._max_message_bytes:
            return message_too_large(len(request), self._max_message_bytes)
        return None

    def _forget_call(self, call: LocalCall) -> None:
        self._calls.pop(call, None)

    def _forget_stream(self, stream: LocalStream) -> None:
        self._streams.pop(stream, None)

    def close(self) -> None:
        """Let nobody in any more and end the streams; calls under way are the node's to answer."""
        self._closed = True
        for stream in list(self._streams):
            stream.refuse(Failure.STOPPED.error())

    def seal(self) -> None:
        """End what is left. Steps posted before it run in the loop's next turn, none later."""
        self.close()
        for call in list(self._calls):
            call.abandon()
            call.answered(Failure.STOPPED.error())
        with self._sealing:
            self._sealed = True
