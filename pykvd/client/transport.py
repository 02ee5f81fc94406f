"""The seam between the client and what carries its calls.

Everything above it (requests, retries, watches that resume, locks) knows only these four protocols
and one exception; everything below (sockets and HTTP/2 in `pykvd.client.wire`, or the handlers of a
server in the same process) knows nothing of etcd. `Client` uses `Transport` and `Stream`, and
`AsyncClient` uses `AsyncTransport` and `AsyncStream`.

The contract, the same for all:

- `path` is the method (`/etcdserverpb.KV/Put`), messages are serialised protobuf.
- `deadline` is on the clock of `time.monotonic()`, in seconds. `unary` ends by then, whatever
  happens: with the reply, or with `CallError` DEADLINE_EXCEEDED. Opening a stream may take until
  its deadline to reach the server and does not wait for an answer. After that a stream lives until
  it is closed; the deadline of its `receive` bounds that one wait only, and the TimeoutError leaves
  the stream usable.
- `metadata` are pairs of lower-case ASCII names and values (`token`, `hasleader`).
- Failures are `CallError`, and nothing else. Its `sent` is False only if the request certainly was
  not and will not be carried out: nobody could be reached, or the server said that it did not look
  at the request. The client repeats writes on the strength of it, so in doubt it is True.
- `receive` ends with the next message, with None when the server has ended the stream with OK, or
  with `CallError`. `interrupt` has the one that waits, or else the next one, end with TimeoutError.
- A `Transport` and its streams may be used by several threads; one at a time receives from a
  stream. `close` of a stream wakes the thread that waits in its `receive` (CANCELLED). Async ones
  belong to one event loop. Closing twice is allowed; what is open when a transport closes ends as
  CANCELLED, and what is started later fails as CANCELLED and not `sent`.

A client over an own transport is `Client(transport=...)` or `AsyncClient(transport=...)`; it closes
the transport when it is closed.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from pykvd.status import Code, RpcError

M = TypeVar("M", bound=Message)

Metadata = tuple[tuple[str, str], ...]


class CallError(RpcError):
    """A call that ended with another status than OK; `sent` is False if it was not carried out."""

    def __init__(self, code: int, message: str, *, sent: bool = True) -> None:
        super().__init__(code, message)
        self.sent = sent


def decode(kind: type[M], data: bytes) -> M:
    """A message as it came from a server; raises CallError if it is none of that kind."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise CallError(Code.INTERNAL, f"the server sent no valid {kind.__name__}") from None


class Stream(Protocol):
    """A streaming call of any kind."""

    def send(self, message: bytes, *, last: bool = False) -> None:
        """Queue a message; `last` says that none will follow. Does nothing once it is over."""

    def receive(self, deadline: float | None = None) -> bytes | None:
        """The next message; None after the last one.

        Raises:
            CallError: the stream ended with another status than OK.
            TimeoutError: no message by the deadline.

        """

    def interrupt(self) -> None:
        """End the `receive` that waits, or the next one, with TimeoutError."""

    def close(self) -> None:
        """Cancel it."""


class Transport(Protocol):
    """A way to one server, for blocking callers."""

    def unary(self, path: str, request: bytes, deadline: float, metadata: Metadata) -> bytes:
        """The reply, by the deadline; raises CallError."""

    def stream(self, path: str, deadline: float, metadata: Metadata) -> Stream:
        """Open a stream by the deadline; raises CallError."""

    def close(self) -> None:
        """End all calls and let go of everything."""


class AsyncStream(Protocol):
    """A streaming call of any kind."""

    def send(self, message: bytes, *, last: bool = False) -> None:
        """As `Stream.send`."""

    async def receive(self, deadline: float | None = None) -> bytes | None:
        """As `Stream.receive`."""

    def interrupt(self) -> None:
        """As `Stream.interrupt`."""

    def close(self) -> None:
        """Cancel it."""


class AsyncTransport(Protocol):
    """A way to one server, for coroutines of one event loop."""

    async def unary(self, path: str, request: bytes, deadline: float, metadata: Metadata) -> bytes:
        """The reply, by the deadline; raises CallError."""

    async def stream(self, path: str, deadline: float, metadata: Metadata) -> AsyncStream:
        """Open a stream by the deadline; raises CallError."""

    async def close(self) -> None:
        """End all calls and let go of everything."""
