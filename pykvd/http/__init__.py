"""HTTP: a small server for the clients that do not speak gRPC.

`parser` turns bytes into requests (h11 reads what was not seen before), `message` holds requests
and responses, `connection` is one socket of HTTP/1.1, `stream` one request on HTTP/2, `server` all
of them, `application` sends a request to its handler. What is served at which path is put together
in `pykvd.endpoints`.
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
