"""Runs the command lines of transcripts with pykvctl in the place of etcdctl.

Lines with one `etcdctl` call run in this process, which spares the interpreter's start; bash
expands their words and runs the other commands of the pipeline. Calls that end by a signal are
interrupted as soon as they have printed what is expected.
"""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pykvctl.dispatch import run
from pykvctl.streams import Streams
from tests.integration.pykvctl.transcript import Outcome, outcome_of

DEADLINE_S = 60.0
# How long a watch that should print nothing is given to print something.
SILENCE_S = 0.5

_CALL = re.compile(r"^(?P<env>(?:[A-Z_]+=\S* )*)(?:timeout .*? INT \S+ )?etcdctl(?P<words>.*)$")


def run_cli(
    words: list[str],
    environ: Mapping[str, str],
    stdin: BinaryIO | bytes = b"",
    enough: Callable[[bytes], bool] = lambda _: False,
) -> tuple[bytes, bytes, int]:
    """Run one command line in this process: standard output, standard error, status.

    It is interrupted when its standard output is `enough`.
    """
    source = io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin
    out, err = _InterruptingOutput(enough), io.BytesIO()
    status = run(words, Streams(source, out, err), environ)
    return out.getvalue(), err.getvalue(), status


@dataclass
class Runner:
    """Runs steps in a folder with an environment."""

    folder: Path
    environ: dict[str, str]

    def run(self, command: str, enough: Callable[[bytes], bool] = lambda _: False) -> Outcome:
        """Run a line with one call; it ends by itself or when it has printed `enough`."""
        stages = _split_pipeline(command)
        position = next(i for i, stage in enumerate(stages) if _CALL.match(stage))
        before, after = " | ".join(stages[:position]), " | ".join(stages[position + 1 :])
        stage, merge, _ = stages[position].partition(" 2>&1")
        words, environ = self._call(stage)
        process = None
        if before:
            process = self._bash(before, stdin=subprocess.DEVNULL)
            assert process.stdout is not None
            stdin: BinaryIO | bytes = cast(BinaryIO, process.stdout)
        else:
            stdin = b""
        out, err, status = run_cli(words, environ, stdin, enough)
        if process is not None:
            process.communicate()
        if merge:
            out, err = out + err, b""
        if after:
            filtered = self._bash(after, stdin=subprocess.PIPE)
            out, _ = filtered.communicate(out)
            status = filtered.returncode or status
        return outcome_of(out, err, status)

    def run_live(
        self, command: str, enough: Callable[[bytes], bool], then: Callable[[], None] | None
    ) -> Outcome:
        """Run a call as a process; when both outputs are `enough`, do `then` or interrupt it."""
        stages = _split_pipeline(command)
        feeder = None
        if not _CALL.match(stages[0]):
            feeder = self._bash(stages.pop(0), stdin=subprocess.DEVNULL)
        words, environ = self._call(stages[0])
        process = subprocess.Popen(
            [sys.executable, "-m", "pykvctl", *words],
            stdin=feeder.stdout if feeder else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            cwd=self.folder,
        )
        out = _Collector(cast(BinaryIO, process.stdout))
        err = _Collector(cast(BinaryIO, process.stderr))
        _wait(lambda: enough(out.data + err.data) or process.poll() is not None)
        if then is not None:
            then()
        elif process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            status = process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        if feeder is not None:
            feeder.communicate()
        stdout = out.finish()
        if len(stages) > 1:
            stdout, _ = self._bash(" | ".join(stages[1:]), stdin=subprocess.PIPE).communicate(
                stdout
            )
        return outcome_of(stdout, err.finish(), 128 - status if status < 0 else status)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds or the deadline has passed."""
        _wait(condition)

    def silence(self) -> Callable[[bytes], bool]:
        """A condition that holds after a while of silence, or as soon as it is broken."""
        end = time.monotonic() + SILENCE_S
        return lambda out: bool(out) or time.monotonic() > end

    def _call(self, stage: str) -> tuple[list[str], dict[str, str]]:
        """Words and environment of an etcdctl call, expanded by bash."""
        match = _CALL.match(stage)
        assert match is not None, stage
        text = re.sub(r" (?:<|>|2>) ?/dev/null", "", match["words"])
        script = f"{match['env']}printf '%s\\0' {text or '--none'}"
        if not text.strip():
            return [], self.environ
        expanded = subprocess.run(
            ["bash", "-c", script], capture_output=True, check=True, env=self.environ
        ).stdout
        words = [os.fsdecode(word) for word in expanded.split(b"\0")[:-1]]
        own = dict(item.split("=", 1) for item in match["env"].split())
        return words, self.environ | own

    def _bash(self, script: str, stdin: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", script],
            stdin=stdin,
            stdout=subprocess.PIPE,
            env=self.environ,
            cwd=self.folder,
        )


class _InterruptingOutput(io.BytesIO):
    """Standard output that presses Ctrl-C when enough was written."""

    def __init__(self, enough: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._enough = enough

    def flush(self) -> None:
        if self._enough(self.getvalue()):
            raise KeyboardInterrupt


class _Collector:
    """Reads a pipe in a thread."""

    def __init__(self, pipe: BinaryIO) -> None:
        self.data = b""
        self._pipe = pipe
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while chunk := os.read(self._pipe.fileno(), 65536):
            self.data += chunk

    def finish(self) -> bytes:
        """All of it, once the process has ended."""
        self._thread.join(DEADLINE_S)
        self._pipe.close()
        return self.data


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def _split_pipeline(command: str) -> list[str]:
    """The stages of a pipeline; bars inside quotes or parentheses do not count."""
    bars, depth, quoted, i = [-1], 0, "", 0
    while i < len(command):
        char = command[i]
        if char == "\\" and quoted != "'":
            i += 1
        elif quoted:
            quoted = "" if char == quoted else quoted
        elif char in "'\"":
            quoted = char
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif char == "|" and not depth:
            bars.append(i)
        i += 1
    ends = [*bars[1:], len(command)]
    return [command[start + 1 : end].strip() for start, end in zip(bars, ends, strict=True)]
