"""Running the commands that users hand over."""

import signal
import subprocess
from collections.abc import Mapping

from pykvctl.gotext.quoting import quote

#: Go names the signals up to SIGTERM as the C library does, in lower case, and numbers the others.
LAST_NAMED = signal.SIGTERM


def run_program(program: list[str], environ: Mapping[str, str]) -> tuple[int, str]:
    """Run a command without input: its exit status, and why it failed in etcdctl's words.

    The status is -1 for a command killed by a signal, 1 for one that cannot be started.
    """
    try:
        status = subprocess.run(
            program, stdin=subprocess.DEVNULL, env=environ, check=False
        ).returncode
    except FileNotFoundError:
        return 1, f"exec: {quote(program[0])}: executable file not found in $PATH"
    except OSError as error:
        return 1, f"fork/exec {program[0]}: {(error.strerror or str(error)).lower()}"
    if status < 0:
        return -1, f"signal: {_signal_name(-status)}"
    return status, f"exit status {status}" if status else ""


def _signal_name(number: int) -> str:
    name = signal.strsignal(number) if number <= LAST_NAMED else None
    return name.lower() if name else f"signal {number}"
