"""A lease that is kept alive while a command runs."""

import threading
import time
from types import TracebackType
from typing import Self

from pykvctl.client import Client
from pykvctl.errors import RequestError
from pykvctl.interrupts import LOOK_UP_S
from pykvctl.keepalive import renewals
from pykvd.methods import LEASE_GRANT, LEASE_REVOKE
from pykvd.pb import rpc_pb2 as rpc

REVOKE_TIMEOUT_S = 2.0


class LeaseSession:
    """Grants a lease and renews it in a thread; a context manager that revokes it at the end.

    Making one waits for a server without a deadline, and raises RequestError.
    """

    def __init__(self, client: Client, ttl: int) -> None:
        asked = time.monotonic()
        answer = client.unary(LEASE_GRANT, rpc.LeaseGrantRequest(TTL=ttl), None)
        self.lease = answer.ID
        self._client = client
        self._expiry = asked + answer.TTL
        self._stopped = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease-session", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        if self._lost.is_set():
            return
        request = rpc.LeaseRevokeRequest(ID=self.lease)
        try:
            self._client.unary(LEASE_REVOKE, request, REVOKE_TIMEOUT_S, quiet=True)
        except RequestError:
            # It will expire, then.
            return

    def wait_lost(self) -> None:
        """Return when the lease is gone, or has not been renewed in time."""
        while not self._lost.wait(min(LOOK_UP_S, max(0.0, self._expiry - time.monotonic()))):
            if time.monotonic() >= self._expiry:
                return

    def _renew(self) -> None:
        asked = time.monotonic()
        try:
            for answer in renewals(self._client, self.lease, self._stopped):
                # The server counts from when it answered, which is later than this.
                self._expiry = asked + answer.TTL
                asked = time.monotonic() + answer.TTL / 3
        except RequestError:
            self._expiry = 0.0
        self._lost.set()
