"""One cluster for all these tests, whole again before each; logs are shown on failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.cluster.cluster import Cluster, clustered

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@pytest.fixture(scope="package")
def shared() -> Iterator[Cluster]:
    """The cluster of three that most tests share, running."""
    with clustered() as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def three(shared: Cluster) -> Cluster:
    """Three members that run and follow one leader, whatever the test before did to them."""
    shared.heal()
    return shared


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every member's log with a failure."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            for member in value if isinstance(value, Cluster) else ():
                report.sections.append((f"log of {member.name}", member.log_tail()))
    return report
