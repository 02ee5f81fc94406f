"""make-mirror: the transcript, and what it does when one side fails."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import BinaryIO, Self, cast

import pytest

from tests.harness import PYKVD, Server, kind_from_environment, running, wait_until
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.normalise import recorded, replayed
from tests.integration.pykvctl.runner import Runner, run_cli
from tests.integration.pykvctl.transcript import Outcome, Step, outcome_of, read_transcript

NAME = "19-make-mirror.txt"
PROGRAM = [sys.executable, "-m", "pykvctl"]
WAIT_S = 60.0
# Steps that are not replayed, and why.
NOT_HERE = {
    "INT 31 etcdctl": "the count of every half minute: below",
    "make-mirror 127.0.0.1:1": "an unreachable side: below",
    "--endpoints=127.0.0.1:1 ": "an unreachable side: below",
}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    """The source and the destination."""
    kind = kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)
    with running(kind) as source, running(kind) as destination:
        yield source, destination


@pytest.fixture
def empty(servers: tuple[Server, Server]) -> tuple[Server, Server]:
    """Both, without keys."""
    for server in servers:
        run_cli(["del", "--prefix", ""], environment(server))
    return servers


class Mirror:
    """A running make-mirror; a context manager that interrupts it."""

    def __init__(self, source: Server, words: list[str]) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, "make-mirror", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(source),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def interrupt(self) -> Outcome:
        """End it by Ctrl-C: its outcome."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=WAIT_S)
        status = self.process.returncode
        return outcome_of(out, err, 128 - status if status < 0 else status)


def pairs(server: Server) -> dict[str, str]:
    """All pairs of a server."""
    out, _, _ = run_cli(["get", "--prefix", ""], environment(server))
    lines = out.decode().split("\n")
    return dict(zip(lines[0:-1:2], lines[1::2], strict=True))


def put(server: Server, **values: str) -> None:
    """Write pairs; `_` in a name stands for `/`."""
    for name, value in values.items():
        assert run_cli(["put", name.replace("_", "/"), value], environment(server))[2] == 0


def wait_for(server: Server, expected: dict[str, str]) -> None:
    """Wait until a server holds these pairs."""
    wait_until(lambda: pairs(server) == expected, f"{expected}", WAIT_S)


def listed(step: Step) -> dict[str, str]:
    """The pairs that a step's output shows."""
    return dict(zip(step.outcome.stdout[::2], step.outcome.stdout[1::2], strict=True))


def _ends(marks: dict[str, str]) -> list[str]:
    """Words, so that `:1` is not found in a longer port."""
    return [mark if mark.endswith(" ") else f"{mark} " for mark in marks]


def test_transcript(
    empty: tuple[Server, Server],
    tmp_path_factory: pytest.TempPathFactory,
    subtests: pytest.Subtests,
) -> None:
    """Each mirror runs until the destination holds what the next step shows."""
    source, destination = empty
    runner = Runner(tmp_path_factory.mktemp("cwd"), environment(source))
    steps = read_transcript(NAME)
    for step, following in zip(steps, [*steps[1:], steps[-1]], strict=True):
        if any(mark in f"{step.command} " for mark in _ends(NOT_HERE)):
            continue
        command = step.command.replace("32479", str(destination.client_port))
        with subtests.test(msg=command, number=step.number):
            if "timeout" in command and "--dest-user" not in command:
                with Mirror(source, command.partition("make-mirror ")[2].split()) as mirror:
                    if command.startswith("("):
                        # What was there is copied before the changes begin.
                        wait_for(destination, {"src/a": "1", "src/b": "2"})
                        for job in command[1:].partition(")")[0].split("; ")[1:]:
                            runner.run(job)
                    wait_for(destination, listed(following))
                    actual = mirror.interrupt()
            elif "--dest-user" in command:
                words = command.partition("make-mirror ")[2].split()
                with Mirror(source, words) as mirror:
                    put(source, src_marker="x")
                    wait_until(lambda: "src/marker" in pairs(destination), "a change", WAIT_S)
                    actual = mirror.interrupt()
            else:
                runner.environ = environment(
                    destination if f":{destination.client_port} " in command else source
                )
                actual = runner.run(command.replace(f"--endpoints={destination.endpoint} ", ""))
            assert replayed(actual, command) == recorded(step.outcome, command)


def test_transactions_stay_whole(empty: tuple[Server, Server]) -> None:
    """Keys that changed together have one revision in the destination too."""
    source, destination = empty
    put(source, a="0")
    with Mirror(source, [destination.endpoint]):
        wait_for(destination, {"a": "0"})
        run_cli(["txn"], environment(source), b"\nput b 1\nput c 1\ndel a\n\n\n")
        wait_for(destination, {"b": "1", "c": "1"})
    out, _, _ = run_cli(["get", "b", "c~", "-w", "fields"], environment(destination))
    revisions = {line for line in out.decode().splitlines() if line.startswith('"ModRev')}
    assert len(revisions) == 1


