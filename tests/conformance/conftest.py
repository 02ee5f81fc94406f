"""Which servers meet: a reference (etcd) and a subject (pykvd).

`PYKVD_TEST_SUBJECT=etcd` puts etcd on both sides, which proves the tests and their expectations.
"""

import shutil
from collections.abc import Iterator

import pytest

from tests.harness import ETCD, PYKVD, Client, Kind, Server, kind_from_environment, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs a program that is not installed."""
    missing = [name for name in ("/usr/bin/etcd", "/usr/bin/etcdctl") if shutil.which(name) is None]
    if missing:
        reason = f"{' and '.join(missing)} not installed (Debian: etcd-server, etcd-client)"
        for item in items:
            if item.get_closest_marker("etcd"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def reference_kind() -> Kind:
    return ETCD


@pytest.fixture(scope="session")
def subject_kind() -> Kind:
    return kind_from_environment("PYKVD_TEST_SUBJECT", PYKVD)


@pytest.fixture(scope="module")
def server(subject_kind: Kind) -> Iterator[Server]:
    """One server that the tests of a module share."""
    with running(subject_kind) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A connection to the shared server."""
    with Client(server.endpoint) as client:
        yield client


@pytest.fixture
def fresh(subject_kind: Kind) -> Iterator[Client]:
    """A connection to a server of the test's own, without any data."""
    with running(subject_kind) as server, Client(server.endpoint) as client:
        yield client
