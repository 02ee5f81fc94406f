"""Fixtures of the state machine's tests."""

from collections.abc import Iterator

import pytest

from tests.unit.node.machine import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    """An empty state machine."""
    machine = Machine()
    yield machine
    machine.close()