def test_max_txn_ops_splits_what_is_too_large(empty: tuple[Server, Server]) -> None:
    source, destination = empty
    text = "\n" + "".join(f"put k{n} v\n" for n in range(7)) + "\n\n"
    put(source, a="0")
    with Mirror(source, ["--max-txn-ops=3", destination.endpoint]):
        wait_for(destination, {"a": "0"})
        run_cli(["txn"], environment(source), text.encode())
        wait_until(lambda: len(pairs(destination)) == 8, "all keys", WAIT_S)
    out, _, _ = run_cli(["get", "--prefix", "k", "-w", "fields"], environment(destination))
    lines = [line for line in out.decode().splitlines() if line.startswith('"ModRev')]
    assert [lines.count(line) for line in dict.fromkeys(lines)] == [3, 3, 1]


def test_a_revision_is_where_it_goes_on(empty: tuple[Server, Server]) -> None:
    """With --rev what is older is not copied, and the prefix stays."""
    source, destination = empty
    put(source, src_old="1")
    out, _, _ = run_cli(["put", "src/new", "2", "-w", "fields"], environment(source))
    revision = next(line.split()[-1] for line in out.decode().splitlines() if "Revision" in line)
    words = ["--prefix=src/", f"--rev={revision}", destination.endpoint]
    with Mirror(source, words):
        wait_for(destination, {"src/new": "2"})


def test_a_compacted_revision_ends_it(empty: tuple[Server, Server]) -> None:
    source, destination = empty
    put(source, a="1", b="2", c="3")
    out, _, _ = run_cli(["get", "c", "-w", "fields"], environment(source))
    revision = int(next(line.split()[-1] for line in out.decode().splitlines() if "Mod" in line))
    assert run_cli(["compact", str(revision)], environment(source))[2] == 0
    words = ["make-mirror", f"--rev={revision - 1}", destination.endpoint]
    _, err, status = run_cli(words, environment(source))
    assert status == 1
    assert err == b"Error: etcdserver: mvcc: required revision has been compacted\n"


def test_it_outlives_both_clusters(empty: tuple[Server, Server]) -> None:
    """Kills of the source and the destination lose nothing."""
    source, destination = empty
    put(source, a="1")
    with Mirror(source, [destination.endpoint]) as mirror:
        wait_for(destination, {"a": "1"})
        destination.kill()
        put(source, b="2")
        destination.start()
        wait_for(destination, {"a": "1", "b": "2"})
        source.kill()
        source.start()
        put(source, c="3")
        wait_for(destination, {"a": "1", "b": "2", "c": "3"})
        assert mirror.process.poll() is None


def test_large_stores_are_copied_page_by_page(empty: tuple[Server, Server]) -> None:
    """More pairs than one answer holds, and values that fill requests."""
    source, destination = empty
    for start in range(0, 2600, 100):
        text = "\n" + "".join(f"put n{n:05} v{n}\n" for n in range(start, start + 100)) + "\n\n"
        assert run_cli(["txn"], environment(source), text.encode())[2] == 0
    for name in ("big1", "big2", "big3"):
        assert run_cli(["put", name], environment(source), b"x" * 900_000)[2] == 0
    with Mirror(source, [destination.endpoint]):
        wait_until(lambda: len(pairs(destination)) == 2603, "all keys", WAIT_S)
    assert pairs(destination) == pairs(source)


def often_reporting(source: Server, destination: Server, out: int) -> "subprocess.Popen[bytes]":
    """A mirror that tells the count several times a second."""
    script = (
        "import pykvctl.commands.make_mirror as module\n"
        "from pykvctl.cli import main\n"
        "module.REPORT_INTERVAL_S = 0.2\n"
        "main()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, "make-mirror", destination.endpoint],
        stdout=out,
        stderr=subprocess.PIPE,
        env=environment(source),
    )


def test_the_count_is_told_from_time_to_time(empty: tuple[Server, Server]) -> None:
    """Every half minute; here more often. It ends when nobody reads it any more."""
    source, destination = empty
    put(source, a="1", b="2")
    process = often_reporting(source, destination, subprocess.PIPE)
    lines = cast(BinaryIO, process.stdout)
    while (line := lines.readline()) != b"2\n":
        assert line == b"0\n"
    assert lines.readline() == b"2\n"
    lines.close()
    assert process.wait(WAIT_S) == 128 + signal.SIGPIPE
    assert cast(BinaryIO, process.stderr).read() == b""
    cast(BinaryIO, process.stderr).close()


def test_a_full_disk_below_the_counts_is_no_harm(empty: tuple[Server, Server]) -> None:
    source, destination = empty
    with open("/dev/full", "wb") as full:
        process = often_reporting(source, destination, full.fileno())
    put(source, a="1")
    wait_for(destination, {"a": "1"})
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.kill()
    _, err = process.communicate()
    assert err == b""


@pytest.mark.parametrize("side", ["source", "destination"])
def test_an_unreachable_side_is_waited_for(servers: tuple[Server, Server], side: str) -> None:
    """Silently, until Ctrl-C."""
    endpoint = "127.0.0.1:1" if side == "source" else servers[0].endpoint
    target = "127.0.0.1:1" if side == "destination" else servers[1].endpoint
    environ = environment(servers[0]) | {"ETCDCTL_ENDPOINTS": endpoint}
    process = subprocess.Popen(
        [*PROGRAM, "--debug", "make-mirror", target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
    )
    err = cast(BinaryIO, process.stderr)
    while not err.readline().startswith(b"ETCDCTL_WRITE_OUT="):
        pass
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=WAIT_S)
    assert (out, rest, process.returncode) == (b"", b"", -signal.SIGINT)
