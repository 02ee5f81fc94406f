"""Runs the stories of `testdata/*.txt` and compares what they print, line by line.

A file is a sequence of blocks: comment lines (`#`), commands, `----`, and what they print. The
commands are the methods of `Scenario`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.raft.scenario import Scenario

FILES = sorted((Path(__file__).parent / "testdata").glob("*.txt"))


@dataclass
class Block:
    """Comments and commands, and the lines that are expected of them."""

    head: list[str]
    expected: list[str]

    @property
    def commands(self) -> list[str]:
        return [line for line in self.head if line and not line.startswith("#")]


def parse(text: str) -> list[Block]:
    blocks: list[Block] = []
    for paragraph in text.strip("\n").split("\n\n"):
        head, separator, expected = paragraph.partition("\n----")
        if separator:
            blocks.append(Block(head.split("\n"), expected.strip("\n").splitlines()))
        else:
            blocks.append(Block(paragraph.split("\n"), []))
    return blocks


def play(blocks: list[Block]) -> list[Block]:
    scenario = Scenario()
    return [Block(b.head, scenario.run(b.commands)) for b in blocks]


def render(blocks: list[Block]) -> str:
    paragraphs = []
    for block in blocks:
        lines = list(block.head)
        if block.commands:
            lines += ["----", *block.expected]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs) + "\n"


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_scenario(path: Path, rewrite: bool) -> None:
    blocks = parse(path.read_text())
    played = render(play(blocks))
    assert played == render(play(blocks)), "the same commands gave two different traces"
    if rewrite:
        path.write_text(played)
    assert played.splitlines() == path.read_text().splitlines()
