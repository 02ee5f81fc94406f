"""Replays transcripts of etcdctl: same output, same errors, same exit status."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from _pytest.mark.structures import ParameterSet

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import ETCD, Server, running
from tests.integration.pykvctl.conftest import GOLDEN_IDS, environment, installed_kinds
from tests.integration.pykvctl.normalise import recorded, replayed, without_revisions
from tests.integration.pykvctl.runner import Runner, run_cli
from tests.integration.pykvctl.transcript import Outcome, Step, read_transcript


@dataclass(frozen=True)
class Start:
    """What a transcript starts with: the store's revision, a pair in it, the server's flags."""

    revision: int = 1
    pair: tuple[str, str] | None = None
    flags: tuple[str, ...] = ()
    revisions_vary: bool = False


TRANSCRIPTS = {
    "01-put-get-del.txt": Start(),
    "02-output-formats.txt": Start(),
    "03-ranges.txt": Start(),
    "04-lease.txt": Start(revision=9),
    "05-txn.txt": Start(),
    "06-watch.txt": Start(),
    "07-watch-progress.txt": Start(flags=("--experimental-watch-progress-notify-interval=100ms",)),
    "08-compaction-defrag.txt": Start(),
    "09-snapshot.txt": Start(),
    "11-endpoint-single.txt": Start(),
    "12-errors-and-global-flags.txt": Start(pair=("foo", "bar")),
    "13-alarm.txt": Start(flags=("--quota-backend-bytes=16777216",), revisions_vary=True),
    "14-auth-roles-users.txt": Start(flags=("--bcrypt-cost=4",)),
    "16-auth-enabled.txt": Start(flags=("--bcrypt-cost=4",)),
    "26-web-page-typos.txt": Start(),
}

# Steps that pykvctl does not have, and why.
NOT_OURS = {
    r"ETCDCTL_API=": "3.6 has no v2 mode and does not read this variable",
    r"etcdctl snapshot (status|restore)|^find |^ls |bad\.db|corrupt\.db": "in test_snapshot.py",
    r"defrag --data-dir": "etcdutl's in 3.6: in test_offline.py",
    r"etcdctl (set|ls|mk|rm|mkdir|update|exec-watch|cluster-health)\b": "in test_v2.py",
    r"etcdctl migrate$": "in test_offline.py",
    r"etcdctl version|etcdctl -w json version": "tells its own version",
    r"^printf 'lease\(": "etcdctl dies of it; here leases can be compared",
    r"--debug": "3.6 has more global flags",
    r"^head -c 1048576": "replaced by `fill_quota`",
    r"--user alice:apw endpoint status": "any user may ask since 3.6",
    r"etcdctl watch foo bar baz": "no key is in this range: the server refuses, and we tell",
}

# Steps that etcd 3.4, which may be the installed one, answers otherwise than 3.5.
NOT_OLD_ETCD = {
    r"alarm list -w": "sends no header with alarms",
    r"etcdctl watch w --prefix --rev=5": "forgets deletions of the compacted revision",
    r"myrole read z a|role get myrole$|get alice --detail": "grants a range without keys",
}

# Transcripts of which it would answer too much otherwise.
NOT_FOR_OLD_ETCD = {"16-auth-enabled.txt": "asks less of callers, and cannot tell auth's status"}

# Waits that are long only because the transcripts were made by hand. In the shorter one a busy
# machine may not learn why a server cannot be reached.
LIMITS = ("200ms", "10s")
LIMITED = [
    (r"--command-timeout=(1s|500ms)", "--command-timeout={}"),
    (r"--endpoints=127.0.0.1:1 get foo", "--command-timeout={} --endpoints=127.0.0.1:1 get foo"),
]


def cases() -> list[ParameterSet]:
    """Each transcript with our server, and with a real etcd, whose answers prove the tests."""
    marks = {ETCD: [pytest.mark.etcd, pytest.mark.long]}
    return [
        pytest.param((kind, name), name, id=f"{name[:2]}-{kind.name}", marks=marks.get(kind, ()))
        for kind in installed_kinds()
        for name in TRANSCRIPTS
        if kind != ETCD or name not in NOT_FOR_OLD_ETCD
    ]


class Replay:
    """Replays one transcript against one server, carrying lease IDs from step to step."""

    def __init__(self, server: Server, runner: Runner, start: Start) -> None:
        self.start = start
        self.server = server
        self.runner = runner
        # Lease IDs as recorded and as granted in this run.
        self.leases: dict[int, int] = {}

    def check(self, step: Step) -> None:
        """Run a step and compare; one that waits in vain is given more time if it has to be."""
        hasty, patient = (self._adapt(step.command, limit) for limit in LIMITS)
        if hasty != patient:
            with suppress(AssertionError):
                self._check(step, hasty)
                return
        self._check(step, patient)

    def _check(self, step: Step, command: str) -> None:
        actual = self._run(command, step)
        self._learn_leases(step.outcome, actual)
        expected = recorded(self._translate(step.outcome), step.command)
        got = replayed(self._to_golden_addresses(actual), step.command)
        if self.start.revisions_vary:
            expected, got = without_revisions(expected), without_revisions(got)
        if expected.stderr[:1] and expected.stderr[0].startswith("panic: "):
            assert (len(got.stderr), got.status) == (1, expected.status)
        elif "[usage text]" in expected.stderr:
            assert got.stderr[-1:] == expected.stderr[-1:]
        else:
            assert got == expected, f"step {step.number}: {command}"

    def _adapt(self, command: str, limit: str) -> str:
        """The command with this run's ports and lease IDs and with this time limit."""
        if command.startswith("rev="):
            # The whole of the loop over the status: compaction at the current revision.
            return f"etcdctl compact {current_revision(self.server)}"
        for pattern, text in LIMITED:
            command = re.sub(pattern, text.format(limit), command)
        for old, new in self.leases.items():
            command = command.replace(f"{old:016x}", f"{new:016x}")
        return command.replace("32379", str(self.server.client_port))

    def _run(self, command: str, step: Step) -> Outcome:
        background = re.match(r"\(sleep [\d.]+; (.*)\)(?: > /dev/null)? & (.*)$", command)
        if background:
            return self._run_with_background(background[1], background[2], step)
        self.runner.environ = environment(self.server)
        if "--endpoints" in command:
            del self.runner.environ["ETCDCTL_ENDPOINTS"]
        if command.startswith("timeout") or " timeout " in command.split("etcdctl", maxsplit=1)[0]:
            if " -- " in command or not step.outcome.stdout:
                return self.runner.run_live(command, self._enough(step.outcome), None)
            return self.runner.run(command, self._enough(step.outcome))
        if re.match(r"etcdctl watch .* -- ", command):
            return self.runner.run_live(command, lambda _: False, None)
        if re.match(r"\(.*\) \| .*etcdctl watch -i", command):
            return self._run_interactive(command, step)
        if command.startswith("sleep "):
            self._until_gone(command.rpartition(" ")[2])
            command = command.partition("; ")[2]
        return self.runner.run(command)

    def _run_interactive(self, command: str, step: Step) -> Outcome:
        """A call that reads lines; its input ends when all but the error for that is printed."""
        ended = self.runner.folder / "ended"
        ended.unlink(missing_ok=True)
        command = re.sub(
            r"sleep [\d.]+(?=\) \|)", "until [ -e ended ]; do sleep 0.02; done", command
        )
        lines = len(step.outcome.stdout) + len(step.outcome.stderr) - 1
        return self.runner.run_live(command, lambda data: data.count(b"\n") >= lines, ended.touch)

    def _run_with_background(self, jobs: str, command: str, step: Step) -> Outcome:
        """A live call, and other calls while it runs."""

        def run_jobs() -> None:
            for job in jobs.split("; "):
                self.runner.run(job)

        if "keep-alive" in command:
            lines = len(step.outcome.stdout) - 1
            return self.runner.run_live(command, lambda out: out.count(b"\n") >= lines, run_jobs)
        # The watch starts at the next revision, so the jobs may run first.
        revision = current_revision(self.server)
        run_jobs()
        command = command.replace(" watch ", f" watch --rev={revision + 1} ")
        return self.runner.run(command, self._enough(step.outcome))

    def _enough(self, outcome: Outcome) -> Callable[[bytes], bool]:
        if outcome.status != 130:
            return lambda _: False
        lines = len(outcome.stdout)
        if outcome.stdout[:1] == ["progress notify: 2"]:
            lines = len(dict.fromkeys(outcome.stdout))
        if outcome.stdout[:1] and outcome.stdout[0].startswith(" 0a"):
            size = sum(len(line.split()) for line in outcome.stdout)
            return lambda out: len(out) >= size
        return self.runner.silence() if lines == 0 else lambda out: out.count(b"\n") >= lines

    def _until_gone(self, key: str) -> None:
        """Wait for a key whose lease runs out."""
        self.runner.wait(lambda: not run_cli(["get", key], self.runner.environ)[0])

    def _learn_leases(self, recorded_outcome: Outcome, actual: Outcome) -> None:
        if len(recorded_outcome.stdout) != len(actual.stdout):
            return
        for old, new in zip(recorded_outcome.stdout, actual.stdout, strict=True):
            for pattern, base in (
                (r"^lease ([0-9a-f]{16}) granted with TTL\(\d+s\)$", 16),
                (r'"ID"(?::| : )(\d+)', 10),
            ):
                before, after = re.search(pattern, old), re.search(pattern, new)
                if before and after:
                    self.leases.setdefault(int(before[1], base), int(after[1], base))

    def _translate(self, outcome: Outcome) -> Outcome:
        """A recorded outcome with the lease IDs of this run."""
        stdout = outcome.stdout
        for old, new in self.leases.items():
            stdout = [
                line.replace(f"{old:016x}", f"{new:016x}").replace(str(old), str(new))
                for line in stdout
            ]
        return replace(outcome, stdout=stdout)

    def _to_golden_addresses(self, outcome: Outcome) -> Outcome:
        port = str(self.server.client_port)
        return Outcome(
            [line.replace(port, "32379") for line in outcome.stdout],
            [line.replace(port, "32379") for line in outcome.stderr],
            outcome.status,
        )


