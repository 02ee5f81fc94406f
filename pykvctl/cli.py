"""The entry point of the process: signals, streams, exit status.

It imports next to nothing, so that Ctrl-C is quiet from the first moment on.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False  # `typing` takes a while to import, too.
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run as a process: signals end it as they end etcdctl, and the status is the command's."""
    # Ctrl-C kills the process by the signal itself: nothing has to be undone, and shells and
    # `timeout` see the status they expect.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What imports make stays: to look for garbage in it again and again is 5 % of a short run.
    gc.set_threshold(50_000)
    from pykvctl.dispatch import run  # noqa: PLC0415
    from pykvctl.interrupts import end_after_signals  # noqa: PLC0415
    from pykvctl.streams import standard_streams  # noqa: PLC0415

    streams = standard_streams()
    end_after_signals()
    environ = dict(os.environ)
    # gRPC's core would repeat on standard error what our own error line says.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        code = run(sys.argv[1:], streams, environ)
    except BrokenPipeError:
        # The signal is ignored until now: a connection that a server closes must not kill.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.raise_signal(signal.SIGPIPE)
    # Everything is written and closed; taking the interpreter apart would cost another 20 ms.
    os._exit(code)
