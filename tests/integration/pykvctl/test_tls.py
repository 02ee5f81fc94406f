"""TLS: the transcript, certificates that cannot be verified, refused handshakes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.harness import PYKVD, Server, kind_from_environment, wait_until
from tests.harness.certificates import CLIENT, DAY, LOCAL, Authority
from tests.integration.pykvctl.conftest import GOLDEN_IDS, environment
from tests.integration.pykvctl.normalise import recorded, replayed
from tests.integration.pykvctl.runner import Runner, run_cli
from tests.integration.pykvctl.test_check import short_load
from tests.integration.pykvctl.test_golden_locks import Live
from tests.integration.pykvctl.transcript import Outcome, Step, read_transcript

NAME = "24-tls.txt"
VERIFY = ("--client-cert-auth", "--trusted-ca-file=ca.pem")
# Steps that are left out, and why.
NOT_OURS = {
    "^curl": "no command of ours",
    r"--insecure-skip-tls-verify (get|--command)": "enough by itself since 3.6: below",
    "endpoint health --cluster": "the port is in the member list: below",
}


class SecureServer(Server):
    """One process that serves clients over TLS."""

    @property
    def url(self) -> str:
        """The client listener as a URL."""
        return f"https://{self.endpoint}"


@contextmanager
def secured(folder: Path, *flags: str) -> Iterator[SecureServer]:
    """A server with the certificates of the folder, which is the current one."""
    kind = kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)
    keys = ("--cert-file=server.crt", "--key-file=server.key")
    server = SecureServer(kind, folder, [*GOLDEN_IDS, *keys, *flags])
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that the transcript names."""
    monkeypatch.chdir(tmp_path)
    authority = Authority(tmp_path)
    Authority(tmp_path, "otherca")
    authority.issue("server")
    alice = authority.issue("alice", usages=(CLIENT,))
    alice.cert.rename(tmp_path / "client.pem")
    alice.key.rename(tmp_path / "client-key.pem")
    return tmp_path


def plain_environment(server: Server) -> dict[str, str]:
    """No endpoints: the flags of the steps name them."""
    environ = environment(server)
    del environ["ETCDCTL_ENDPOINTS"]
    return environ


def check(server: Server, folder: Path, step: Step) -> None:
    """Replay one step."""
    port = str(server.client_port)
    command = re.sub(r"--command-timeout=\S+", "--command-timeout=500ms", step.command)
    actual = Runner(folder, plain_environment(server)).run(command.replace("32379", port))
    actual = Outcome(
        [line.replace(port, "32379") for line in actual.stdout],
        []
        if "2> /dev/null" in step.command
        else [line.replace(port, "32379") for line in actual.stderr],
        actual.status,
    )
    assert replayed(actual, step.command) == recorded(step.outcome, step.command)


def test_transcript(folder: Path, subtests: pytest.Subtests) -> None:
    """The server is started again, to ask for certificates, where the transcript does so."""
    steps = read_transcript(NAME)
    [saved] = [step.number for step in steps if "snapshot save" in step.command]
    flags: tuple[str, ...] = ()
    for part in (steps[:saved], steps[saved:]):
        with secured(folder, *flags) as server:
            for step in part:
                if any(re.search(pattern, step.command) for pattern in NOT_OURS):
                    continue
                with subtests.test(msg=step.command, number=step.number):
                    check(server, folder, step)
        flags = VERIFY


@pytest.fixture
def server(folder: Path) -> Iterator[SecureServer]:
    """A server that asks for no certificate, with a pair."""
    with secured(folder) as started:
        words = [f"--endpoints={started.url}", "--cacert=ca.pem", "put", "k", "v"]
        assert run_cli(words, plain_environment(started)) == (b"OK\n", b"", 0)
        yield started


@pytest.mark.parametrize("scheme", ["https://", ""])
def test_verification_can_be_skipped(server: SecureServer, scheme: str) -> None:
    """No file is needed, and neither the authority nor the name of the server."""
    port = server.client_port
    for host in ("127.0.0.1", "localhost"):
        words = [f"--endpoints={scheme}{host}:{port}", "--insecure-skip-tls-verify", "get", "k"]
        assert run_cli(words, plain_environment(server)) == (b"k\nv\n", b"", 0)


