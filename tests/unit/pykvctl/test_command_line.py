"""The rules of the command line: flags, prefixes, unknown words, usage texts, exit statuses."""

import io
from collections.abc import Mapping

import click
import pytest

from pykvctl.commands import ROOT
from pykvctl.dispatch import run
from pykvctl.errors import FlagError
from pykvctl.options.command import Command, Group, find
from pykvctl.options.parser import FlagSet, parse_flags
from pykvctl.options.values import BOOL, INT, LIST, STRING
from pykvctl.streams import Streams

FLAGS = FlagSet(
    [
        click.Option(["-w", "--write-out"], type=STRING),
        click.Option(["--rev"], type=INT),
        click.Option(["--hex"], type=BOOL),
        click.Option(["-i", "--interactive"], type=BOOL),
        click.Option(["--endpoints"], type=LIST),
    ]
)


def cli(*words: str, environ: Mapping[str, str] | None = None) -> tuple[str, str, int]:
    """Output, errors and status of a command line that needs no server."""
    out, err = io.BytesIO(), io.BytesIO()
    status = run(words, Streams(io.BytesIO(), out, err), environ or {})
    return out.getvalue().decode(), err.getvalue().decode(), status


@pytest.mark.parametrize(
    ("words", "values", "args"),
    [
        (["k", "--rev", "3"], {"rev": 3}, ["k"]),
        (["--rev=3", "k"], {"rev": 3}, ["k"]),
        (["-w", "json", "k"], {"write_out": "json"}, ["k"]),
        (["-wjson", "k"], {"write_out": "json"}, ["k"]),
        (["-w=json"], {"write_out": "json"}, []),
        (["-iwjson"], {"interactive": True, "write_out": "json"}, []),
        (["--hex", "k"], {"hex": True}, ["k"]),
        (["--hex=false", "k"], {"hex": False}, ["k"]),
        (["--hex", "false"], {"hex": True}, ["false"]),
        (["--write-out=a=b"], {"write_out": "a=b"}, []),
        (["--write-out", "--rev"], {"write_out": "--rev"}, []),
        (["--write-out="], {"write_out": ""}, []),
        (["-", ""], {}, ["-", ""]),
        (["--endpoints=a,b", "--endpoints", "c"], {"endpoints": ["a", "b", "c"]}, []),
        (["--rev=1", "--rev=0x10"], {"rev": 16}, []),
        (["k", "--", "--rev", "-5"], {}, ["k", "--rev", "-5"]),
    ],
)
def test_words_are_sorted(words: list[str], values: dict[str, object], args: list[str]) -> None:
    line = parse_flags(FLAGS, words)
    assert (line.values, line.args) == (values, args)


def test_the_place_of_the_separator_is_kept() -> None:
    assert parse_flags(FLAGS, ["a", "--", "b", "--"]).dash == 1
    assert parse_flags(FLAGS, ["a"]).dash is None


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--bogus"], "unknown flag: --bogus"),
        (["--write"], "unknown flag: --write"),
        (["-z"], "unknown shorthand flag: 'z' in -z"),
        (["-5"], "unknown shorthand flag: '5' in -5"),
        (["-endpoints=x"], "unknown shorthand flag: 'e' in -endpoints=x"),
        (["-iz"], "unknown shorthand flag: 'z' in -z"),
        (["--rev"], "flag needs an argument: --rev"),
        (["-w"], "flag needs an argument: 'w' in -w"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---x"], "bad flag syntax: ---x"),
        (
            ["--rev=x"],
            'invalid argument "x" for "--rev" flag: strconv.ParseInt: parsing "x": invalid syntax',
        ),
        (
            ["--hex=x"],
            'invalid argument "x" for "--hex" flag: strconv.ParseBool: parsing "x": invalid syntax',
        ),
        (
            ["-i=x"],
            (
                'invalid argument "x" for "-i, --interactive" flag: '
                'strconv.ParseBool: parsing "x": invalid syntax'
            ),
        ),
    ],
)
def test_malformed_words_are_named(words: list[str], complaint: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse_flags(FLAGS, words)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("words", "path", "rest"),
    [
        (["get", "k"], ["get"], ["k"]),
        (["ge", "k"], ["get"], ["k"]),
        (["-w", "json", "get", "k"], ["get"], ["-w", "json", "k"]),
        (["--hex", "get", "k"], ["get"], ["--hex", "k"]),
        (["--hex=true", "mem", "li"], ["member", "list"], ["--hex=true"]),
        (["endpoint", "--cluster", "status"], ["endpoint", "status"], ["--cluster"]),
        (["compact", "5"], ["compaction"], ["5"]),
        (["endpoint", "bogus"], ["endpoint"], ["bogus"]),
        ([], [], []),
        (["--", "get"], [], ["--", "get"]),
        (["-w", "get", "get", "get"], ["get"], ["-w", "get", "get"]),
    ],
)
def test_commands_are_found(words: list[str], path: list[str], rest: list[str]) -> None:
    found, _, words_left = find(ROOT, words)
    assert (found, words_left) == (path, rest)


