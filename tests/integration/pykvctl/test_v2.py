"""The habits of etcd's v2 client: the commands of its transcripts that mean something on v3."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import BinaryIO, cast

import pytest

from pykvctl.commands.retired import INSTEAD
from tests.harness import PYKVD, Server, running
from tests.integration.cluster.cluster import Cluster, clustered
from tests.integration.pykvctl.conftest import GOLDEN_IDS, environment, installed_kinds
from tests.integration.pykvctl.runner import run_cli


@pytest.fixture(params=installed_kinds(), ids=lambda kind: kind.name)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Either server, empty, with the IDs of the transcripts."""
    with running(request.param, GOLDEN_IDS) as started:
        yield started


def told(server: Server, line: str, stdin: bytes = b"") -> tuple[str, str, int]:
    """What a command line prints, the revision in errors left out."""
    out, err, status = run_cli(line.split(), environment(server), stdin)
    return out.decode(), re.sub(r" \[\d+\]$", "", err.decode().rstrip("\n")), status


STORY = [
    ("set os linux", "linux\n", "", 0),
    ("get os", "os\nlinux\n", "", 0),
    ("rm os", "PrevNode.Value: linux\n", "", 0),
    ("rm os", "", "Error:  100: Key not found (os)", 4),
    ("set testdir/testkey0 0", "0\n", "", 0),
    ("set testdir/testkey1 1", "1\n", "", 0),
    ("set testdir/sub/deep x", "x\n", "", 0),
    ("ls", "testdir\n", "", 0),
    ("ls testdir", "testdir/sub\ntestdir/testkey0\ntestdir/testkey1\n", "", 0),
    ("ls testdir/", "testdir/sub\ntestdir/testkey0\ntestdir/testkey1\n", "", 0),
    (
        "ls testdir --recursive",
        "testdir/sub\ntestdir/sub/deep\ntestdir/testkey0\ntestdir/testkey1\n",
        "",
        0,
    ),
    ("ls -p", "testdir/\n", "", 0),
    (
        "ls -r -p --sort",
        "testdir/\ntestdir/sub/\ntestdir/sub/deep\ntestdir/testkey0\ntestdir/testkey1\n",
        "",
        0,
    ),
    ("ls testdir/testkey0", "testdir/testkey0\n", "", 0),
    ("ls nosuch", "", "Error:  100: Key not found (nosuch)", 4),
    ("set /r/a 1", "1\n", "", 0),
    ("ls /", "/r\n", "", 0),
    ("ls /r", "/r/a\n", "", 0),
    ("set", "", "Error:  key required", 1),
    ("rm", "", "Error:  key required", 1),
    ("mk", "", "Error:  key required", 1),
    ("update", "", "Error:  key required", 1),
    ("set a", "", "Error:  value required", 1),
    ("set -- a -5", "-5\n", "", 0),
    ("set --swap-with-value -5 a six", "six\n", "", 0),
    ("set --swap-with-value wrong a 7", "", "Error:  101: Compare failed ([wrong != six])", 4),
    ("set --swap-with-index 1 a 7", "", "Error:  101: Compare failed ([1 != 9])", 4),
    ("set --swap-with-value x nosuch v", "", "Error:  100: Key not found (nosuch)", 4),
    ("mk newkey v", "v\n", "", 0),
    ("mk newkey v", "", "Error:  105: Key already exists (newkey)", 4),
    ("update newkey v2", "v2\n", "", 0),
    ("update nosuch v", "", "Error:  100: Key not found (nosuch)", 4),
    ("rm testdir", "", "Error:  102: Not a file (testdir)", 4),
    ("rm --with-value wrong newkey", "", "Error:  101: Compare failed ([wrong != v2])", 4),
    ("rm --with-value v2 newkey", "\n", "", 0),
    ("rm --recursive testdir", "", "", 0),
    ("ls testdir", "", "Error:  100: Key not found (testdir)", 4),
    ("rm -r nosuch", "", "Error:  100: Key not found (nosuch)", 4),
    ("rm -r /", "", "Error:  107: Root is read only (/)", 4),
    (
        "cluster-health",
        "member f96b36ef9c15ecec is healthy: got healthy result from URL\ncluster is healthy\n",
        "",
        0,
    ),
]


