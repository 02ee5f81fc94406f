"""A TCP proxy that cuts and damages what passes."""

from __future__ import annotations

import asyncio
from typing import Self, cast


class Proxy:
    """Forwards to `target`. Cuts once after `cut_after` bytes, flips a bit at `damage_at`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.passed = 0
        """Bytes forwarded from clients, of all connections."""
        self.connections = 0
        self.cut_after: int | None = None
        self.damage_at: int | None = None
        self.sides: set[_Side] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Front(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        while self.sides:
            for side in list(self.sides):
                side.transport.abort()
            await asyncio.sleep(0)

    def freeze(self) -> None:
        """Let nothing pass any more on the connections there are, and close none."""
        for side in self.sides:
            side.transport.pause_reading()

    def filter(self, data: bytes) -> bytes:
        """Client bytes as they go on."""
        at = self.damage_at
        if at is not None and at < self.passed + len(data):
            damaged = bytearray(data)
            damaged[at - self.passed] ^= 0x10
            data, self.damage_at = bytes(damaged), None
        self.passed += len(data)
        return data


class _Side(asyncio.Protocol):
    """One of the two sockets of a connection; a full one stops the reading of the other."""

    transport: asyncio.Transport

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.other: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.proxy.sides.add(self)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.proxy.sides.discard(self)
        if self.other is not None:
            self.other.transport.abort()

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


class _Front(_Side):
    """The client's side."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.proxy.connections += 1
        self._early = b""  # a loop may read whatever connection_made asks for
        self._dial = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        try:
            _, self.other = await asyncio.get_running_loop().create_connection(
                lambda: _Side(self.proxy), "127.0.0.1", self.proxy.target
            )
        except OSError:
            self.transport.abort()
            return
        self.other.other = self
        self.other.transport.write(self._early)

    def connection_lost(self, exc: Exception | None) -> None:
        self._dial.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        proxy = self.proxy
        data = proxy.filter(data)
        if self.other is None:
            self._early += data
        super().data_received(data)
        if proxy.cut_after is not None and proxy.passed >= proxy.cut_after:
            proxy.cut_after = None
            self.transport.abort()
