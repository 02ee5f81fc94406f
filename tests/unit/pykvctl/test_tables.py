"""Tables are drawn byte for byte as etcdctl 3.6 draws them: the recorded ones, drawn again."""

from collections.abc import Iterator

import pytest

from pykvctl.output.table import draw_table
from tests.integration.pykvctl.transcript import read_transcript


def tables() -> Iterator[list[str]]:
    """Every table of the transcripts of ASCII tables."""
    for name in ("30-tables-ascii.txt", "31-tables-ascii-wrap.txt"):
        for step in read_transcript(name):
            if step.outcome.stdout and step.outcome.stdout[0].startswith("+-"):
                yield step.outcome.stdout


TABLES = list(tables())


def cells_of(line: str) -> list[str]:
    """The cells of a line, one blank off on each side."""
    return [cell[1:-1] for cell in line[1:-1].split("|")]


def rows_of(lines: list[str]) -> list[list[str]]:
    """The rows of a table, those that take several lines joined by the blank at the break."""
    rows: list[list[str]] = []
    for line in lines:
        cells = cells_of(line)
        if cells[0].strip():
            rows.append([cell.lstrip() for cell in cells])
        else:
            for position, cell in enumerate(cells):
                if cell.strip():
                    rows[-1][position] += " " + cell.lstrip()
    return rows


def test_there_are_tables_of_all_kinds() -> None:
    assert len(TABLES) > 8
    assert any(len(table) == 4 for table in TABLES)  # without a row
    assert any(table[-2].startswith("|  ") for table in TABLES)  # with a cell that is broken


@pytest.mark.parametrize("table", TABLES, ids=lambda table: "-".join(table[1].split()[1::2][:4]))
def test_redrawn(table: list[str]) -> None:
    titles = [title.strip() for title in cells_of(table[1])]
    assert draw_table(titles, rows_of(table[3:-1])).splitlines() == table