def test_story(server: Server, subtests: pytest.Subtests) -> None:
    for number, (line, *expected) in enumerate(STORY):
        with subtests.test(msg=line, number=number):
            out, err, status = told(server, line)
            assert [out.replace(server.url, "URL"), err, status] == expected


def test_values_come_from_standard_input(server: Server) -> None:
    assert told(server, "set a", b"piped\n") == ("piped\n\n", "", 0)


def test_a_ttl_is_a_lease(server: Server) -> None:
    assert told(server, "set k v --ttl 1000")[2] == 0
    leases = told(server, "lease list")[0].splitlines()
    assert leases[0] == "found 1 leases"
    assert "attached keys([k])" in told(server, f"lease timetolive {leases[1]} --keys")[0]
    # One that is not used is given back.
    assert told(server, "mk k v --ttl 1000")[2] == 4
    assert told(server, "lease list")[0].startswith("found 1 leases")


def test_the_old_flag_for_addresses(server: Server) -> None:
    words = ["-C", server.endpoint, "cluster-health"]
    out, err, status = run_cli(words, {})
    assert (out.splitlines()[-1], err, status) == (b"cluster is healthy", b"", 0)
    assert run_cli(["--peers", server.url, "set", "a", "1"], {})[0] == b"1\n"


@pytest.mark.parametrize("name", INSTEAD)
def test_what_has_no_meaning_names_what_to_type(name: str) -> None:
    out, err, status = run_cli([name, "--recursive", "x", "--ttl=5", "-z"], {})
    assert (out, status) == (b"", 1)
    assert err.decode() == f"Error: {name} is a command of etcd v2: {INSTEAD[name]}\n"
    assert "`pykvctl " in err.decode()


def test_no_member_can_be_asked() -> None:
    words = ["-C", "127.0.0.1:1", "--command-timeout=2s", "cluster-health"]
    out, err, status = run_cli(words, {})
    assert out == b"cluster may be unhealthy: failed to list members\n"
    text = "etcd cluster is unavailable or misconfigured; error #0: dial tcp 127.0.0.1:1: "
    assert err.decode() == f"Error:  client: {text}connect: connection refused\n"
    assert status == 4


def test_forever() -> None:
    with running(PYKVD) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "pykvctl", "cluster-health", "-f"],
            stdout=subprocess.PIPE,
            env=environment(server),
        )
        stdout = cast(BinaryIO, process.stdout)
        lines = [stdout.readline() for _ in range(5)]
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
        stdout.close()
    assert lines[1:] == [b"cluster is healthy\n", b"\n", b"next check after 10 second...\n", b"\n"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three members."""
    with clustered() as started:
        started.start()
        started.leader()
        yield started


def test_members_fall_one_after_the_other(cluster: Cluster) -> None:
    environ = environment(cluster.leader())
    alive = cluster.leader()
    dead = [member for member in cluster if member is not alive]
    ids = {}
    for line in run_cli(["member", "list"], environ)[0].decode().splitlines():
        member_id, _, name, *_ = line.split(", ")
        ids[name] = member_id
    healthy = {f"member {ids[m.name]} is healthy: got healthy result from {m.url}" for m in cluster}
    *lines, verdict = health(environ)
    assert (set(lines), verdict) == (healthy, ("cluster is healthy", 0))
    dead[0].kill()
    *lines, verdict = health(environ)
    name, url = f"member {ids[dead[0].name]}", dead[0].url
    reason = f"dial tcp {dead[0].endpoint}: connect: connection refused"
    gone = [
        f'failed to check the health of {name} on {url}: Get "{url}/health": {reason}',
        f"{name} is unreachable: [{url}] are all unreachable",
    ]
    assert [line for line in lines if ids[dead[0].name] in str(line)] == gone
    assert verdict == ("cluster is degraded", 5)
    dead[1].kill()
    *lines, verdict = health(environ)
    unhealthy = f"member {ids[alive.name]} is unhealthy: got unhealthy result from {alive.url}"
    assert unhealthy in lines
    assert verdict == ("cluster is unavailable", 5)


def health(environ: dict[str, str]) -> list[object]:
    """Lines of `cluster-health`, the last one with the status."""
    words = ["cluster-health", "--command-timeout=1500ms"]
    out, err, status = run_cli(words, environ)
    assert err == b""
    *lines, last = out.decode().splitlines()
    return [*lines, (last, int(status))]