@pytest.mark.parametrize(
    ("hosts", "ends"),
    [(("node.invalid",), DAY), ((), DAY), (LOCAL, -DAY)],
    ids=["of another name", "without a name", "expired"],
)
def test_any_certificate_will_do(folder: Path, hosts: tuple[str, ...], ends: timedelta) -> None:
    authority = Authority(folder, "elsewhere")
    authority.issue("server", hosts=hosts, begins=-2 * DAY, ends=ends)
    with secured(folder) as server:
        words = [f"--endpoints={server.url}", "put", "k", "v", "--command-timeout=500ms"]
        environ = plain_environment(server)
        assert run_cli([*words, "--cacert=elsewhere.pem"], environ)[2] == 1
        assert run_cli([*words, "--insecure-skip-tls-verify"], environ) == (b"OK\n", b"", 0)
        value = b"x" * 1_000_000
        words = [f"--endpoints={server.url}", "--insecure-skip-tls-verify"]
        assert run_cli([*words, "put", "big"], environ, value)[2] == 0
        assert run_cli([*words, "get", "big", "--print-value-only"], environ)[0] == value + b"\n"


def test_without_verification_the_own_certificate_is_shown(folder: Path) -> None:
    with secured(folder, *VERIFY) as server:
        words = [f"--endpoints={server.url}", "--insecure-skip-tls-verify", "put", "k", "v"]
        environ = plain_environment(server)
        shown = ["--cert=client.pem", "--key=client-key.pem"]
        assert run_cli([*words, *shown], environ) == (b"OK\n", b"", 0)
        assert run_cli([*words, "--command-timeout=300ms"], environ)[2] == 1


def test_a_watch_without_verification_outlives_the_server(
    server: SecureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"--endpoints={server.url}", "--insecure-skip-tls-verify"]
    # A killed command leaves its socket behind.
    monkeypatch.setenv("TMPDIR", str(server.home))
    live = Live([*words, "watch", "k", "--prefix", "--rev=1"], plain_environment(server))
    monkeypatch.delenv("TMPDIR")
    try:
        live.wait_lines(3)
        server.kill()
        server.start()
        put = [*words, "put", "k2", "v", "--command-timeout=10s"]
        assert run_cli(put, plain_environment(server))[2] == 0
        live.wait_lines(6)
    finally:
        live.process.kill()
        live.finish()


def test_watches_and_every_endpoint_over_tls(server: SecureServer) -> None:
    words = [f"--endpoints={server.url}", "--cacert=ca.pem"]
    environ = plain_environment(server)
    out, err, status = run_cli([*words, "endpoint", "health", "--cluster"], environ)
    assert (err, status) == (b"", 0)
    assert out.startswith(f"{server.url} is healthy: ".encode())
    watch = [*words, "watch", "k", "--rev=1"]
    assert run_cli(watch, environ, enough=lambda out: out.count(b"\n") == 3)[0] == b"PUT\nk\nv\n"


def test_a_mirror_over_tls(server: SecureServer) -> None:
    """The flags of the destination are its own."""
    words = [
        f"--endpoints={server.url}",
        "--cacert=ca.pem",
        "make-mirror",
        "--dest-prefix=copy/",
        "--prefix=k",
        server.url,
    ]
    environ = plain_environment(server)
    refused = run_cli([*words, "--dest-cacert=nosuch.pem"], environ)
    assert refused == (b"", b"Error: open nosuch.pem: no such file or directory\n", 128)
    mirror = subprocess.Popen(
        [sys.executable, "-m", "pykvctl", *words, "--dest-cacert=ca.pem"], env=environ
    )
    get = [f"--endpoints={server.url}", "--cacert=ca.pem", "get", "copy/"]
    try:
        wait_until(lambda: run_cli(get, environ)[0] == b"copy/\nv\n", "the copy")
    finally:
        mirror.kill()
        mirror.wait()


def test_a_load_over_tls(folder: Path) -> None:
    """Which has a transport of its own."""
    with secured(folder, *VERIFY) as server:
        environ = plain_environment(server) | {
            "ETCDCTL_ENDPOINTS": server.url,
            "ETCDCTL_CERT": "client.pem",
            "ETCDCTL_KEY": "client-key.pem",
        }
        for trust in ({"ETCDCTL_CACERT": "ca.pem"}, {"ETCDCTL_INSECURE_SKIP_TLS_VERIFY": "true"}):
            assert len(short_load(environ | trust).times) == 100
