"""check perf and check datascale: verdicts, bars, what they leave behind."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO

import pytest

from pykvctl.commands.check_perf import Workload, judge, write
from pykvctl.errors import CommandError, ReportedError
from pykvctl.load import Load, Pace, Results
from pykvctl.session import Session
from pykvctl.streams import Streams
from tests.harness import PYKVD, Server, kind_from_environment, running, wait_until
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.runner import run_cli
from tests.integration.pykvctl.transcript import Outcome, outcome_of, read_transcript

WAIT_S = 60.0
PROGRAM = [sys.executable, "-m", "pykvctl"]
PERF_PREFIX, SCALE_PREFIX = "/etcdctl-check-perf/", "/etcdctl-check-datascale/"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)) as started:
        yield started


def keys(server: Server, prefix: str) -> bytes:
    """All keys with a prefix."""
    return run_cli(["get", "--prefix", prefix, "--keys-only"], environment(server))[0]


def expected(command: str) -> Outcome:
    """What the transcript has for a command."""
    return next(step.outcome for step in read_transcript("29-check.txt") if step.command == command)


@pytest.mark.parametrize("command", ["check perf --load=huge", "check datascale --load=huge"])
def test_unknown_loads(command: str) -> None:
    assert outcome_of(*run_cli(command.split(), {})) == expected(f"etcdctl {command}")


def test_keys_in_the_way(server: Server) -> None:
    environ = environment(server)
    for prefix, command in ((PERF_PREFIX, "check perf"), (SCALE_PREFIX, "check datascale")):
        assert run_cli(["put", f"{prefix}x", "1"], environ)[2] == 0
        out, err, status = run_cli(command.split(), environ)
        assert (out, status) == (b"", 3)
        if command == "check perf":
            assert outcome_of(out, err, status) == expected("etcdctl check perf")
        assert f'prefix "{prefix}" has keys. Delete with '.encode() in err
        assert run_cli(["del", f"{prefix}x"], environ)[2] == 0


def session_of(server: Server) -> tuple[Session, BytesIO]:
    """A session, and its standard output."""
    out = BytesIO()
    return Session(Streams(BytesIO(), out, BytesIO()), environment(server), {}), out


def test_a_load_keeps_its_pace(server: Server) -> None:
    """Never faster than asked for; and what it wrote is counted."""
    session, out = session_of(server)
    workload = Workload(rate=100, clients=10, seconds=2)
    results = write(session, workload, PERF_PREFIX)
    found = keys(server, PERF_PREFIX).count(b"\n\n")
    # Timers are exact to a millisecond.
    assert 100 < len(results.times) <= 100 * (results.took + 0.001) + 1
    assert not results.errors
    assert found >= len(results.times) - 1
    run_cli(["del", "--prefix", PERF_PREFIX], environment(server))
    session.close()
    assert out.getvalue() == b""


GOOD = Results(times=[0.001] * 150, took=1.0)


@pytest.mark.parametrize(
    ("results", "lines"),
    [
        (
            GOOD,
            [
                "PASS: Throughput is 151 writes/s",
                "PASS: Slowest request took 0.001000s",
                "PASS: Stddev is 0.000000s",
                "PASS",
            ],
        ),
        (
            Results(times=[0.001] * 135, took=1.0),
            [
                "FAIL: Throughput too low: 136 writes/s",
                "PASS: Slowest request took 0.001000s",
                "PASS: Stddev is 0.000000s",
                "FAIL",
            ],
        ),
        (
            Results(times=[0.0] * 100 + [1.0] * 100, took=1.0),
            [
                "PASS: Throughput is 201 writes/s",
                "Slowest request took too long: 1.000000s",
                "Stddev too high: 0.500000s",
                "FAIL",
            ],
        ),
        (
            Results(times=[0.001] * 150, errors=["e", "e"], took=1.0),
            [
                "FAIL: too many errors",
                "FAIL: ERROR(e) -> 2",
                "PASS: Throughput is 151 writes/s",
                "PASS: Slowest request took 0.001000s",
                "PASS: Stddev is 0.000000s",
                "FAIL",
            ],
        ),
    ],
    ids=["good", "too few", "too slow", "errors"],
)
def test_verdicts(results: Results, lines: list[str]) -> None:
    out = BytesIO()
    session = Session(Streams(BytesIO(), out, BytesIO()), {}, {})
    failed = False
    try:
        judge(session, Workload(150, 50), results)
    except ReportedError:
        failed = True
    assert out.getvalue().decode().splitlines() == lines
    assert failed == (lines[-1] == "FAIL")


def test_datascale(server: Server) -> None:
    """As in the transcript, the bar left out; nothing stays behind."""
    command = "check datascale --auto-compact --auto-defrag"
    out, err, status = run_cli(command.split(), environment(server))
    recorded = expected(f"etcdctl {command} | tr '\\r' '\\n' | grep -v '/ 10000'")
    assert (err, status) == (b"", recorded.status)
    shown = out.decode().replace(server.endpoint, "127.0.0.1:32379").splitlines()
    wanted = [line for line in recorded.stdout if line]
    assert [without_figures(line) for line in shown] == [without_figures(line) for line in wanted]
    assert keys(server, SCALE_PREFIX) == b""


def without_figures(line: str) -> str:
    """A line whose last figure varies."""
    if line.startswith("PASS: Approximate"):
        assert float(line.split()[-2]) != 0
        return line.rpartition(": ")[0]
    return line.rstrip("0123456789") if "revision" in line else line


def test_ctrl_c_ends_it_early_and_cleans_up(server: Server) -> None:
    """With a verdict on the time there was; at a terminal a bar is drawn."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "check", "perf"],
        stdout=subprocess.PIPE,
        stderr=slave,
        env=environment(server) | {"TERM": "xterm"},
    )
    os.close(slave)
    wait_until(lambda: keys(server, PERF_PREFIX).count(b"\n") > 200, "some writes", WAIT_S)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=WAIT_S)
    drawn = os.read(master, 65536)
    os.close(master)
    assert "━".encode() in drawn
    assert b"/60" in drawn
    lines = out.decode().splitlines()
    assert lines[-1] in {"PASS", "FAIL"}
    assert process.returncode == (0 if lines[-1] == "PASS" else 1)
    assert keys(server, PERF_PREFIX) == b""


