"""Bad input: one line on standard error, etcdctl's exit code, never a traceback."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykvctl.commands import ROOT
from pykvctl.dispatch import run
from pykvctl.options.command import Group
from pykvctl.options.global_flags import GLOBAL_OPTIONS
from pykvctl.streams import Streams
from tests.harness import PYKVD, Server, kind_from_environment, running
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.runner import run_cli

PROGRAM = [sys.executable, "-m", "pykvctl"]
DEAD = "--endpoints=127.0.0.1:1"
SHORT = "--command-timeout=200ms"
NOT_UTF8 = "\udcff\udcfe"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)) as started:
        yield started


def failure(words: list[str], environ: dict[str, str] | None = None) -> tuple[str, int]:
    """The error line and the status of a command that prints nothing else but log lines."""
    out, err, status = run_cli(words, environ or {})
    *logged, last = err.decode("utf-8", "surrogateescape").splitlines()
    assert out == b""
    assert all(line.startswith('{"level":') for line in logged)
    return last, status


@pytest.mark.parametrize(
    "words",
    [
        ["get", "k"],
        ["put", "k", "v"],
        ["del", "k"],
        ["compaction", "5"],
        ["lease", "timetolive", "5"],
        ["member", "list"],
        ["auth", "status"],
        ["auth", "enable"],
        ["downgrade", "cancel"],
    ],
    ids=" ".join,
)
def test_unreachable_servers(words: list[str]) -> None:
    """One line, after the time that the user has given."""
    text, status = failure([DEAD, SHORT, *words])
    assert text == "Error: context deadline exceeded"
    assert status == (2 if words[0] == "lease" else 1)


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """The endpoint of a listener that is no gRPC server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_all, args=(listener, reply))
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _answer_all(listener: socket.socket, reply: bytes) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(reply)


def test_servers_that_speak_something_else() -> None:
    for reply in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100, os.urandom(64)):
        with answering(reply) as endpoint:
            text, status = failure([f"--endpoints={endpoint}", SHORT, "get", "k"])
        assert (text, status) == ("Error: context deadline exceeded", 1)


def test_tls_that_the_server_does_not_speak(server: Server) -> None:
    words = [f"--endpoints=https://{server.endpoint}", SHORT, "get", "k"]
    assert failure(words) == ("Error: context deadline exceeded", 1)
    words.append("--insecure-skip-tls-verify")
    assert failure(words) == ("Error: context deadline exceeded", 1)


def test_names_that_are_no_utf8(server: Server) -> None:
    """Names of users and roles are text on the wire; all else is bytes."""
    environ = environment(server)
    for words in (
        ["user", "add", f"{NOT_UTF8}:p"],
        ["user", "get", NOT_UTF8],
        ["user", "grant-role", "root", NOT_UTF8],
        ["role", "add", NOT_UTF8],
        ["role", "get", NOT_UTF8],
        [f"--user={NOT_UTF8}:p", "get", "k"],
        ["downgrade", "validate", NOT_UTF8],
    ):
        text, status = failure(words, environ)
        assert text.startswith("Error: rpc error: code = Internal desc = grpc: error while marsh")
        assert status == 1
    for words in (["put", NOT_UTF8, NOT_UTF8], ["lock", NOT_UTF8, "true"]):
        assert run_cli(words, environ)[1:] == (b"", 0)
    assert run_cli(["get", NOT_UTF8], environ) == (b"\xff\xfe\n\xff\xfe\n", b"", 0)


