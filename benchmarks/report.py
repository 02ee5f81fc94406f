"""Medians over rounds, ratios between servers, and the table that shows them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.workload import Figures, Row

SUBJECT, BASELINE = "pykvd", "etcd"


@dataclass(slots=True)
class Results:
    """Every round's figures, and what went wrong, by row and server."""

    figures: dict[tuple[str, str], list[Figures]] = field(default_factory=dict)
    errors: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, row: str, server: str, figures: Figures) -> None:
        """Keep the figures of one round."""
        self.figures.setdefault((row, server), []).append(figures)

    def add_error(self, row: str, server: str, error: str) -> None:
        """Keep why a round has no figures."""
        self.errors.setdefault((row, server), []).append(error)

    def median(self, row: str, server: str) -> Figures | None:
        """The median of each figure over the rounds; None when any round failed or none ran."""
        rounds = self.figures.get((row, server))
        if not rounds or (row, server) in self.errors:
            return None
        return Figures(
            median(one.value for one in rounds),
            _median_of(one.p50_ms for one in rounds),
            _median_of(one.p99_ms for one in rounds),
        )


def met(row: Row, subject: Figures, baseline: Figures) -> bool | None:
    """Whether the ratio subject / baseline meets the row's targets; None without a target."""
    if row.target is None:
        return None
    ratio = subject.value / baseline.value
    good = ratio >= row.target if row.higher_is_better else ratio <= row.target
    if row.p99_target is not None and subject.p99_ms is not None and baseline.p99_ms is not None:
        good = good and subject.p99_ms / baseline.p99_ms <= row.p99_target
    return good


def table(rows: Iterable[Row], servers: Sequence[str], results: Results) -> str:
    """The table in Markdown, with columns of equal width."""
    head = ["workload", "what", "unit", "better"]
    for server in servers:
        head += [server, f"{server} p50 / p99 ms"]
    head += [f"ratio {SUBJECT}/{BASELINE}", "p99 ratio", "target", "met"]
    return _align([head, *(_cells(row, servers, results) for row in rows)])


def _cells(row: Row, servers: Sequence[str], results: Results) -> list[str]:
    cells = [row.name, row.about, row.unit, "higher" if row.higher_is_better else "lower"]
    for server in servers:
        figures = results.median(row.name, server)
        failed = (row.name, server) in results.errors
        cells += [
            "failed" if failed else _number(figures.value if figures else None),
            _percentiles(figures),
        ]
    subject, baseline = (results.median(row.name, server) for server in (SUBJECT, BASELINE))
    if subject is None or baseline is None:
        return [*cells, "-", "-", _target(row), "-"]
    p99_ratio = "-"
    if subject.p99_ms is not None and baseline.p99_ms is not None:
        p99_ratio = f"{subject.p99_ms / baseline.p99_ms:.2f}"
    verdict = {True: "yes", False: "NO", None: "-"}[met(row, subject, baseline)]
    return [*cells, f"{subject.value / baseline.value:.2f}", p99_ratio, _target(row), verdict]


def _target(row: Row) -> str:
    if row.target is None:
        return "-"
    text = f"{'>=' if row.higher_is_better else '<='} {row.target:g}"
    return text if row.p99_target is None else f"{text}, p99 <= {row.p99_target:g}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _percentiles(figures: Figures | None) -> str:
    if figures is None or figures.p50_ms is None or figures.p99_ms is None:
        return "-"
    return f"{figures.p50_ms:.3g} / {figures.p99_ms:.3g}"


def _median_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _align(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