@pytest.mark.parametrize("word", ["bogus", "\u2013endpoints=x", "\u2013version", "lz", "m"])
def test_unknown_commands_are_named_once(word: str) -> None:
    out, err, status = cli(word)
    assert (out, status) == ("", 1)
    lines = err.splitlines()
    assert lines[0] == f'Error: unknown command "{word}" for "pykvctl"'
    assert lines[-1] == "Run 'pykvctl --help' for usage."


def test_similar_commands_are_suggested() -> None:
    _, err, _ = cli("gett")
    assert "\nDid you mean this?\n\tget\n\n" in err


def test_a_bad_flag_shows_the_usage_and_then_the_error() -> None:
    out, err, status = cli("get", "k", "--bogus")
    assert out.startswith("NAME:\n\tget - ")
    assert (err, status) == ("Error: unknown flag: --bogus\n\n", 1)


@pytest.mark.parametrize("words", [[], ["member"], ["member", "bogus"], ["get", "-h"], ["help"]])
def test_usage_is_no_error(words: list[str]) -> None:
    out, err, status = cli(*words)
    assert out.startswith("NAME:\n")
    assert (err, status) == ("", 0)


def test_usage_of_the_program_names_every_command() -> None:
    out, _, _ = cli("--help")
    for name in ROOT.names():
        node = ROOT.load(name)
        leaves = [f"{name} {leaf}" for leaf in node.names()] if isinstance(node, Group) else [name]
        assert all(f"\n\t{leaf}\t" in out for leaf in leaves)


def test_every_command_has_texts() -> None:
    nodes: list[Command | Group] = [ROOT.load(name) for name in ROOT.names()]
    for node in nodes:
        assert node.short_help
        if isinstance(node, Group):
            nodes += [node.load(name) for name in node.names()]


def test_version_ignores_format_and_arguments() -> None:
    out, err, status = cli("-w", "json", "version", "extra")
    assert out.splitlines()[1].startswith("API version: 3.")
    assert (err, status) == ("", 0)


@pytest.mark.parametrize(
    ("words", "text", "status"),
    [
        ("get k -w yaml", "unsupported output format", 4),
        ("get k --endpoints=", "etcdclient: no available endpoints", 2),
        ("get k --cert=", "empty string is passed to --cert option", 128),
        ("get k --cacert=nosuch.pem", "open nosuch.pem: no such file or directory", 128),
        ("get k --order=sideways", "bad sort order sideways", 4),
        ("get k --min-mod-rev=5 --max-mod-rev=3", "getMinModRev(=5) > getMaxModRev(=3)", 4),
        ("lease grant abc", 'bad TTL (strconv.ParseInt: parsing "abc": invalid syntax)', 128),
        ("move-leader", "move-leader command needs 1 argument", 128),
        ("member list --consistency=x", 'unknown consistency flag "x"', 4),
    ],
)
def test_refusals_without_a_server(words: str, text: str, status: int) -> None:
    assert cli(*words.split()) == ("", f"Error: {text}\n", status)


def test_a_flag_and_its_variable_exclude_each_other() -> None:
    _, err, status = cli("get", "k", "-w", "json", environ={"ETCDCTL_WRITE_OUT": "json"})
    assert '"level":"fatal"' in err
    assert '"environment-variable":"ETCDCTL_WRITE_OUT"' in err
    assert status == 1


def test_variables_are_read_and_odd_ones_reported() -> None:
    environ = {"ETCDCTL_ENDPOINTS": "", "ETCDCTL_WRITE_OUT": "nope", "ETCDCTL_NOSUCH": "1"}
    _, err, status = cli("get", "k", environ=environ)
    assert '"msg":"unrecognized environment variable"' in err
    assert err.endswith("Error: unsupported output format\n")
    assert status == 4


def test_an_unreachable_server_gives_one_log_line_and_one_error() -> None:
    words = ["--endpoints=127.0.0.1:1", "--command-timeout=1s", "get", "k"]
    out, err, status = cli(*words)
    log, error = err.splitlines()
    assert "dial tcp 127.0.0.1:1: connect: connection refused" in log
    assert (out, error, status) == ("", "Error: context deadline exceeded", 1)
