"""A server in a thread of its own, for programs that have no event loop, or not this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Self, TypeAlias

import uvloop

from pykvd.embed import Server
from pykvd.embedded.door import ForkedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import EllipsisType

    from pykvd.client import Client
    from pykvd.config import Config
    from pykvd.embedded.door import Door
    from pykvd.embedded.place import PathLike
    from pykvd.embedded.thread_transport import ThreadTransport

Ending: TypeAlias = "Callable[[], Coroutine[None, None, None]]"
#: Seconds that calls of other processes may take to end when the server stops; watches never do.
GRACE = 0.5


class BackgroundServer:
    """A `Server` whose loop runs in a thread; `start` and `stop` wait until it is so.

    Made by `pykvd.serve`. Usable from any thread. No signal handlers, no logging set up, nothing
    that the rest of the process could notice but the thread, which ends with `stop`.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._owner = os.getpid()
        self._life: _Life | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<pykvd.BackgroundServer {self.config.name!r} {state}, {self.config.data_dir}>"

    @property
    def config(self) -> Config:
        """The configuration that the server runs with."""
        return self._server.config

    @property
    def endpoint(self) -> str:
        """As `Server.endpoint`."""
        self._check_process()
        return self._server.endpoint

    @property
    def door(self) -> Door | None:
        """As `Server.door`."""
        return self._server.door

    @property
    def closed(self) -> bool:
        """As `Server.closed`."""
        return self._server.closed

    @property
    def running(self) -> bool:
        """Whether it starts or serves; False as well after it failed by itself."""
        return self._life is not None and self._life.thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether it serves, or has failed to start."""
        return self._life is not None and self._life.started.is_set()

    @property
    def failure(self) -> BaseException | None:
        """Why it stopped by itself: a disk that failed, or it was removed from its cluster."""
        return self._life.failure if self._life else None

    def client(self) -> Client:
        """A client in this process: no socket, the same checks. It outlives restarts."""
        transport = self.transport()
        from pykvd.client import Client  # noqa: PLC0415 - servers run without it

        return Client(transport=transport)

    def transport(self) -> ThreadTransport:
        """What carries the calls of `client()`; for generated stubs and the like."""
        self._check_process()
        from pykvd.embedded.thread_transport import ThreadTransport  # noqa: PLC0415

        return ThreadTransport(self)

    def start(self) -> None:
        """Start and return when the server serves; does nothing when it runs.

        Raises what `Server.start` raises, and ForkedError in a fork of the process that made it.
        """
        self.begin()
        with self._lock:
            if self._life:
                self._life.wait_started()

    def begin(self) -> None:
        """Start without waiting; `start` waits, and raises what went wrong."""
        self._check_process()
        with self._lock:
            if not self.running:
                self._life = _Life(self._server)

    def stop(self, grace: float = GRACE) -> None:
        """Stop and return when its thread is gone; does nothing when it does not run.

        `grace` is how many seconds calls through the socket may take to end. In a fork of the
        process nothing happens: there the server never ran.
        """
        self._end(partial(self._server.stop, grace))

    def kill(self) -> None:
        """As `Server.kill`: what the directory holds afterwards is what a crash would leave."""
        self._end(self._server.kill)

    def restart(self) -> None:
        """Stop and start again, on the same data and the same endpoint."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop, and remove the directory if it was a temporary one."""
        self.stop()
        self._server.vacate()

    def _end(self, ending: Ending) -> None:
        if os.getpid() != self._owner:
            return
        with self._lock:
            life, self._life = self._life, None
        if life:
            life.end(ending)

    def _check_process(self) -> None:
        if os.getpid() != self._owner:
            raise ForkedError(self._owner)


class _Life:
    """One run of a server: its thread and its loop."""

    def __init__(self, server: Server) -> None:
        self.started = threading.Event()
        self.failure: BaseException | None = None
        self._server = server
        self._start_error: BaseException | None = None
        self._ending: Ending = partial(server.stop, 0)
        self._asked = asyncio.Event()
        self._loop = uvloop.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="pykvd-server", daemon=True)
        self.thread.start()

    def wait_started(self) -> None:
        """Wait until the server serves; raises what kept it from it."""
        self.started.wait()
        if self._start_error:
            self.thread.join()
            raise self._start_error

    def post(self, step: Callable[[], object]) -> None:
        """Run a step on the loop, if it still runs."""
        with contextlib.suppress(RuntimeError):  # closed
            self._loop.call_soon_threadsafe(step)

    def end(self, ending: Ending) -> None:
        """Have the server end in this way, even while it starts, and join the thread."""
        self._ending = ending
        self.post(self._asked.set)
        self.thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:  # noqa: BLE001 - whoever started it is told
                self._start_error = self.failure = error
            finally:
                self.started.set()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        asked = loop.create_task(self._asked.wait())
        failing = loop.create_task(self._server.wait_failed())
        starting = loop.create_task(self._server.start())
        await asyncio.wait((starting, asked, failing), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            self.started.set()
            await asyncio.wait((asked, failing), return_when=asyncio.FIRST_COMPLETED)
        if failing.done():
            self.failure = failing.result()
        for task in (starting, asked, failing):
            task.cancel()
        await asyncio.wait((starting, asked, failing))
        await self._ending()


def serve(
    config: Config | None = None,
    *,
    data_dir: PathLike | None = None,
    port: int | EllipsisType | None = ...,
) -> BackgroundServer:
    """A server in a thread of this process, to be entered by `with` or started by `start`.

    Without arguments it listens on a free port of 127.0.0.1 and keeps its data in a temporary
    directory that is removed at the end, unsynced.

    Args:
        config: The flags of `pykvd`, all of them; what the other arguments say goes before it.
        data_dir: A directory whose data stays, and is synced as the command does it.
        port: The port of 127.0.0.1 to listen on; 0 for a free one; None for none at all, so that
            only `server.client()` gets in.

    Raises:
        TypeError, ValueError: an argument cannot be used; the text names it.

    """
    return BackgroundServer(Server(config, data_dir=data_dir, port=port))
