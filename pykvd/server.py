"""The server as a process of its own: signals, exit codes, the event loop."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable

import uvloop

from pykvd.bootstrap import BootstrapError
from pykvd.config import Config, ConfigError
from pykvd.descriptors import raise_limit
from pykvd.embed import RemovedError, Server
from pykvd.errors import RpcError
from pykvd.logs import get_logger
from pykvd.node.storage import StorageMismatchError
from pykvd.oserrors import opening
from pykvd.service_manager import READY, STOPPING, notify
from pykvd.version import API_VERSION, VERSION
from pykvd.wal import WalError

#: Threads come back from the disk while the loop is busy: they should not wait 5 ms for it
#: (docs/adr/0002-wal-format.md has the measurement).
SWITCH_INTERVAL_S = 0.0002

_log = get_logger()


def run(config: Config, on_hangup: Callable[[], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. `on_hangup` is called at SIGHUP."""
    raise_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _log.info("starting pykvd", version=VERSION, api_version=API_VERSION)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, on_hangup))


async def _serve(config: Config, on_hangup: Callable[[], None] | None) -> int:
    loop = asyncio.get_running_loop()
    if on_hangup:
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(config)
    signalled = loop.create_task(stop.wait())
    failing = loop.create_task(server.wait_failed())
    starting = loop.create_task(server.start())
    code = 0
    try:
        await asyncio.wait((starting, signalled, failing), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            gc.freeze()
            if notify(READY):
                _log.info("successfully notified init daemon")
            await asyncio.wait((signalled, failing), return_when=asyncio.FIRST_COMPLETED)
    except (
        OSError,
        WalError,
        StorageMismatchError,
        BootstrapError,
        ConfigError,
        RpcError,
    ) as error:
        _log.fatal("failed to start", error=_describe(error))
        return 1
    if failing.done():
        failure = failing.result()
        code = 0 if isinstance(failure, RemovedError) else 1
        _log.fatal("the member cannot go on", error=str(failure))
    else:
        _log.info("received signal; shutting down")
        notify(STOPPING)
    for task in (starting, signalled, failing):
        task.cancel()
    await asyncio.wait((starting,))
    await server.stop()
    return code


def _describe(error: Exception) -> str:
    """What is wrong, in the words of Go where the system says it."""
    return opening(error) if isinstance(error, OSError) and error.filename else str(error)
