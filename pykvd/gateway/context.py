"""What a unary call and a stream of the gateway share: metadata, deadline, counts, how they end."""

from __future__ import annotations

import asyncio
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pykvd.status import Code, RpcError
from pykvd.transport.grpc import decode_binary, parse_timeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pykvd.http import Exchange, Head
    from pykvd.transport.statistics import MethodCounters

METADATA_PREFIX: Final = "grpc-metadata-"
DEADLINE_TEXT: Final = "context deadline exceeded"
SUCCESS_HEADERS: Final = (
    ("Content-Type", "application/json"),
    ("Grpc-Metadata-Content-Type", "application/grpc"),
)


class CallContext:
    """A call of the services that came as an HTTP request.

    It is counted in `counts` like one that came by gRPC; how long it took only with `timed`.
    """

    def __init__(self, exchange: Exchange, counts: MethodCounters, *, timed: bool) -> None:
        self._exchange = exchange
        self._counts = counts
        counts.started += 1
        self._begun = perf_counter() if timed else None
        self._metadata: Mapping[str, str | bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.deadline: float | None = None
        self.done = False
        exchange.on_gone = self.gone

    def start_clock(self) -> None:
        """Mind the client's `Grpc-Timeout`. Raises RpcError when it cannot be read."""
        timeout = self._exchange.head.headers.get("grpc-timeout")
        if timeout is None:
            return
        try:
            seconds = parse_timeout(timeout)
        except ValueError:
            raise RpcError(Code.INVALID_ARGUMENT, f"invalid grpc-timeout: {timeout}") from None
        loop = asyncio.get_running_loop()
        self.deadline = loop.time() + seconds
        self._timer = loop.call_at(self.deadline, self._out_of_time)

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """As `transport.Call.metadata`: `Grpc-Metadata-*` headers, and `Authorization`."""
        if self._metadata is None:
            self._metadata = request_metadata(self._exchange.head)
        return self._metadata

    @property
    def peer(self) -> str:
        """As `transport.Call.peer`."""
        return self._exchange.peer

    @property
    def common_name(self) -> str:
        """Nobody's: a browser shows its certificate to whichever page makes it ask.

        etcd does not take a certificate for a user here either; it takes tokens.
        """
        return ""

    def gone(self) -> None:
        """The client has left."""
        if not self.done:
            self.settle(Code.CANCELLED)
            self.abandoned()

    def _out_of_time(self) -> None:
        if not self.done:
            self.expire()
            self.abandoned()

    def settle(self, code: int) -> None:
        """The outcome is decided."""
        self.done = True
        self._counts.ended(code)
        if self._begun is not None:
            self._counts.seconds.observe(perf_counter() - self._begun)
        if self._timer is not None:
            self._timer.cancel()

    def expire(self) -> None:
        """Answer that the client's time is over."""
        raise NotImplementedError

    def abandoned(self) -> None:
        """Tell the service that the call ended without its doing."""
        raise NotImplementedError


def request_metadata(head: Head) -> Mapping[str, str | bytes]:
    """The gRPC metadata in the headers of a request. Raises RpcError for broken base64."""
    metadata: dict[str, str | bytes] = {}
    for header, value in head.headers.items():
        if header == "authorization":
            metadata[header] = value
        elif header.startswith(METADATA_PREFIX):
            name = header[len(METADATA_PREFIX) :]
            try:
                metadata[name] = decode_binary(value) if name.endswith("-bin") else value
            except ValueError as error:
                raise RpcError(
                    Code.INVALID_ARGUMENT, f"invalid binary header {name}: {error}"
                ) from None
    return MappingProxyType(metadata)
