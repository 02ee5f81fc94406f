"""Generator processes and server life cycle, with the empty responder as the server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.generator import Duration, Generator
from benchmarks.run import parse_arguments
from benchmarks.servers import Server, fresh_server
from benchmarks.workloads import BY_NAME

SHORT = Duration(0.05, 0.3)


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator(2) as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with fresh_server("empty", tmp_path) as fresh:
        fresh.start()
        yield fresh


def test_processes_add_up(generator: Generator, server: Server) -> None:
    figures = generator.measure(BY_NAME["put-100"], server.port, SHORT)

    assert figures.value > 1000
    assert figures.p50_ms is not None
    assert figures.p99_ms is not None
    assert 0 < figures.p50_ms <= figures.p99_ms


def test_one_caller_is_told_by_its_median(generator: Generator, server: Server) -> None:
    figures = generator.measure(BY_NAME["put-1"], server.port, SHORT)

    assert figures.value == figures.p50_ms


def test_answers_that_are_too_short_fail(generator: Generator, server: Server) -> None:
    with pytest.raises(BenchmarkError, match="replies had"):
        generator.measure(BY_NAME["range-serializable-100"], server.port, SHORT)


def test_a_server_that_is_gone_fails(generator: Generator, server: Server) -> None:
    server.stop()

    with pytest.raises(BenchmarkError, match=r"[Cc]onnect"):
        generator.measure(BY_NAME["put-1"], server.port, SHORT)
    with pytest.raises(BenchmarkError, match="empty is gone"):
        server.check()


def test_memory_and_clean_up(tmp_path: Path) -> None:
    with fresh_server("empty", tmp_path) as server:
        assert 0 < server.start() < 60
        memory = server.memory()
        assert 0 < memory.anonymous <= memory.total
        assert list(tmp_path.iterdir())

    assert not list(tmp_path.iterdir())


def test_quick_changes_defaults_only() -> None:
    quick = parse_arguments(["--quick", "--rounds", "2", "--servers", "etcd"])

    assert (quick.rounds, quick.seconds, quick.keys) == (2, 1.5, 200_000)
    assert quick.servers == ["etcd"]
    with pytest.raises(SystemExit):
        parse_arguments(["--servers", "zookeeper"])
