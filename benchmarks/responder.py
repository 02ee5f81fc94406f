"""An empty gRPC handler on raw HTTP/2: answers every unary call with the same small message.

It parses frame headers only, so that the load generator and not the server is measured.
"""

import asyncio
from typing import cast

import uvloop

from benchmarks import frames
from benchmarks.frames import FRAME_HEADER, FRAME_HEADER_SIZE

_RENEW_BYTES = 1 << 15
_MESSAGE = b"\0\0\0\0\x04\x0a\x02\x18\x01"

# All literals without indexing: no dynamic table to keep.
_HEADERS = b"\x88\x0f\x10\x10application/grpc"
_TRAILERS = b"\x00\x0bgrpc-status\x010"


def _reply(stream: int) -> bytes:
    return b"".join(
        (
            frames.frame(frames.HEADERS, frames.END_HEADERS, stream, _HEADERS),
            frames.frame(frames.DATA, 0, stream, _MESSAGE),
            frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, _TRAILERS),
        )
    )


_PLACEHOLDER = 0x7EADBEEF
_PARTS = _reply(_PLACEHOLDER).split(_PLACEHOLDER.to_bytes(4))


class Responder(asyncio.Protocol):
    """One connection of the empty handler."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._greeted = False
        self._consumed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the server's SETTINGS."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(frames.settings({}))

    def data_received(self, data: bytes) -> None:
        """Answer every call that ends in `data`, in one write."""
        assert self._transport is not None
        data = self._rest + data if self._rest else data
        position, end = 0, len(data)
        if not self._greeted:
            if end < len(frames.PREFACE):
                self._rest = data
                return
            self._greeted, position = True, len(frames.PREFACE)
        out = []
        while end - position >= FRAME_HEADER_SIZE:
            high, low, kind, flags, stream = FRAME_HEADER.unpack_from(data, position)
            stop = position + FRAME_HEADER_SIZE + (high << 16 | low)
            if stop > end:
                break
            if kind == frames.DATA:
                self._consumed += stop - position
                if flags & frames.END_STREAM:
                    out.append(stream.to_bytes(4).join(_PARTS))
            elif kind == frames.SETTINGS and not flags & frames.ACK:
                out.append(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
            position = stop
        self._rest = data[position:]
        if self._consumed > _RENEW_BYTES:
            # Counts the frame headers as well: a little generous, and never short.
            out.append(frames.window_update(0, self._consumed))
            self._consumed = 0
        self._transport.write(b"".join(out))


async def serve(port: int) -> None:
    """Answer calls on 127.0.0.1:`port` until cancelled."""
    server = await asyncio.get_running_loop().create_server(Responder, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    import sys

    uvloop.run(serve(int(sys.argv[1])))
