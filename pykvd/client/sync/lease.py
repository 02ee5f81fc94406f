"""Leases that are renewed in the background while they are needed."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Self

from pykvd.client import leases
from pykvd.client.errors import ClientClosed, LeaseNotFound

if TYPE_CHECKING:
    from pykvd.client.engine import Engine
    from pykvd.client.leases import Keeper
    from pykvd.client.sync.runner import Runner
    from pykvd.client.values import LeaseInfo


class LeaseThread:
    """Renews the leases of a client. The thread runs only while there is one to renew."""

    def __init__(self, runner: Runner, keeper: Keeper) -> None:
        self._runner = runner
        self._keeper = keeper
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def keep(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        with self._changed:
            self._keeper.add(lease.id, lease.ttl, lease.lost.set)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pykvd-leases", daemon=True)
                self._thread.start()
            self._changed.notify()

    def forget(self, lease: Lease) -> None:
        """Renew it no longer."""
        with self._changed:
            self._keeper.remove(lease.id)
            self._changed.notify()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                seconds = self._keeper.wait_seconds()
                if seconds:
                    self._changed.wait(seconds)
                if seconds is None or self._closed:
                    self._thread = None
                    return
            with contextlib.suppress(ClientClosed):
                self._runner.run(self._keeper.renew_due())


class Lease:
    """A lease; made by `Client.lease`. Keys put with it vanish when it ends.

    As a context manager it is renewed until the end of the block and then revoked.
    """

    def __init__(
        self, runner: Runner, engine: Engine, thread: LeaseThread, lease_id: int, ttl: int
    ) -> None:
        self._runner = runner
        self._engine = engine
        self._thread = thread
        self.id = lease_id
        self.ttl = ttl
        """Seconds that it lives after each renewal."""
        self.lost = threading.Event()
        """Set once it is gone: revoked, found to be gone, or not renewed in time."""

    def __repr__(self) -> str:
        return f"<Lease {self.id:x}, {self.ttl} s>"

    @property
    def alive(self) -> bool:
        """Whether it is still there, as far as we know."""
        return not self.lost.is_set()

    def keep_alive(self) -> None:
        """Renew it in the background until it is revoked or the client is closed."""
        self._runner.check()
        self._thread.keep(self)

    def refresh(self, *, timeout: float | None = None) -> int:
        """Renew it once; the seconds it lives from now on. Raises LeaseNotFound."""
        return self._runner.run(leases.renew_once(self._engine, self.id, timeout))

    def info(self, *, keys: bool = False, timeout: float | None = None) -> LeaseInfo:
        """The time left, and which keys are attached."""
        return self._runner.run(leases.time_to_live(self._engine, self.id, timeout, keys=keys))

    def revoke(self, *, timeout: float | None = None) -> None:
        """End it and delete its keys; raises LeaseNotFound."""
        self._thread.forget(self)
        self._runner.run(leases.revoke(self._engine, self.id, timeout))
        self.lost.set()

    def __enter__(self) -> Self:
        self.keep_alive()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(LeaseNotFound):
            self.revoke()
