"""Background work on behalf of unary calls."""

import asyncio
from collections.abc import Coroutine

from pykvd.errors import Code, RpcError
from pykvd.logs import get_logger
from pykvd.transport import Call

_log = get_logger("api")


class CallTasks:
    """Runs coroutines for calls; what goes wrong is answered, and told in the log if unexpected."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, call: Call, work: Coroutine[None, None, None]) -> None:
        """Start work that will answer the call."""
        self._start(call, work)

    def run_while_wanted(self, call: Call, work: Coroutine[None, None, None]) -> None:
        """Start work that will answer the call; it is cancelled when the client gives up."""
        task = self._start(call, work)

        def give_up() -> None:
            task.cancel()

        call.on_done = give_up

    def _start(self, call: Call, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(_guard(call, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step never gets to its work.
        task.add_done_callback(lambda _: work.close())
        return task


async def _guard(call: Call, work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except RpcError as error:
        call.fail(error.code, error.message)
    except Exception:  # noqa: BLE001  # whatever failed, the caller must hear
        _log.exception("background work of a call failed")
        call.fail(Code.UNKNOWN, "pykvd: internal error")
