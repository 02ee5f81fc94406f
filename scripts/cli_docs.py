"""Writes the table of all commands into docs/cli.md, from the commands themselves.

    python scripts/cli_docs.py

A test compares the two, so that the table is always that of the program.
"""

from pathlib import Path

from pykvctl.catalog import CATALOG, TOPICS
from pykvctl.commands import ROOT
from pykvctl.options.usage import leaves

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
BEGIN, END = "<!-- commands: begin -->\n", "<!-- commands: end -->\n"


def tables() -> str:
    """A heading and a table for each topic."""
    summaries = dict(leaves(ROOT))
    parts = []
    for topic in TOPICS:
        names = sorted(name for name in summaries if CATALOG[name].topic == topic)
        rows = [_row(name, summaries[name], CATALOG[name].example) for name in names]
        head = ["| command | what it does | example |", "| --- | --- | --- |"]
        parts.append("\n".join([f"### {topic}", "", *head, *rows, ""]))
    return "\n".join(parts)


def _row(name: str, summary: str, example: str) -> str:
    cells = [f"`{name}`", summary, f"`` {example} ``"]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def page(text: str) -> str:
    """The page with the tables of today between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