def current_revision(server: Server) -> int:
    """The revision of the store."""
    out, _, _ = run_cli(["get", "any", "-w", "protobuf"], environment(server))
    return int(rpc.RangeResponse.FromString(out).header.revision)


def start_at_revision(server: Server, revision: int) -> None:
    """Change the store, leaving no key behind, until it has reached `revision`."""
    environ = environment(server)
    while (missing := revision - current_revision(server)) > 0:
        run_cli(["put", "filler", "x"], environ)
        if missing != 3:
            run_cli(["del", "filler"], environ)


def fill_quota(server: Server) -> None:
    """What the loop of the transcript about alarms does: writes until the store is full."""
    environ = environment(server)
    for _ in range(64):
        if run_cli(["put", "big"], environ, b"x" * 1048576)[2] != 0:
            return
    pytest.fail("the quota was never reached")


@pytest.fixture
def replay(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Replay]:
    """A server in the state the transcript starts with."""
    kind, name = request.param
    start = TRANSCRIPTS[name]
    folder = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(folder)
    with running(kind, [*GOLDEN_IDS, *start.flags]) as server:
        start_at_revision(server, start.revision)
        if start.pair is not None:
            run_cli(["put", *start.pair], environment(server))
        yield Replay(server, Runner(folder, environment(server)), start)


@pytest.mark.parametrize(("replay", "name"), cases(), indirect=["replay"])
def test_transcript(replay: Replay, name: str, subtests: "pytest.Subtests") -> None:
    """Every step of a transcript ends as it was recorded."""
    for step in read_transcript(name):
        if step.command.startswith("head -c 1048576"):
            fill_quota(replay.server)
        left_out = NOT_OURS | (NOT_OLD_ETCD if replay.server.kind == ETCD else {})
        if any(re.search(pattern, step.command) for pattern in left_out):
            continue
        with subtests.test(msg=step.command, number=step.number):
            replay.check(step)
