"""A distributed key-value store that speaks the etcd v3 gRPC API.

What a program needs to run a server in itself and to talk to one:

- `serve`: a server in a thread of its own; `serve_cluster`: several.
- `Server`: a server on the running event loop.
- `Config`, `URL`: its options, named as the flags of the command `pykvd`.
- `Client`, `AsyncClient`: clients of this or any etcd v3 server; `pykvd.client` has the rest.

Importing this package imports nothing else; each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pykvd.client import AsyncClient, Client
    from pykvd.config import URL, Config
    from pykvd.embed import Server
    from pykvd.embedded.background import BackgroundServer, serve
    from pykvd.embedded.cluster import BackgroundCluster, serve_cluster

    __version__: str

__all__ = [
    "URL",
    "AsyncClient",
    "BackgroundCluster",
    "BackgroundServer",
    "Client",
    "Config",
    "Server",
    "__version__",
    "serve",
    "serve_cluster",
]

_HOMES = {
    "URL": "pykvd.config",
    "AsyncClient": "pykvd.client",
    "BackgroundCluster": "pykvd.embedded.cluster",
    "BackgroundServer": "pykvd.embedded.background",
    "Client": "pykvd.client",
    "Config": "pykvd.config",
    "Server": "pykvd.embed",
    "serve": "pykvd.embedded.background",
    "serve_cluster": "pykvd.embedded.cluster",
}


def __getattr__(name: str) -> object:
    from importlib import import_module  # noqa: PLC0415 - as cheap as can be

    if name == "__version__":
        value: object = import_module("pykvd.version").VERSION
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
