"""history, diff, undo, tree, get --at: against both servers, except for what only ours can tell."""

import calendar
import json
import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO

import pytest

from pykvctl.commands.undo import last_change, write_back
from pykvctl.errors import CommandError
from pykvctl.session import Session
from pykvctl.streams import Streams
from tests.harness import ETCD, PYKVD, Kind, Server, running, wait_until
from tests.integration.pykvctl.conftest import environment, installed_kinds
from tests.integration.pykvctl.runner import run_cli


class Cli:
    """Runs commands against one server; a failure of one that should work fails the test."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.environ = environment(server)

    def __call__(self, *words: str, stdin: bytes = b"") -> str:
        out, err, status = run_cli(list(words), self.environ, stdin)
        assert status == 0, err
        return out.decode()

    def fails(self, *words: str) -> tuple[str, int]:
        """The last line of a failure, and its status."""
        out, err, status = run_cli(list(words), self.environ)
        assert out == b""
        assert status != 0
        return err.decode().splitlines()[-1], status

    def lines(self, *words: str) -> list[list[str]]:
        """Cells of the lines that a command prints, without times."""
        return [
            [cell for cell in line.split("\t") if not re.match(r"\d{4}-\d\d-\d\dT|-$", cell)]
            for line in self(*words).splitlines()
        ]


@pytest.fixture(params=installed_kinds(), ids=lambda kind: kind.name)
def cli(request: pytest.FixtureRequest) -> Iterator[Cli]:
    """Either server, empty."""
    with running(request.param) as server:
        yield Cli(server)


@pytest.fixture
def ours() -> Iterator[Cli]:
    """Our server, empty."""
    with running(PYKVD) as server:
        yield Cli(server)


def write_past(cli: Cli) -> None:
    """Changes of `k` at revisions 2, 3, 4 (the same value), 5 (deleted), 7; of `other` at 6."""
    for words in ("put k 1", "put k 2", "put k 2", "del k", "put other x", "put k 3"):
        cli(*words.split())


PAST = [
    ["2", "PUT", "1", "created", '"1"'],
    ["3", "PUT", "2", "value", '"2"'],
    ["4", "PUT", "3", "nothing", '"2"'],
    ["5", "DELETE", "deleted"],
    ["7", "PUT", "1", "created", '"3"'],
]


def test_history_tells_every_change(cli: Cli) -> None:
    write_past(cli)
    assert cli.lines("history", "k") == PAST
    assert cli.lines("history", "k", "--limit=2") == PAST[-2:]
    assert cli("history", "nosuch") == ""
    found = json.loads(cli("history", "k", "-w", "json"))
    assert [change["changed"] for change in found["changes"]] == [
        ["created"],
        ["value"],
        [],
        ["deleted"],
        ["created"],
    ]
    assert (found["key"], found["compactRevision"], found["base"]) == ("aw==", 0, None)
    assert found["changes"][1]["kv"] == {
        "key": "aw==",
        "create_revision": 2,
        "mod_revision": 3,
        "version": 2,
        "value": "Mg==",
    }


@pytest.mark.parametrize(
    ("compacted", "was", "left"),
    [
        (3, 'the key was "2" (version 2, revision 3)', PAST[2:]),
        (6, "the key did not exist then", PAST[4:]),
        (7, 'the key was "3" (version 1, revision 7)', []),
    ],
)
def test_history_says_what_compaction_has_taken(
    cli: Cli, compacted: int, was: str, left: list[list[str]]
) -> None:
    write_past(cli)
    cli("compaction", str(compacted))
    first, *rest = cli.lines("history", "k")
    assert first == [f"# changes up to revision {compacted} are compacted; {was}"]
    assert rest == left
    assert json.loads(cli("history", "k", "-w", "json"))["compactRevision"] == compacted


def test_history_of_a_deleted_key(cli: Cli) -> None:
    write_past(cli)
    cli("del", "k")
    assert cli.lines("history", "k") == [*PAST, ["8", "DELETE", "deleted"]]
    cli("compaction", "8")
    assert len(cli("history", "k").splitlines()) == 1


def test_history_of_many_changes(cli: Cli) -> None:
    for number in range(30):
        cli("put", "many", str(number))
    assert [int(cells[0]) for cells in cli.lines("history", "many")] == list(range(2, 32))


def test_history_tells_of_leases(cli: Cli) -> None:
    lease = cli("lease", "grant", "1000").split()[1]
    cli("put", "k", "1")
    cli("put", "k", "1", "--lease", lease)
    assert [cells[-2] for cells in cli.lines("history", "k")] == ["created", "lease"]


def test_history_tells_times(ours: Cli) -> None:
    before = time.time()
    ours("put", "k", "1")
    change = json.loads(ours("history", "k", "-w", "json"))["changes"][0]
    moment = time.strptime(change["time"], "%Y-%m-%dT%H:%M:%SZ")
    assert before - 2 <= calendar.timegm(moment) <= time.time()


def test_diff(cli: Cli) -> None:
    write_past(cli)
    cli("put", "k/a", "tab\there")
    assert cli("diff", "2", "8").splitlines() == [
        '~\t"k"\t"1"\t"3"',
        '+\t"k/a"\t"tab\\there"',
        '+\t"other"\t"x"',
    ]
    assert cli("diff", "4", "6") == '-\t"k"\t"2"\n+\t"other"\t"x"\n'
    assert cli("diff", "4", "6", "k") == '-\t"k"\t"2"\n'
    assert cli("diff", "2", "0", "k", "--prefix").count("\n") == 2
    assert cli("diff", "2", "0", "k", "l").count("\n") == 2
    assert cli("diff", "2", "0", "o", "--from-key") == '+\t"other"\t"x"\n'
    assert cli("diff", "8", "8") == ""
    found = json.loads(cli("diff", "4", "0", "-w", "json"))
    assert (found["from"], found["to"]) == (4, 8)
    assert [change["type"] for change in found["changes"]] == ["changed", "added", "added"]
    cli("compaction", "5")
    assert cli.fails("diff", "4", "8") == (
        "Error: etcdserver: mvcc: required revision has been compacted",
        1,
    )
    assert cli.fails("diff", "5")[1] == 128
    assert cli.fails("diff", "5", "x")[1] == 128


def test_diff_of_more_than_a_page(cli: Cli) -> None:
    """Pages end at keys that are the beginning of the next one, too."""
    names = [f"n{number:04d}{tail}" for number in range(800) for tail in ("", "a", "b")]
    for start in range(0, len(names), 100):
        puts = "".join(f"put {name} x\n" for name in names[start : start + 100])
        cli("txn", stdin=f"\n{puts}\n\n".encode())
    assert cli("diff", "1", "0").splitlines() == [f'+\t"{name}"\t"x"' for name in names]
    root = json.loads(cli("tree", "-w", "json"))
    assert (root["keys"], root["bytes"]) == (len(names), sum(len(name) + 1 for name in names))


def test_undo_goes_back_one_change(cli: Cli) -> None:
    write_past(cli)
    cli("put", "k", "4")
    assert cli("undo", "k", "--dry-run") == 'would undo revision 8: "k" = "3"\n'
    assert cli("get", "k") == "k\n4\n"
    assert cli("undo", "k") == 'undid revision 8: "k" = "3"\n'
    assert cli("get", "k") == "k\n3\n"
    assert cli("undo", "k") == 'undid revision 9: "k" = "4"\n'
    assert cli("undo", "other") == 'undid revision 6: "other" deleted\n'
    assert cli("get", "other") == ""
    assert cli("undo", "other") == 'undid revision 11: "other" = "x"\n'
    assert json.loads(cli("undo", "other", "-w", "json"))["undone"] == 12
    assert cli.fails("undo", "nosuch") == ('Error: no change of "nosuch" is held', 1)
    assert cli.fails("undo")[1] == 128


def test_undo_needs_the_value_before(cli: Cli) -> None:
    write_past(cli)
    cli("put", "k", "4")
    cli("compaction", "8")
    text = 'Error: what "k" held before revision 8 is compacted'
    assert cli.fails("undo", "k") == (text, 1)
    # That a key did not exist before it was created is known without history.
    assert cli("undo", "other") == 'undid revision 6: "other" deleted\n'
    assert cli("get", "k") == "k\n4\n"


def test_undo_and_leases(cli: Cli) -> None:
    lease = cli("lease", "grant", "1000").split()[1]
    cli("put", "k", "leased", "--lease", lease)
    cli("put", "k", "free")
    cli("undo", "k")
    assert "attached keys([k])" in cli("lease", "timetolive", lease, "--keys")
    cli("put", "k", "free")
    cli("lease", "revoke", lease)
    text = 'Error: the lease that "k" hung on is gone; --without-lease puts it back alone'
    assert cli.fails("undo", "k") == (text, 1)
    cli("undo", "k", "--without-lease")
    assert cli("get", "k") == "k\nleased\n"


def test_undo_refuses_what_changed_meanwhile(cli: Cli) -> None:
    """Between the look at the key and the transaction, somebody writes."""
    cli("put", "k", "1")
    cli("put", "k", "2")
    cli("put", "gone", "1")
    cli("del", "gone")
    session = Session(Streams(BytesIO(), BytesIO(), BytesIO()), cli.environ, {})
    try:
        for key, later in (("k", "3"), ("gone", "2")):
            change = last_change(session.client, key.encode(), 5)
            cli("put", key, later)
            with pytest.raises(CommandError, match=f'"{key}" has changed meanwhile; nothing was'):
                write_back(session, key.encode(), change, keep_lease=True)
            assert cli("get", key) == f"{key}\n{later}\n"
    finally:
        session.close()


def test_tree(cli: Cli) -> None:
    for key, value in (("a/b/c", "x"), ("a/b/d", "yyyy"), ("a/e", "z"), ("/r//1", "q"), ("a", "")):
        cli("put", key, value)
    assert cli("tree").splitlines() == [
        '""\t5\t26',
        '"/"\t1\t6',
        '"/r/"\t1\t6',
        '"/r//"\t1\t6',
        '"/r//1"\t1\t6',
        '"a"\t1\t1',
        '"a/"\t3\t19',
        '"a/b/"\t2\t15',
        '"a/b/c"\t1\t6',
        '"a/b/d"\t1\t9',
        '"a/e"\t1\t4',
    ]
    assert cli("tree", "a/b", "--depth=1").splitlines() == ['"a/b"\t2\t15', '"a/b/"\t2\t15']
    assert cli("tree", "nosuch") == '"nosuch"\t0\t0\n'
    assert cli.fails("tree", "a", "b")[1] == 128


# Times


def test_get_at_a_time(ours: Cli) -> None:
    ours("put", "k", "1")
    between = time_that_shows(ours, "1")
    ours("put", "k", "2")
    time_that_shows(ours, "2")
    assert ours("get", "k", "--at", between) == "k\n1\n"
    assert ours("get", "--prefix", "", "--at", between, "--keys-only") == "k\n\n"
    assert ours("get", "k", "--at", "1d") == ""
    assert ours("get", "k", "--at", "2020-01-01") == ""
    ours("compaction", "3")
    line, status = ours.fails("get", "k", "--at", "1d")
    assert (status, "is compacted" in line or "compaction has taken it" in line) == (1, True)


def time_that_shows(ours: Cli, value: str) -> str:
    """Wait until the resolution of a second has passed; the time, in the local time zone."""
    shown = f"k\n{value}\n"
    wait_until(lambda: ours("get", "k", "--at", "0s") == shown, "a second to pass")
    return datetime.now().isoformat()  # noqa: DTZ005


@pytest.mark.parametrize(
    ("words", "text", "status"),
    [
        (
            ["--at=yesterday"],
            'bad time "yesterday", expecting an age as 10m or 2d, or a time as 2026-01-01T10:00',
            128,
        ),
        (["--at=9999-01-01"], '"9999-01-01" is in the future', 128),
        (
            ["--at=1d", "--rev=2"],
            "`--at` and `--rev` cannot be set at the same time, choose one",
            128,
        ),
    ],
)
def test_bad_times(ours: Cli, words: list[str], text: str, status: int) -> None:
    assert ours.fails("get", "k", *words) == (f"Error: {text}", status)


@pytest.mark.etcd
@pytest.mark.skipif(not ETCD.installed(), reason="etcd is not installed")
def test_a_server_that_cannot_tell_times() -> None:
    with running(ETCD) as server:
        cli = Cli(server)
        out, err, status = run_cli(["get", "k", "--at=10m"], cli.environ)
        text = "this server cannot tell the revision of a time, only pykvd can; use --rev"
        assert (out, err.decode(), status) == (b"", f"Error: {text}\n", 1)


def test_a_transaction_has_no_times(ours: Cli) -> None:
    _, err, status = run_cli(["txn"], ours.environ, b"\nget k --at 10m\n\n\n")
    assert (err, status) == (b"Error: invalid txn request: get k --at 10m\n", 3)


@pytest.mark.parametrize("kind", installed_kinds(), ids=lambda kind: kind.name)
def test_top_prints_once_into_a_pipe(kind: Kind) -> None:
    with running(kind) as server:
        cli = Cli(server)
        title, line = cli("top", "--interval=100ms").splitlines()
        cells = dict(zip(title.split("\t"), line.split("\t"), strict=True))
        assert (cells["leader"], cells["lag"]) == ("true", "0")
        found = json.loads(cli("top", "--interval=100ms", "-w", "json"))
        status = json.loads(cli("endpoint", "status", "-w", "json"))[0]["Status"]
        assert found[0]["id"] == status["header"]["member_id"]
        assert cli("top", "--interval=50ms", "--count=3").count("endpoint\t") == 3
        assert found[0]["requestsPerSecond"] == 0


@pytest.mark.parametrize(
    "line",
    ["history k", "diff 1 2", "undo k", "tree", "top", "get k --at 1m", "set k v", "ls", "rm k"],
)
def test_nobody_answers(line: str) -> None:
    words = ["--endpoints=127.0.0.1:1", "--command-timeout=1s", *line.split()]
    out, err, status = run_cli(words, {})
    assert (out, status) == (b"", 1)
    last = err.decode().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "context deadline exceeded" in last
    assert "connect: connection refused" in err.decode()


def test_keys_are_bytes(cli: Cli) -> None:
    key = os.fsdecode(b"k\xff/\x01")
    cli("put", key, os.fsdecode(b"\xfe"))
    assert cli.lines("history", key) == [["2", "PUT", "1", "created", '"\\xfe"']]
    assert cli("diff", "1", "0") == '+\t"k\\xff/\\x01"\t"\\xfe"\n'
    assert cli("tree").splitlines()[1] == '"k\\xff/"\t1\t5'
    assert cli("undo", key) == 'undid revision 2: "k\\xff/\\x01" deleted\n'
