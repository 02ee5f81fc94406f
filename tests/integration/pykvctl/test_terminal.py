"""What people see on a terminal, and that pipes, NO_COLOR and dumb terminals see plain lines."""

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.harness import PYKVD, Server, running
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.relay import relayed
from tests.integration.pykvctl.runner import run_cli
from tests.integration.pykvctl.tmux import Tmux, installed

in_tmux = pytest.mark.skipif(not installed(), reason="tmux is not installed")

ESCAPE = b"\x1b["
BAR = "━".encode()


@pytest.fixture(scope="module")
def filled() -> Iterator[Server]:
    """A server with a few changes of a few keys: revision 6."""
    with running(PYKVD) as server:
        for words in ("put os/name linux", "put os/kind unix", "put os/name bsd", "del os/kind"):
            assert run_cli(words.split(), environment(server))[2] == 0
        assert run_cli(["put", "other", "x" * 5000], environment(server))[2] == 0
        yield server


def on_pty(words: list[str], environ: Mapping[str, str], status: int = 0) -> bytes:
    """What a command writes to a terminal; it must end with the status."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pykvctl", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "100", **environ},
    )
    os.close(slave)
    written = b""
    try:
        while piece := os.read(master, 65536):
            written += piece
    except OSError:
        pass  # Linux says so when the other end is closed.
    finally:
        os.close(master)
    assert process.wait() == status, written
    return written


DRAWN = ["history os/name", "diff 2 0", "tree", "--help", "help get"]


@pytest.mark.parametrize("line", DRAWN)
def test_people_get_colours(filled: Server, line: str) -> None:
    environ = {k: v for k, v in environment(filled).items() if k not in {"NO_COLOR", "TERM"}}
    assert ESCAPE in on_pty(line.split(), environ)


@pytest.mark.parametrize("line", DRAWN)
@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")], ids=str)
def test_others_get_what_pipes_get(filled: Server, line: str, variable: tuple[str, str]) -> None:
    environ = environment(filled) | dict([variable])
    piped, _, _ = run_cli(line.split(), environ)
    assert on_pty(line.split(), environ).replace(b"\r\n", b"\n") == piped
    assert ESCAPE not in piped


def test_nothing_of_a_history_is_cut_on_a_narrow_terminal(filled: Server) -> None:
    environ = {k: v for k, v in environment(filled).items() if k not in {"NO_COLOR", "TERM"}}
    shown = on_pty(["history", "os/name"], environ | {"COLUMNS": "40"})
    assert "…".encode() not in shown


def test_script_output_is_the_same_on_a_terminal(filled: Server) -> None:
    environ = {k: v for k, v in environment(filled).items() if k not in {"NO_COLOR", "TERM"}}
    for line in ("get os/name", "get --prefix os -w json", "endpoint hashkv -w table", "version"):
        shown = on_pty(line.split(), environ).replace(b"\r\n", b"\n")
        assert shown == run_cli(line.split(), environ)[0]


def test_alarms_come_with_the_way_out() -> None:
    """On a terminal only: scripts that join both streams see what etcdctl writes."""
    with running(PYKVD, ["--quota-backend-bytes=16777216"]) as server:
        environ = environment(server)
        while run_cli(["put", "big"], environ, b"x" * (1 << 20))[2] == 0:
            pass
        shown = on_pty(["endpoint", "status"], environ | {"TERM": "dumb"})
        hint = b"hint: NOSPACE: the store is at its quota and refuses writes; drop history with "
        assert hint in shown.replace(b"\r\n", b"\n")
        assert run_cli(["endpoint", "status"], environ)[1] == b""
        assert hint in on_pty(["endpoint", "health"], environ, status=1)


def test_flags_of_v2_are_explained() -> None:
    shown = on_pty(["member", "list", "-C", "127.0.0.1:1"], {"TERM": "dumb"}, status=1)
    assert b"hint: -C is of etcd v2; now it is --endpoints\r\n" in shown
    _, err, _ = run_cli(["member", "list", "-C", "127.0.0.1:1"], {})
    assert err == b"Error: unknown shorthand flag: 'C' in -C\n\n"


@in_tmux
def test_top_refreshes_in_place(filled: Server) -> None:
    environ = environment(filled)
    with Tmux(["top", "--interval=200ms"], environ) as terminal:
        first = terminal.until(lambda screen: filled.url in screen, "the first look")
        assert re.search(r"ENDPOINT +ID +LEADER +TERM +INDEX +LAG +REQUESTS/S +DB SIZE", first)
        assert not terminal.cursor_is_shown
        index = int(re.findall(r"true +\d+ +(\d+) +\d+ ", first)[0])
        assert run_cli(["put", "k", "v"], environ)[2] == 0
        after = terminal.until(
            lambda screen: re.search(rf"true +\d+ +{index + 1} ", screen) is not None,
            "the next index",
        )
        assert (after.count("ENDPOINT"), after.count(filled.url)) == (1, 1)
        terminal.press("C-c")
        assert terminal.ended() == 0
        assert terminal.cursor_is_shown


@in_tmux
def test_top_on_a_member_that_dies() -> None:
    with running(PYKVD) as server:
        words = ["top", "--interval=200ms", "--cluster=false"]
        with Tmux(words, environment(server)) as terminal:
            terminal.until(lambda screen: " true " in screen, "the member")
            server.kill()
            terminal.until(lambda screen: "context deadline exceeded" in screen, "its end")
            terminal.press("C-c")
            assert terminal.ended() == 0


@in_tmux
def test_watches_are_typed_and_ended_by_ctrl_c(filled: Server) -> None:
    environ = environment(filled)
    with Tmux(["watch", "-i"], environ) as terminal:
        terminal.type("watch typed --rev=1 --prefix")
        assert run_cli(["put", "typed", "1"], environ)[2] == 0
        terminal.until(lambda screen: "PUT\ntyped\n1" in screen, "the event")
        terminal.type("get typed")
        terminal.until(lambda screen: "(only support watch)" in screen, "the refusal")
        terminal.type("progress")
        terminal.until(lambda screen: "progress notify: " in screen, "the progress")
        terminal.press("C-c")
        assert terminal.ended() == 130
        assert "Traceback" not in terminal.screen()


@in_tmux
def test_the_progress_bar_of_a_snapshot_leaves_no_trace(filled: Server, tmp_path: Path) -> None:
    file = str(tmp_path / "backup.db")
    with Tmux(["snapshot", "save", file], environment(filled)) as terminal:
        assert terminal.ended() == 0
        screen = terminal.until(lambda shown: "Snapshot saved at" in shown, "the end")
        assert BAR in terminal.written()
        assert BAR.decode() not in screen
        assert terminal.cursor_is_shown
        assert '"msg":"fetched snapshot"' in screen.replace("\n", "")


@in_tmux
def test_ctrl_c_at_the_progress_bar_gives_the_cursor_back(tmp_path: Path) -> None:
    with running(PYKVD) as server:
        environ = environment(server)
        assert run_cli(["put", "big"], environ, b"x" * 1_000_000)[2] == 0
        passed, ended = 0, threading.Event()

        def hold_up(piece: bytes) -> bytes:
            nonlocal passed
            passed += len(piece)
            if passed > 200_000:
                ended.wait(30)
            return piece

        with relayed(server, hold_up) as endpoint:
            words = ["snapshot", "save", str(tmp_path / "backup.db")]
            with Tmux(words, environ | {"ETCDCTL_ENDPOINTS": endpoint}) as terminal:
                terminal.until(lambda screen: BAR.decode() in screen, "the bar")
                assert not terminal.cursor_is_shown
                terminal.press("C-c")
                assert terminal.ended() == 130
                assert terminal.cursor_is_shown
                assert "Traceback" not in terminal.screen()
            ended.set()
    assert not (tmp_path / "backup.db").exists()
