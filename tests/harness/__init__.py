"""Shared parts of the tests that talk to real servers: processes, RPCs and watch streams.

Nothing here knows which implementation answers: a `Server` is started from a `Kind`, and everything
else needs only its endpoint.
"""

from tests.harness.ports import free_port
from tests.harness.rpc import Client, Failure
from tests.harness.server import (
    ETCD,
    PYKVD,
    Kind,
    Server,
    ServerError,
    kind_from_environment,
    running,
)
from tests.harness.wait import wait_until
from tests.harness.watching import WatchStream

__all__ = [
    "ETCD",
    "PYKVD",
    "Client",
    "Failure",
    "Kind",
    "Server",
    "ServerError",
    "WatchStream",
    "free_port",
    "kind_from_environment",
    "running",
    "wait_until",
]
