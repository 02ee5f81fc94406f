"""HTTP/1.1: a small server for the sockets whose clients do not speak gRPC.

`parser` turns bytes into requests (h11 reads what was not seen before), `message` holds requests
and responses, `connection` is one socket, `server` all of them, `application` sends a request to
its handler. What is served at which path is put together in `pykvd.endpoints`.
"""

from pykvd.http.application import Application, Handler
from pykvd.http.exchange import Exchange
from pykvd.http.limits import HttpLimits
from pykvd.http.message import Head, Response
from pykvd.http.server import HttpServer

__all__ = [
    "Application",
    "Exchange",
    "Handler",
    "Head",
    "HttpLimits",
    "HttpServer",
    "Response",
]
