"""Servers for the tests of the command line, as the shared harness starts them."""

import os
from collections.abc import Iterator

import pytest

from tests.harness import ETCD, PYKVD, Kind, Server, running

PEER_URL = "http://127.0.0.1:32380"

#: Member and cluster IDs follow from the advertised peer URL and the token. Nobody dials that URL,
#: so the IDs of the transcripts can be had on any port.
GOLDEN_IDS = (
    "--name=n1",
    f"--initial-advertise-peer-urls={PEER_URL}",
    f"--initial-cluster=n1={PEER_URL}",
    "--initial-cluster-token=golden",
)


def installed_kinds() -> list[Kind]:
    """Our server, and a real etcd where there is one."""
    return [kind for kind in (PYKVD, ETCD) if kind.installed()]


def environment(server: Server) -> dict[str, str]:
    """The environment of this process with the server as the endpoint and no other variables."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_")}
    return environ | {"ETCDCTL_ENDPOINTS": server.endpoint}


@pytest.fixture(scope="module", params=installed_kinds(), ids=lambda kind: kind.name)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with an empty store for all tests of a module."""
    with running(request.param) as started:
        yield started
