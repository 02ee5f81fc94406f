"""A server for real clients; `PYKVD_TEST_SUBJECT=etcd` shows what they do against etcd."""

from collections.abc import Iterator

import pytest

from tests.harness import PYKVD, Server, kind_from_environment, running


@pytest.fixture
def server() -> Iterator[Server]:
    with running(kind_from_environment("PYKVD_TEST_SUBJECT", PYKVD)) as server:
        yield server
