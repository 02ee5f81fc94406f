"""The samples in the README and the pages of `docs/`, as they are fenced there.

- `python` blocks of a page are one program, in order.
- `python` blocks with a title are files of that name; pytest runs those called `test_*.py`.
- `console` blocks are commands after `$ ` with their output; `...` stands for any lines.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(
    r'^( *)```(\w+)(?: title="([^"]+)")?\s*\n(.*?)^\1```\s*$', re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Sample:
    """A fenced block. `line` is the page's line of its first line, counted from 1."""

    language: str
    title: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command of a console block and what it prints."""

    words: str
    output: str


def samples(page: Path) -> list[Sample]:
    """All fenced blocks of a page that name their language."""
    text = page.read_text()
    found = []
    for match in _FENCE.finditer(text):
        indent, language, title, body = match.groups()
        lines = [line.removeprefix(indent) for line in body.splitlines()]
        line = text.count("\n", 0, match.start(4)) + 1
        found.append(Sample(language, title or "", "\n".join(lines) + "\n", line))
    return found


def program(page: Path) -> str:
    """The page's program, each line at its place in the page; empty when there is none."""
    lines: list[str] = []
    for sample in samples(page):
        if sample.language == "python" and not sample.title:
            lines += [""] * (sample.line - 1 - len(lines))
            lines += sample.text.splitlines()
    return "\n".join([*lines, ""]) if lines else ""


def files(page: Path) -> dict[str, str]:
    """The page's files, by name."""
    return {sample.title: sample.text for sample in samples(page) if sample.title}


def commands(page: Path) -> list[Command]:
    """The commands of the page's console blocks, in order."""
    found = []
    for sample in samples(page):
        if sample.language == "console":
            for part in sample.text.split("$ ")[1:] if sample.text.startswith("$ ") else []:
                words, _, output = part.partition("\n")
                found.append(Command(words, output))
    return found
