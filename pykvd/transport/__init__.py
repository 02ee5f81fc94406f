"""gRPC over HTTP/2: the server side of the wire, and what clients share with it.

`Server` listens; services are written against `service` (handlers, `Call`, `Stream`, `RpcError`,
`Code`). Below them `connection` is an HTTP/2 connection without I/O, `driver` its asyncio side.
See `limits` for every bound.

Importing this package imports nothing else, so that clients, which need frames and headers only,
do not load the server; each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pykvd.status import Code, RpcError
    from pykvd.transport.async_streams import AsyncStream, async_stream
    from pykvd.transport.grpc import frame_message
    from pykvd.transport.limits import Limits
    from pykvd.transport.server import Server
    from pykvd.transport.service import (
        Call,
        Http,
        Stream,
        StreamHandler,
        StreamReceiver,
        UnaryHandler,
    )
    from pykvd.transport.statistics import Statistics

__all__ = [
    "AsyncStream",
    "Call",
    "Code",
    "Http",
    "Limits",
    "RpcError",
    "Server",
    "Statistics",
    "Stream",
    "StreamHandler",
    "StreamReceiver",
    "UnaryHandler",
    "async_stream",
    "frame_message",
]

_HOMES = {
    "AsyncStream": "pykvd.transport.async_streams",
    "Call": "pykvd.transport.service",
    "Code": "pykvd.status",
    "Http": "pykvd.transport.service",
    "Limits": "pykvd.transport.limits",
    "RpcError": "pykvd.status",
    "Server": "pykvd.transport.server",
    "Statistics": "pykvd.transport.statistics",
    "Stream": "pykvd.transport.service",
    "StreamHandler": "pykvd.transport.service",
    "StreamReceiver": "pykvd.transport.service",
    "UnaryHandler": "pykvd.transport.service",
    "async_stream": "pykvd.transport.async_streams",
    "frame_message": "pykvd.transport.grpc",
}


def __getattr__(name: str) -> object:
    from importlib import import_module  # noqa: PLC0415 - as cheap as can be

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
