"""A real backend on a temporary directory, and the loop that its completions run on."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

from pykvd.mvcc.backend import RECENT_BYTES, Backend
from pykvd.mvcc.environment import Environment
from pykvd.mvcc.store import Store

T = TypeVar("T")
SHARED_MEMORY = Path("/dev/shm")
DEADLINE_S = 60.0


class Disk:
    """One store's directory, opened, closed and opened again.

    Completions of the writer thread run only inside `run` and `settle`, so a test decides how long
    a commit stays under way.
    """

    def __init__(self, recent_bytes: int = RECENT_BYTES) -> None:
        parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        self.directory = Path(tempfile.mkdtemp(prefix="pykvd-test-", dir=parent))
        self.loop = asyncio.new_event_loop()
        self.failures: list[BaseException] = []
        self._recent_bytes = recent_bytes
        self.backend: Backend
        self.store: Store
        self.open()

    def open(self) -> None:
        """Open what the directory holds."""
        environment = Environment.open_latest(self.directory, sync=False)
        self.backend = Backend(
            environment,
            post=self.loop.call_soon_threadsafe,
            on_failure=self.failures.append,
            recent_bytes=self._recent_bytes,
        )
        self.store = Store(self.backend)
        self.store.load()

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run a coroutine on the loop, and what completes meanwhile."""
        return self.loop.run_until_complete(asyncio.wait_for(work, DEADLINE_S))

    def settle(self) -> None:
        """Let the commit under way, and every job before it, complete."""
        self.run(self._idle())

    async def _idle(self) -> None:
        while not self.backend.idle:
            await self.backend.read(lambda _: None)

    def commit(self, done: Callable[[], None] | None = None) -> None:
        """Commit what is pending and wait for it."""
        self.settle()
        self.backend.commit(done)
        self.settle()

    def close(self) -> None:
        """Close the store; what is not committed is lost, as it is in a crash."""
        self.backend.close()

    def remove(self) -> None:
        """Close everything and delete the directory."""
        self.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.directory)
