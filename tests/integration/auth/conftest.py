"""A server with auth on, and its users."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.harness import PYKVD, Client, Server, running
from tests.harness.rpc import Metadata
from tests.integration.auth.accounts import FLAGS, as_ann, as_root, enable_auth


@dataclass(frozen=True)
class Guarded:
    """A server with auth on, a connection to it, and the metadata of its users' calls."""

    server: Server
    client: Client
    root: Metadata
    ann: Metadata


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """One server that the tests of a module share."""
    with running(PYKVD, FLAGS) as server, Client(server.endpoint) as client:
        enable_auth(client)
        yield Guarded(server, client, as_root(client), as_ann(client))