def short_load(environ: dict[str, str]) -> Results:
    """A hundred pairs of four clients."""
    session = Session(Streams(BytesIO(), BytesIO(), BytesIO()), environ, {})

    def wait(answered: Callable[[], int]) -> None:
        wait_until(lambda: answered() >= 100, "all answers", WAIT_S)

    load = Load(b"/count/", 16, 16, clients=4)
    try:
        return load.run(session.client, Pace(count=100), wait)
    finally:
        session.close()


def test_a_pace_without_a_rate_ends_with_its_count(server: Server) -> None:
    assert len(short_load(environment(server)).times) == 100
    assert keys(server, "/count/").count(b"\n\n") == 100


def test_a_load_goes_past_endpoints_that_are_down(server: Server) -> None:
    environ = environment(server) | {"ETCDCTL_ENDPOINTS": f"127.0.0.1:1,http://{server.endpoint}"}
    results = short_load(environ)
    assert (len(results.times), results.errors) == (100, [])


def test_refused_writes_are_told_as_etcdctl_tells_them() -> None:
    with running(PYKVD, ["--max-request-bytes=10"]) as small:
        results = short_load(environment(small))
    assert set(results.errors) == {"etcdserver: request is too large"}


def test_an_endpoint_that_is_none(server: Server) -> None:
    environ = environment(server)
    environ["ETCDCTL_ENDPOINTS"] += ",127.0.0.1:port"
    with pytest.raises(CommandError, match=r"'http://127.0.0.1:port' has no valid port"):
        short_load(environ)


@pytest.mark.long
def test_perf_for_a_minute(server: Server) -> None:
    out, err, status = run_cli(["check", "perf"], environment(server))
    lines = out.decode().splitlines()
    assert (err, status) == (b"", 0)
    assert lines[0] in {"PASS: Throughput is 150 writes/s", "PASS: Throughput is 151 writes/s"}
    assert lines[-1] == "PASS"
    assert keys(server, PERF_PREFIX) == b""
