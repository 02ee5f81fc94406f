import pytest

from benchmarks.report import Results, met, table
from benchmarks.workload import Figures, Row, latency_row, throughput_row

PUT = throughput_row("put", "Put")
SINGLE = latency_row("put-1", "Put, 1 caller")
MEMORY = Row("memory", "resident", "MB", False, 1.0)


@pytest.mark.parametrize(
    ("row", "pykvd", "etcd", "expected"),
    [
        (PUT, Figures(1500, 1, 10), Figures(1000, 1, 10), True),
        (PUT, Figures(1499, 1, 10), Figures(1000, 1, 10), False),
        (PUT, Figures(3000, 1, 11), Figures(1000, 1, 10), False),
        (SINGLE, Figures(1.1, 1.1, 9), Figures(1.0, 1.0, 1), True),
        (SINGLE, Figures(1.2, 1.2, 1), Figures(1.0, 1.0, 1), False),
        (MEMORY, Figures(100), Figures(100), True),
        (MEMORY, Figures(101), Figures(100), False),
        (Row("other", "", "MB", False), Figures(1), Figures(2), None),
    ],
)
def test_targets(row: Row, pykvd: Figures, etcd: Figures, expected: bool | None) -> None:
    assert met(row, pykvd, etcd) is expected


def test_medians_are_taken_figure_by_figure() -> None:
    results = Results()
    for value, p50, p99 in ((100, 1, 30), (300, 3, 10), (200, 2, 20)):
        results.add("put", "etcd", Figures(value, p50, p99))

    assert results.median("put", "etcd") == Figures(200, 2, 20)
    assert results.median("put", "pykvd") is None


def test_one_failed_round_leaves_no_figure() -> None:
    results = Results()
    results.add("put", "pykvd", Figures(1000, 1, 10))
    results.add_error("put", "pykvd", "grpc-status 14")
    results.add("put", "etcd", Figures(1000, 1, 10))

    assert results.median("put", "pykvd") is None
    line = table([PUT], ["pykvd", "etcd"], results).splitlines()[-1]
    assert cells(line)[4] == "failed"
    assert cells(line)[-1] == "-"


def test_table_shows_ratio_and_verdict() -> None:
    results = Results()
    results.add("put", "pykvd", Figures(24_000, 4, 9))
    results.add("put", "etcd", Figures(12_000, 8, 18))
    results.add("memory", "pykvd", Figures(150))
    results.add("memory", "etcd", Figures(100))
    put, memory = table([PUT, MEMORY], ["pykvd", "etcd"], results).splitlines()[2:]

    assert cells(put)[4:] == [
        *("24,000", "4 / 9", "12,000", "8 / 18"),
        *("2.00", "0.50", ">= 1.5, p99 <= 1", "yes"),
    ]
    assert cells(memory)[4:] == ["150", "-", "100", "-", "1.50", "-", "<= 1", "NO"]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
