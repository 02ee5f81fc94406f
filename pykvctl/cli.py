"""The entry point of the process: signals, streams, exit status.

It imports next to nothing, so that Ctrl-C is quiet from the first moment on.
"""

import gc
import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run as a process: signals end it as they end etcdctl, and the status is the command's."""
    # Ctrl-C and a closed pipe kill the process by the signal itself: nothing has to be undone, and
    # shells and `timeout` see the status they expect.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # What imports make stays: to look for garbage in it again and again is 5 % of a short run.
    gc.set_threshold(50_000)
    from pykvctl.dispatch import run  # noqa: PLC0415
    from pykvctl.streams import Streams  # noqa: PLC0415

    # A descriptor that was closed by the caller leaves None here.
    streams = Streams(
        sys.stdin.buffer if sys.stdin else open(os.devnull, "rb"),  # noqa: SIM115
        sys.stdout.buffer if sys.stdout else open(os.devnull, "wb"),  # noqa: SIM115
        sys.stderr.buffer if sys.stderr else open(os.devnull, "wb"),  # noqa: SIM115
    )
    environ = dict(os.environ)
    # gRPC's core would repeat on standard error what our own error line says.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    code = run(sys.argv[1:], streams, environ)
    # Everything is written and closed; taking the interpreter apart would cost another 20 ms.
    os._exit(code)
