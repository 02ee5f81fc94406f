"""The same command lines against a real etcd and against pykvd give the same output.

Both servers have the same IDs and the same history, so that nearly all of it can be compared.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import ETCD, PYKVD, Server, running
from tests.integration.pykvctl.conftest import GOLDEN_IDS, environment
from tests.integration.pykvctl.normalise import replayed
from tests.integration.pykvctl.runner import Runner
from tests.integration.pykvctl.transcript import Outcome

pytestmark = [
    pytest.mark.etcd,
    pytest.mark.skipif(not ETCD.installed(), reason="etcd is not installed"),
]

FORMATS = ("simple", "json", "fields", "table", "protobuf")

# Lines without the program's name begin with it. FMT stands for each format.
WRITES = """
put foo bar -w FMT
put foo bar2 --prev-kv -w FMT
put foo --ignore-value -w FMT
put gone x -w FMT
put gone --ignore-lease y -w FMT
put nokey --ignore-value -w FMT
put '' x -w FMT
put foo z --lease=deadbeef -w FMT
printf 'a\\0b\\xff' | etcdctl put bin
del gone --prev-kv -w FMT
del nothing -w FMT
del '' -w FMT
""".strip().splitlines()

KEYS = [f"put {key} v-{key}" for key in ("a1", "a2", "a3", "b1", "b2", "c")] + ["put a2 again"]

READS = """
get foo -w FMT
get foo --hex -w FMT
get bin --hex -w FMT
get bin
get a --prefix -w FMT
get a1 b2 -w FMT
get b --from-key -w FMT
get '' --prefix --keys-only -w FMT
get '' --prefix --count-only -w fields
get a --prefix --limit=2 -w FMT
get a --prefix --order=DESCEND --sort-by=MODIFY -w FMT
get a --prefix --sort-by=VERSION --order=ASCEND -w FMT
get a --prefix --sort-by=VALUE --limit=1 -w FMT
get a2 --rev=25 -w FMT
get foo --rev=1000000 -w FMT
get foo --consistency=s -w FMT
get a --prefix --print-value-only
get '' -w FMT
get b a -w FMT
get nothing -w FMT
get '' --prefix | wc -c
""".strip().splitlines()

TXNS = """
printf 'val("foo") = "bar2"\\n\\nput t 1\\nget t\\ndel t\\n\\nput f 1\\n\\n' | etcdctl txn -w FMT
printf 'ver("foo") > "0"\\nmod("foo") < "2"\\n\\n\\nget foo\\nget a1\\n\\n' | etcdctl txn -w FMT
printf 'create("absent") = "0"\\n\\ndel a1 --prev-kv\\n\\n\\n' | etcdctl txn -w FMT
printf '\\nput t 1\\nput t 2\\n\\n\\n' | etcdctl txn -w FMT
printf 'bogus\\n' | etcdctl txn
printf 'val("a") >> "b"\\n' | etcdctl txn
printf '\\n\\n\\n' | etcdctl txn -w FMT
""".strip().splitlines()

HISTORY = """
compaction 10
compaction 10
compaction 100000
compaction x
get foo --rev=5 -w FMT
get foo --rev=10 -w FMT
defrag
get foo -w FMT
alarm list
alarm disarm
member list
member list -w table
member list -w json
member update f96b36ef9c15ecec --peer-urls=ftp://x:1
member remove 123
member promote 123
member add x --peer-urls=http://127.0.0.1
endpoint health | cut -d' ' -f1-3
move-leader 123
lease revoke 123
lease timetolive 123 -w FMT
lease keep-alive 123 --once
lease grant x
lease grant 9000000001
put foo bar -w yaml
bogus
get
""".strip().splitlines()

ROLES = """
role add r1 -w FMT
role add r1
role add ''
role grant-permission r1 read foo -w FMT
role grant-permission r1 readwrite a --prefix
role grant-permission r1 write x z
role grant-permission r1 read q --from-key
role grant-permission r1 readwrite '' --prefix
role grant-permission nosuch read foo
role get r1 -w FMT
role revoke-permission r1 foo -w FMT
role revoke-permission r1 '' --prefix
role revoke-permission r1 foo
role list -w FMT
role get nosuch -w FMT
user add u1:p1 -w FMT
user add u2 --no-password
user add root:p
user add u1:p1
user grant-role u1 r1 -w FMT
user grant-role u1 nosuch
user get u1 -w FMT
user get u1 --detail
user get nosuch
user list -w FMT
printf 'p2\\n' | etcdctl user passwd u1 --interactive=false -w FMT
user revoke-role u1 nosuch
""".strip().splitlines()

AUTH = """
auth enable
get foo
--user u1:p2 get a1 -w FMT
--user u1:p2 get b1 -w FMT
--user u1:wrong get a1
--user u1:p2 put a1 new --prev-kv -w FMT
--user u1:p2 put foo no
--user u1:p2 user list
--user u1:p2 role get r1
--user u1:p2 user get u1
--user u1:p2 auth disable
--user u1:p2 lease grant 60 -w json | grep -o Error
--user root:p get '' --prefix --keys-only
--user root:p --password p get foo
--user root --password p get foo
--user root:p user delete root
--user root:p role delete r1
--user u1:p2 get a1
--user root:p lock l -- sh -c 'echo locked; exit 4'
--user u1:p2 lock l echo no
--user root:p auth disable
get foo
user delete u1 -w FMT
user delete u1
""".strip().splitlines()

LOCKS = """
lock l echo hello
lock l -- sh -c 'exit 3'
lock l nosuchcommand
lock l -- sh -c 'echo $ETCD_LOCK_REV'
lock
elect e
elect -l e p
""".strip().splitlines()


def expanded(lines: list[str]) -> list[str]:
    """Every line with every format that it asks for."""
    return [
        line.replace("FMT", name) for line in lines for name in (FORMATS if "FMT" in line else "-")
    ]


COMMANDS = [
    *expanded(WRITES),
    *KEYS,
    *expanded(READS),
    *expanded(TXNS),
    *LOCKS,
    *expanded(ROLES),
    *expanded(AUTH),
    *expanded(HISTORY),
]
# Watches of the history, and how many lines they print.
WATCHES = {
    "watch foo --rev=2": 3 * 15,
    "watch foo --rev=2 -w json": 1,
    "watch gone --rev=2 --prev-kv": 30,
    "watch gone --rev=2 --prev-kv -w fields": 30,
    "watch '' --prefix --rev=20 --hex": 30,
    "watch a1 a3 --rev=2": 9,
}


class Side:
    """One of the servers."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._port = str(server.client_port)
        self._runner = Runner(folder, environment(server))

    def run(self, line: str, lines: int = sys.maxsize) -> Outcome:
        """The outcome, without what differs between any two servers.

        The command is interrupted when it has printed so many lines.
        """
        command = line if "etcdctl " in line else f"etcdctl {line}"
        if " lock " in command:
            outcome = self._runner.run_live(command, lambda _: False, None)
        else:
            outcome = self._runner.run(command, lambda out: out.count(b"\n") >= lines)
        stdout, stderr = (
            [self._masked(text) for text in lines] for lines in (outcome.stdout, outcome.stderr)
        )
        return replayed(replace(outcome, stdout=stdout, stderr=stderr), command)

    def _masked(self, text: str) -> str:
        text = text.replace(self._port, "PORT")
        # The raft term and what follows it in a binary header.
        return re.sub(r"(?<=\xb5\xf9\x01).*", "", text)


@pytest.fixture
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    """A real etcd, and ours."""
    folder = tmp_path_factory.mktemp("cwd")
    flags = [*GOLDEN_IDS, "--bcrypt-cost=4"]
    with running(ETCD, flags) as etcd, running(PYKVD, flags) as pykvd:
        yield [Side(etcd, folder), Side(pykvd, folder)]


def test_same_output(sides: list[Side], subtests: pytest.Subtests) -> None:
    etcd, pykvd = sides
    assert len(COMMANDS) > 250
    for number, line in enumerate(COMMANDS):
        with subtests.test(msg=line, number=number):
            assert pykvd.run(line) == etcd.run(line)


def test_same_events(sides: list[Side], subtests: pytest.Subtests) -> None:
    etcd, pykvd = sides
    for line in [*expanded(WRITES), *KEYS]:
        assert pykvd.run(line).status == etcd.run(line).status
    for line, count in WATCHES.items():
        with subtests.test(msg=line):
            got = pykvd.run(line, count)
            assert len(got.stdout) >= count
            assert got == etcd.run(line, count)
