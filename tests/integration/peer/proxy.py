"""A TCP proxy that cuts and damages what passes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Proxy:
    """Forwards to `target`. Cuts once after `cut_after` bytes, flips one at `damage_at`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.passed = 0
        """Bytes forwarded from clients, of all connections."""
        self.connections = 0
        self.cut_after: int | None = None
        self.damage_at: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        back = asyncio.ensure_future(self._copy(far_reader, writer))
        try:
            await self._forward(reader, far_writer)
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            for each in (writer, far_writer):
                each.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if self.damage_at is not None and self.damage_at < self.passed + len(data):
                    damaged = bytearray(data)
                    damaged[self.damage_at - self.passed] ^= 0x10
                    data, self.damage_at = bytes(damaged), None
                self.passed += len(data)
                writer.write(data)
                await writer.drain()
                if self.cut_after is not None and self.passed >= self.cut_after:
                    self.cut_after = None
                    return

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
