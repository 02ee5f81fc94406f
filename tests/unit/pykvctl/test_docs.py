"""What teaches the commands is complete: help, the catalogue, docs/cli.md."""

import re

import pytest

from pykvctl.catalog import CATALOG, TOPICS
from pykvctl.commands import ROOT
from pykvctl.options.command import Command, Group, find
from pykvctl.options.usage import leaves
from scripts.cli_docs import PAGE, page
from tests.unit.pykvctl.test_command_line import cli

COMMANDS = dict(leaves(ROOT))


def test_every_command_is_in_the_catalogue() -> None:
    assert COMMANDS.keys() == CATALOG.keys()
    assert {entry.topic for entry in CATALOG.values()} == set(TOPICS)


def test_the_page_has_the_table_of_today() -> None:
    """`python scripts/cli_docs.py` writes it."""
    assert PAGE.read_text() == page(PAGE.read_text())


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_command_lines(name: str) -> None:
    """Each calls a command that exists, with flags that it has."""
    words = CATALOG[name].example.rpartition("pykvctl ")[2].rstrip(")").split()
    path, node, rest = find(ROOT, words)
    assert isinstance(node, Command), path
    node.read(rest)
    own = COMMANDS[name] == "v2: tells what to type instead"
    assert own or " ".join(path) == name


def test_help_shows_topics_and_examples() -> None:
    out, _, status = cli("help")
    assert status == 0
    for topic in TOPICS:
        assert f"\n{topic.upper()}:\n" in out
    for name in COMMANDS:
        assert re.search(rf"^\t{re.escape(name)}\t", out, re.MULTILINE), name
    out, _, _ = cli("history", "--help")
    assert "\nEXAMPLE:\n\tpykvctl history /app/color\n" in out


def test_names_of_etcdctl_mean_what_they_mean_there() -> None:
    """A beginning of a name is completed among etcdctl's commands first."""
    own = [name for name in ROOT.names() if name not in ROOT.extra]
    for name in own:
        for end in range(1, len(name)):
            fitting = [each for each in own if each.startswith(name[:end])]
            if len(fitting) == 1 and name[:end] not in ROOT.extra:
                found = ROOT.match(name[:end])
                assert isinstance(found, Command | Group)
                assert found.name == name
    found = ROOT.match("hist")
    assert found is not None
    assert found.name == "history"
