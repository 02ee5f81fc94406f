"""Every scenario runs with both clients, against pykvd and against etcd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness import ETCD, PYKVD, Kind, Server, running
from tests.integration.client.blocked import Making

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.client import Client


@pytest.fixture(scope="package", params=[PYKVD, ETCD], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Which server; skipped by name where it is not installed."""
    found: Kind = request.param
    if not found.installed():
        pytest.skip(f"{found.name} is not installed (Debian: etcd-server)")
    return found


@pytest.fixture(scope="package")
def server(kind: Kind) -> Iterator[Server]:
    """A server that scenarios share; each uses keys of its own."""
    with running(kind) as server:
        yield server


@pytest.fixture
def own_server(kind: Kind) -> Iterator[Server]:
    """A server that a scenario may stop, compact and lock up."""
    with running(kind) as server:
        yield server


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Making]:
    """Makes clients."""
    making = Making(request.param)
    try:
        yield making
    finally:
        making.close()


@pytest.fixture
def client(make: Making, server: Server) -> Client:
    """A client of the shared server."""
    return make(server.endpoint)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A prefix for the keys of one test."""
    return f"{request.node.name}/"
