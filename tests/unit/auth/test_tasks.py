"""Background work of calls: what a client that leaves at once leaves behind."""

import asyncio
import gc
from collections.abc import Callable

from pykvd.api.tasks import CallTasks


class LocalCall:
    """As much of a `Call` as the work needs."""

    on_done: Callable[[], None] | None = None


async def test_work_that_is_given_up_before_its_first_step_is_ended() -> None:
    """Nothing is said about coroutines that nobody awaited."""
    call = LocalCall()

    async def work() -> None:
        raise AssertionError("nobody waits for it")

    CallTasks().run_while_wanted(call, work())  # type: ignore[arg-type]  # all that it uses
    assert call.on_done is not None
    call.on_done()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
