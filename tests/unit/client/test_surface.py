"""Both clients have the same surface, and importing it loads no server."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import pykvd.client
from pykvd.client import AsyncClient, Client
from pykvd.client.aio import admin as aio_admin
from pykvd.client.aio import lease as aio_lease
from pykvd.client.aio import recipes as aio_recipes
from pykvd.client.aio import stm as aio_stm
from pykvd.client.aio import watch as aio_watch
from pykvd.client.sync import admin, lease, recipes, stm, watch

SHARED = {
    "pykvd.methods",
    "pykvd.status",
    "pykvd.transport",
    "pykvd.transport.client_call",
    "pykvd.transport.client_connection",
    "pykvd.transport.frames",
    "pykvd.transport.grpc",
    "pykvd.transport.hpack",
    "pykvd.transport.huffman",
    "pykvd.transport.keepalive",
    "pykvd.transport.limits",
    "pykvd.version",
}
"""What the client has in common with the server, its peers and the command line."""
PAIRS = [
    (Client, AsyncClient),
    *(
        (getattr(plain, name), getattr(asynchronous, name))
        for plain, asynchronous, names in [
            (admin, aio_admin, ["Cluster", "Maintenance", "Auth", "SnapshotReader"]),
            (
                recipes,
                aio_recipes,
                ["Lock", "Election", "Observer", "Barrier", "DoubleBarrier", "Queue"],
            ),
            (recipes, aio_recipes, ["PriorityQueue"]),
            (lease, aio_lease, ["Lease"]),
            (watch, aio_watch, ["Watch"]),
            (stm, aio_stm, ["STM"]),
        ]
        for name in names
    ),
]


def public(kind: type) -> dict[str, object]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


@pytest.mark.parametrize(("plain", "asynchronous"), PAIRS)
def test_the_same_names_with_the_same_arguments(plain: type, asynchronous: type) -> None:
    mine, theirs = public(plain), public(asynchronous)
    theirs.pop("start", None)  # makes a watch of a confirmed one
    assert list(mine) == list(theirs)
    for name, value in mine.items():
        if inspect.isfunction(value):
            other = theirs[name]
            assert callable(other)
            assert _parameters(value) == _parameters(other), name


def _parameters(function: object) -> list[tuple[str, object, object]]:
    assert callable(function)
    parameters = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in parameters]


def test_all_that_is_promised_is_there() -> None:
    for name in pykvd.client.__all__:
        assert getattr(pykvd.client, name) is not None
    with pytest.raises(AttributeError):
        _ = pykvd.client.nothing


def test_importing_the_client_loads_neither_the_server_nor_asyncio() -> None:
    program = "import pykvd.client, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.startswith("pykvd.")}
    ours -= {name for name in ours if name.startswith(("pykvd.client", "pykvd.pb"))}
    assert ours <= SHARED
    assert not loaded & {"asyncio", "lmdb", "uvloop", "grpc", "pykvd.client.aio"}
