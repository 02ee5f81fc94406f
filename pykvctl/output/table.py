"""Table output: ASCII rules, centred upper-case headings, right-aligned cells."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pykvctl.output.printer import EndpointHash, EndpointHealth, EndpointStatus, Printer
from pykvctl.output.rows import (
    HASH_COLUMNS,
    HEALTH_COLUMNS,
    MEMBER_COLUMNS,
    SNAPSHOT_COLUMNS,
    SNAPSHOT_HASH_COLUMNS,
    STATUS_COLUMNS,
    Rows,
    hash_rows,
    health_rows,
    member_rows,
    snapshot_hash_rows,
    snapshot_rows,
    status_rows,
)

if TYPE_CHECKING:
    from pykvd.pb import rpc_pb2 as rpc
    from pykvd.restore import SnapshotHash, SnapshotStatus

# A longer cell is broken at blanks and takes this width, or that of its longest word.
CELL_WIDTH_MAX = 30


def draw_table(columns: Sequence[str], rows: Rows) -> str:
    """The table, with a newline at its end."""
    titles = [column.upper() for column in columns]
    cells = [[_wrap(cell) for cell in row] for row in rows]
    widths = [
        max(
            [
                len(title),
                *(_width(row[i], wrapped[i]) for row, wrapped in zip(rows, cells, strict=True)),
            ]
        )
        for i, title in enumerate(titles)
    ]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = [rule, _line([_center(t, w) for t, w in zip(titles, widths, strict=True)]), rule]
    for row in cells:
        for i in range(max(map(len, row))):
            parts = [cell[i] if i < len(cell) else "" for cell in row]
            lines.append(_line([p.rjust(w) for p, w in zip(parts, widths, strict=True)]))
    return "\n".join([*lines, rule]) + "\n"


def _line(parts: list[str]) -> str:
    return "| " + " | ".join(parts) + " |"


def _center(text: str, width: int) -> str:
    """Centred; the odd blank goes to the right."""
    left = (width - len(text)) // 2
    return " " * left + text + " " * (width - len(text) - left)


def _wrap(cell: str) -> list[str]:
    words = cell.split(" ")
    limit = max(CELL_WIDTH_MAX, *map(len, words))
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= limit:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def _width(cell: str, lines: list[str]) -> int:
    return max(min(len(cell), CELL_WIDTH_MAX), *map(len, lines))


class TablePrinter(Printer):
    """For the answers that are lists of members or endpoints."""

    def _draw(self, columns: Sequence[str], rows: Rows) -> None:
        self.streams.write(draw_table(columns, rows).encode())

    def member_list(self, answer: "rpc.MemberListResponse") -> None:
        """One row a member."""
        self._draw(MEMBER_COLUMNS, member_rows(answer))

    def endpoint_health(self, items: Sequence[EndpointHealth]) -> None:
        """One row an endpoint."""
        self._draw(HEALTH_COLUMNS, health_rows(items))

    def endpoint_status(self, items: Sequence[EndpointStatus]) -> None:
        """One row an endpoint."""
        self._draw(STATUS_COLUMNS, status_rows(items))

    def endpoint_hash(self, items: Sequence[EndpointHash]) -> None:
        """One row an endpoint."""
        self._draw(HASH_COLUMNS, hash_rows(items))

    def snapshot_status(self, status: "SnapshotStatus") -> None:
        """One row."""
        self._draw(SNAPSHOT_COLUMNS, snapshot_rows(status))

    def snapshot_hash(self, answer: "SnapshotHash") -> None:
        """One row."""
        self._draw(SNAPSHOT_HASH_COLUMNS, snapshot_hash_rows(answer))
