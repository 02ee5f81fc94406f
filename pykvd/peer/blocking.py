"""File work of snapshots, off the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def off_loop(work: Callable[..., T], *arguments: object) -> T:
    """Run `work` in a thread.

    A cancelled caller still waits for it: nobody closes or removes a file under the thread.
    """
    future = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
