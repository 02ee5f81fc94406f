"""A terminal that a test can look at: one command in a tmux server of its own."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness import wait_until

WIDTH, HEIGHT = 120, 40
DEADLINE_S = 60.0
PROGRAM = [sys.executable, "-m", "pykvctl"]


def installed() -> bool:
    """Whether there is a tmux."""
    return shutil.which("tmux") is not None


class Tmux:
    """A context manager: runs pykvctl, shows its screen, types, and records what it wrote."""

    def __init__(self, words: Sequence[str], environ: Mapping[str, str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pykvctl-tmux-"))
        self._socket = str(self._folder / "socket")
        self._record = self._folder / "record"
        self._record.touch()
        passed = ("ETCDCTL_", "NO_COLOR", "PYTHON")
        variables = [f"{k}={v}" for k, v in environ.items() if k.startswith(passed)]
        command = shlex.join(["env", f"COLUMNS={WIDTH}", *variables, *PROGRAM, *words])
        # It waits until it is recorded, and a shell stays behind so that there is still a screen.
        script = (
            f"trap : INT; cd {self._folder}; until [ -e go ]; do sleep 0.02; done; "
            f"{command}; echo $? > status.new; mv status.new status; exec sleep 1000"
        )
        size = ("-x", str(WIDTH), "-y", str(HEIGHT))
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, script)
        self._tmux("pipe-pane", f"cat >> {self._record}")
        (self._folder / "go").touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tmux("kill-server")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tmux(self, *words: str) -> str:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("TMUX", "ETCDCTL_"))}
        command = ["tmux", "-S", self._socket, *words]
        return subprocess.run(
            command, check=True, capture_output=True, env=environ | {"LANG": "C.UTF-8"}
        ).stdout.decode()

    def screen(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p").rstrip("\n")

    def written(self) -> bytes:
        """All bytes that came to the terminal."""
        return self._record.read_bytes()

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Press a key, as `C-c`."""
        self._tmux("send-keys", key)

    def until(self, condition: Callable[[str], bool], what: str) -> str:
        """Wait until the screen is as it should be; returns it."""
        try:
            wait_until(lambda: condition(self.screen()), what, DEADLINE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; on the screen:\n{self.screen()}") from None
        return self.screen()

    def ended(self) -> int:
        """Wait until the command has ended; its status as shells see it."""
        status = self._folder / "status"
        self.until(lambda _: status.exists(), "the command to end")
        return int(status.read_text())

    @property
    def cursor_is_shown(self) -> bool:
        """Whether the terminal was last told to show its cursor."""
        written = self.written()
        return written.rfind(b"\x1b[?25h") >= written.rfind(b"\x1b[?25l")
