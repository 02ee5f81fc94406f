"""The options, the marker and the fixtures; the server is imported when it is first used."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pykvd import BackgroundCluster, BackgroundServer, Client, Config

MARKER = "pykvd"
_FAILED = pytest.StashKey[bool]()
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("pykvd", "etcd-compatible servers for tests")
    group.addoption(
        "--pykvd-keep-data",
        metavar="DIR",
        help="Keep the data directories of failed tests below DIR, one a test.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(members=3, **flags): size of pykvd_cluster, and flags of the servers by the "
        "names of pykvd.Config",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test failed, for its fixtures' end."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture
def pykvd_server(request: pytest.FixtureRequest) -> Iterator[BackgroundServer]:
    """A fresh etcd-compatible server in this process, gone after the test.

    `endpoint` is its `host:port`, `client()` a client without a socket; `stop`, `start`, `restart`
    and `kill` do what they say.
    """
    from pykvd import serve  # noqa: PLC0415 - a run without servers shall not import one

    with _home(request) as home, serve(_config(request), data_dir=home, port=0) as server:
        yield server


@pytest.fixture
def pykvd_cluster(request: pytest.FixtureRequest) -> Iterator[BackgroundCluster]:
    """A fresh cluster of three servers in this process; `@pytest.mark.pykvd(members=5)` for five.

    Its members can `kill`, `pause`, `resume` and `restart`; `partition` and `heal` cut and mend the
    links between them; `leader()` waits for one.
    """
    from pykvd import serve_cluster  # noqa: PLC0415
    from pykvd.embedded.cluster import quick  # noqa: PLC0415

    size = _marked(request).get("members", 3)
    with _home(request) as home, serve_cluster(size, quick(_config(request)), data_dir=home) as it:
        yield it


@pytest.fixture
def etcd_client(pykvd_server: BackgroundServer) -> Iterator[Client]:
    """A `pykvd.Client` that talks to `pykvd_server` over its port, as an application would."""
    from pykvd import Client  # noqa: PLC0415

    with Client(pykvd_server.endpoint) as client:
        yield client


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The marker's arguments; those nearest to the test win."""
    arguments: dict[str, Any] = {}
    for marker in request.node.iter_markers(MARKER):
        arguments = {**marker.kwargs, **arguments}
    return arguments


def _config(request: pytest.FixtureRequest) -> Config:
    """What the marker says, without syncs: the data outlives no power cut anyway."""
    from pykvd import Config  # noqa: PLC0415

    flags = {name: value for name, value in _marked(request).items() if name != "members"}
    return Config(**{"unsafe_no_fsync": True, "listen_peer_urls": (), **flags})


@contextmanager
def _home(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory for one test's data."""
    keep = request.config.getoption("--pykvd-keep-data")
    home = Path(tempfile.mkdtemp(prefix="pykvd-test-"))
    try:
        yield home
    finally:
        if keep and request.node.stash.get(_FAILED, False):
            kept = _new_directory(Path(keep), _UNSAFE.sub("-", request.node.nodeid))
            shutil.copytree(home, kept, dirs_exist_ok=True)
            request.node.add_report_section("teardown", "pykvd", f"data kept in {kept}")
        shutil.rmtree(home, ignore_errors=True)


def _new_directory(parent: Path, name: str) -> Path:
    """A directory of that name, numbered where there is one from an earlier run."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 10_000):
        path = parent / (name if number == 1 else f"{name}.{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(parent / name)