@pytest.mark.parametrize(
    "endpoint", [NOT_UTF8, "\0", "http://", "unix://", "[::1", "a:b:c", "%", " "]
)
def test_odd_endpoints(endpoint: str) -> None:
    out, err, status = run_cli([f"--endpoints={endpoint}", SHORT, "get", "k"], {})
    assert (out, status) == (b"", 1)
    assert err.splitlines()[-1].startswith(b"Error: ")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_huge_output_into_a_closed_pipe(server: Server, unbuffered: str) -> None:
    """`| head` ends it by SIGPIPE, as it ends etcdctl."""
    environ = environment(server) | {"PYTHONUNBUFFERED": unbuffered}
    for number in range(20):
        assert run_cli(["put", f"huge{number}"], environ, b"x" * (1 << 20))[2] == 0
    script = f"{sys.executable} -m pykvctl get --prefix huge | head -c 3; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], env=environ, capture_output=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (b"hug141\n", b"")
    for flags in (["-w", "json"], ["-w", "fields"], ["-w", "protobuf"]):
        words = " ".join([*PROGRAM, "get", "--prefix", "huge", *flags])
        done = subprocess.run(
            ["bash", "-c", f"{words} | true; echo ${{PIPESTATUS[0]}}"],
            env=environ,
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert (done.stdout, done.stderr) == (b"141\n", b"")


@pytest.mark.parametrize("words", [["--help"], ["get", "--help"], ["version"], ["no-command"]])
def test_nobody_reads(words: list[str]) -> None:
    """Whatever is written, also outside of commands."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*PROGRAM, *words], stdout=writer, stderr=writer, check=False)
    os.close(writer)
    assert done.returncode == -signal.SIGPIPE


def test_closed_streams(server: Server) -> None:
    """Descriptors that the caller has closed."""
    environ = environment(server)
    assert run_cli(["put", "k", "v"], environ)[2] == 0
    for closed in ("<&-", ">&-", "2>&-"):
        script = f"{' '.join(PROGRAM)} get k {closed}"
        done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, check=False)
        assert b"Traceback" not in done.stderr
        assert done.stdout == (b"" if closed == ">&-" else b"k\nv\n")


@pytest.mark.parametrize("words", [["put", "k", "v"], ["--help"], ["get", "-z"], ["member"]])
def test_a_full_disk(server: Server, words: list[str]) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        err = io.BytesIO()
        assert run(words, Streams(io.BytesIO(), full, err), environment(server)) == 1
    assert err.getvalue() == b"Error: no space left on device\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [(["get"], 128), (["get", "k", "--rev=999"], 1), (["get", "k"], 0), (["bogus"], 1)],
)
def test_a_full_disk_below_standard_error(server: Server, words: list[str], status: int) -> None:
    """What cannot be told is told by the status."""
    with open("/dev/full", "wb", buffering=0) as full:
        assert run(words, Streams(io.BytesIO(), io.BytesIO(), full), environment(server)) == status


def _paths(group: Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in group.names():
        child = group.load(name)
        if isinstance(child, Group):
            yield from _paths(child, (*path, name))
        yield (*path, name)


COMMANDS = sorted(_paths(ROOT))
# Nothing may be dialled: commands without a time limit would wait for it.
DIALLING = {"--endpoints", "-d", "--discovery-srv"}
FLAGS = sorted(
    {spelling for option in GLOBAL_OPTIONS for spelling in option.opts} - DIALLING
    | {"--prefix", "--from-key", "--rev", "--lease", "--ttl", "--listen", "--detail", "--help"}
)
ODD = ["", "-", "--", "0", "-1", "x", NOT_UTF8, "\0", "é", "a=b", ":", "'", '"', "9" * 30, "=", "~"]
words_of = st.lists(
    st.one_of(st.sampled_from(ODD), st.sampled_from(FLAGS), st.text(max_size=5)), max_size=5
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(command=st.sampled_from(COMMANDS), words=words_of, stdin=st.binary(max_size=30))
def test_any_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    words: list[str],
    stdin: bytes,
) -> None:
    """Whatever follows a command: it ends by itself with a status, as there is no endpoint."""
    monkeypatch.chdir(tmp_path)
    words = [
        word.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") for word in words
    ]
    _, err, status = run_cli(["--endpoints=", *command, *words], {}, stdin)
    assert status in {0, 1, 2, 3, 4, 5, 128}
    assert b"Traceback" not in err
    assert status == 0 or err


def test_a_full_disk_below_interactive_watches(server: Server) -> None:
    """The thread of a watch cannot write: the command ends."""
    environ = environment(server)
    assert run_cli(["put", "k", "v"], environ)[2] == 0
    reader, writer = os.pipe()
    os.write(writer, b"watch k --rev=1\n")
    err = io.BytesIO()
    with (
        open("/dev/full", "wb", buffering=0) as full,
        open(reader, "rb") as stdin,
        open(writer, "wb"),
    ):
        # The input goes on.
        status = run(["watch", "-i"], Streams(stdin, full, err), environ)
        os.write(writer, b"end")
    assert (err.getvalue(), status) == (b"Error: no space left on device\n", 1)


def test_snapshots_that_cannot_be_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of etcdctl, and with its status."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full.part").symlink_to("/dev/full")
    (tmp_path / "folder").mkdir()
    for path, text in {
        "full": "write full.part: no space left on device",
        "folder": "could not rename folder.part to folder (rename folder.part folder: is a directo",
        "": "could not rename .part to  (rename .part : no such file or directory)",
        "none/s": "could not open none/s.part (open none/s.part: no such file or directory)",
    }.items():
        last, status = failure(["snapshot", "save", path], environment(server))
        assert last.startswith(f"Error: {text}")
        assert status == 5
