"""gRPC over HTTP/2: the server side of the wire.

`Server` listens; services are written against `service` (handlers, `Call`, `Stream`, `RpcError`,
`Code`). Below them `connection` is an HTTP/2 connection without I/O, `driver` its asyncio side.
See `limits` for every bound.
"""

from pykvd.status import Code, RpcError
from pykvd.transport.async_stream import AsyncStream, async_stream
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
