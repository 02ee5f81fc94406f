"""Completion: what is proposed, and that every proposal is accepted."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvctl.commands import ROOT
from pykvctl.commands.completion import SCRIPTS
from pykvctl.completing import DIRECTORIES, FILES, candidates
from pykvctl.dispatch import run
from pykvctl.options.command import Group, find
from pykvctl.streams import Streams


def proposed(*words: str) -> list[str]:
    """Candidates without their summaries."""
    return [text for text, _ in candidates(ROOT, words)]


def call(*words: str) -> tuple[bytes, bytes, int]:
    """Output and status of a command line."""
    out, err = BytesIO(), BytesIO()
    status = run(words, Streams(BytesIO(), out, err), {})
    return out.getvalue(), err.getvalue(), status


def test_commands() -> None:
    assert proposed("endp") == ["endpoint"]
    assert set(proposed("member", "")) == {"add", "list", "promote", "remove", "update"}
    assert proposed("--endpoints", "x", "member", "l") == ["list"]
    assert proposed("mem", "re") == ["remove"]
    assert proposed("--hex", "lease", "grant", "") == []
    assert proposed() == proposed("")


def test_flags() -> None:
    assert proposed("get", "--or") == ["--order"]
    assert proposed("put", "--")[:4] == ["--ignore-lease", "--ignore-value", "--lease", "--prev-kv"]
    assert "--endpoints" in proposed("put", "--")
    assert proposed("endpoint", "status", "--clu") == ["--cluster"]


def test_values_of_flags() -> None:
    assert proposed("get", "-w", "") == ["fields", "json", "protobuf", "simple", "table"]
    assert proposed("get", "--write-out=j") == ["--write-out=json"]
    assert proposed("get", "--sort-by", "V") == ["VALUE", "VERSION"]
    assert proposed("check", "perf", "--load", "") == ["s", "m", "l", "xl"]
    assert proposed("get", "--lim", "") == []


def test_arguments() -> None:
    assert proposed("completion", "b") == ["bash"]
    assert proposed("completion", "bash", "") == []
    assert proposed("help", "endp") == ["endpoint"]
    assert proposed("help", "member", "l") == ["list"]
    assert proposed("get", "--", "-") == []
    assert proposed("nothing", "") == []


def test_files_and_directories() -> None:
    """Where they are expected, and nowhere else."""
    for words in (
        ["snapshot", "restore", "x"],
        ["hashkv", ""],
        ["get", "--cacert", ""],
        ["make-mirror", "--dest-key=x"],
        ["lock", "name", "./x"],
        ["watch", "k", "--", ""],
        ["watch", "k", "--", "sh", "x"],
    ):
        assert proposed(*words) == [FILES]
    assert proposed("snapshot", "restore", "--data-dir", "") == [DIRECTORIES]
    assert proposed("verify", "--wal-dir=x") == [DIRECTORIES]
    for words in (["get", ""], ["lock", ""], ["watch", "k", ""], ["snapshot", "save", "x", ""]):
        assert proposed(*words) == []


def test_every_command_is_reached_by_what_is_proposed() -> None:
    """Each group proposes exactly its commands, and each of them is found under its name."""

    def walk(group: Group, path: list[str]) -> None:
        names = proposed(*path, "")
        assert names == group.names()
        for name in names:
            _, node, rest = find(ROOT, [*path, name])
            assert (node.name, rest) == (name, [])
            if isinstance(node, Group):
                walk(node, [*path, name])

    walk(ROOT, [])


@given(st.lists(st.text(alphabet="-=abegmtw \udcff", max_size=6), max_size=4))
def test_any_words_are_answered(words: list[str]) -> None:
    """Whatever was typed: candidates that begin like the last word."""
    last = words[-1] if words else ""
    for text in proposed(*words):
        assert text.startswith(last) or text in {FILES, DIRECTORIES}


def test_shells_get_summaries() -> None:
    out, err, status = call("__complete", "endpoint", "h")
    assert (err, status) == (b"", 0)
    assert [line.split(b"\t")[0] for line in out.splitlines()] == [b"health", b"hashkv"]
    assert all(line.split(b"\t")[1] for line in out.splitlines())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "accepts 1 arg(s), received 0"),
        (["bash", "zsh"], "accepts 1 arg(s), received 2"),
        (["foo"], 'invalid argument "foo" for "pykvctl completion"'),
    ],
)
def test_wrong_arguments(words: list[str], text: str) -> None:
    assert call("completion", *words) == (b"", f"Error: {text}\n".encode(), 1)


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts(shell: str) -> None:
    out, err, status = call("completion", shell)
    assert (out.decode(), err, status) == (SCRIPTS[shell], b"", 0)
