"""One server process for the tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.harness import PYKVD, Server, running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(PYKVD) as server:
        yield server
