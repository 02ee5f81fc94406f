"""The completion scripts in the shells they are for, with the Tab key at a terminal."""

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pykvctl.commands.completion import SCRIPTS
from tests.harness import wait_until

DEADLINE_S = 30.0
PROMPT, END = "(ready)", "(end)"
ZSH = ["zsh", "-f", "-i"]
ZSH_READY = "autoload -U compinit; compinit -D -u; PS1='(''ready)'"
# Each shell without anybody's settings; what loads the script, and what sets our prompt.
SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "source ../bin/script.bash; PS1='(''ready)'",
    ),
    "zsh": (ZSH, f"{ZSH_READY}; source ../bin/_pykvctl"),
    # As packages install it: the first Tab runs the file.
    "zsh with a function path": (
        ZSH,
        f"fpath=($PWD/../bin $fpath); {ZSH_READY}",
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        "source ../bin/script.fish; function fish_prompt; echo '(''ready)'; end",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with few files, and beside it a pykvctl that shows the words it was given."""
    programs, here = tmp_path / "bin", tmp_path / "here"
    (here / "stores").mkdir(parents=True)
    (here / "stores" / "one two.db").touch()
    (here / "server.pem").touch()
    programs.mkdir()
    shim = programs / "pykvctl"
    shim.write_text(
        "#!/bin/sh\n"
        f'[ "$1" != __complete ] || exec {sys.executable} -m pykvctl "$@"\n'
        f"printf '<%s>' \"$@\"; echo '{END}'\n"
    )
    shim.chmod(0o755)
    for shell, name in (("bash", "script.bash"), ("zsh", "_pykvctl"), ("fish", "script.fish")):
        (programs / name).write_text(SCRIPTS[shell])
    return here


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        command, loading = SHELLS[name]
        environ = {
            "PATH": f"{folder.parent / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder.parent),
            "TERM": "dumb" if name != "fish" else "xterm",
            "LANG": "C.UTF-8",
        }
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            # In a session whose terminal it is, without which fish ends at once.
            ["setsid", "--ctty", *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            cwd=folder,
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        self._written = ""
        self._send(f"{loading}\r")
        self._until(PROMPT)

    def words(self, keys: str) -> list[str]:
        """The words that pykvctl is given when `keys` are typed behind its name, and Enter."""
        self._written = ""
        self._send(f"pykvctl {keys}\r")
        self._until(END)
        shown = self._written.rpartition(END)[0].rpartition("\n")[2]
        start = shown.index("<")
        return shown[start + 1 : -1].split("><")

    def _send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def _until(self, mark: str) -> None:
        def seen() -> bool:
            with suppress(BlockingIOError):
                self._written += os.read(self._master, 65536).decode(errors="replace")
            return mark in self._written

        try:
            wait_until(seen, mark, DEADLINE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; written:\n{self._written!r}") from None

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, folder: Path) -> Iterator[Shell]:
    """Each shell that is installed."""
    program = SHELLS[request.param][0][0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    started = Shell(request.param, folder)
    yield started
    started.close()


def test_the_tab_key(shell: Shell, subtests: pytest.Subtests) -> None:
    """Commands, flags, values, and names of files where files are expected."""
    for keys, words in {
        "histo\tk": ["history", "k"],
        "member prom\tk": ["member", "promote", "k"],
        "get --sor\tKEY k": ["get", "--sort-by", "KEY", "k"],
        "get -w j\tk": ["get", "-w", "json", "k"],
        "get --write-out=j\tk": ["get", "--write-out=json", "k"],
        "--endpoints=http://a:2379,b:2379 get --order D\tk": [
            "--endpoints=http://a:2379,b:2379",
            "get",
            "--order",
            "DESCEND",
            "k",
        ],
        "completion pow\t": ["completion", "powershell"],
        "help histo\t": ["help", "history"],
        "get --cacert ser\tk": ["get", "--cacert", "server.pem", "k"],
        "get --cacert=ser\tk": ["get", "--cacert=server.pem", "k"],
        "snapshot status ser\t": ["snapshot", "status", "server.pem"],
        "snapshot status stores/on\t": ["snapshot", "status", "stores/one two.db"],
        "lock name ./ser\t": ["lock", "name", "./server.pem"],
        "verify --data-dir s\tx": ["verify", "--data-dir", "stores/x"],
        "verify --data-dir=s\tx": ["verify", "--data-dir=stores/x"],
        # Keys are no files.
        "get ser\t": ["get", "ser"],
        "get -- -\t": ["get", "--", "-"],
    }.items():
        with subtests.test(msg=keys):
            assert shell.words(keys) == words
