"""What one life of a process offers to clients: the real services behind the real guard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pykvd.api.access import Access
from pykvd.api.auth import AuthService
from pykvd.api.guard import Guard
from pykvd.api.kv import KVService
from pykvd.api.lease import LeaseService
from pykvd.api.maintenance import MaintenanceService
from pykvd.api.timeline import TimelineService
from pykvd.api.watch import WatchService
from pykvd.errors import RpcError
from pykvd.node.quota import Quota
from tests.simulation.operation import METHODS, Method, Operation
from tests.simulation.passwords import SimulatedPasswords

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.transport import UnaryHandler
    from tests.simulation.call import ClientCall
    from tests.simulation.member import Process

PROGRESS_SECONDS = 2.0
"""Seconds between periodic progress notices of a watch."""


class Offered:
    """The services of a node, by path."""

    def __init__(self, process: Process) -> None:
        node, world = process.node, process.world
        quota, access = Quota(node, world.plan.quota_bytes), Access(node)
        lease = LeaseService(node, quota, access)
        self.watch = WatchService(node, access, progress_interval=PROGRESS_SECONDS).watch
        services = (
            KVService(node, quota, access, max_txn_ops=128),
            lease,
            MaintenanceService(node, quota, access, scratch=Path("/scratch")),
            AuthService(node, access, SimulatedPasswords(world.rng)),
            TimelineService(node, access),
        )
        unary: dict[str, UnaryHandler] = {}
        for service in services:
            unary |= service.unary()
        guard = Guard(node, access)
        self._unary = guard.unary(unary)
        self._keep_alive = guard.streams(lease.streams())[METHODS[Method.KEEP_ALIVE].path]

    def serve(self, operation: Operation, call: ClientCall) -> None:
        """Hand a request to the service that answers it."""
        payload = operation.request.SerializeToString()
        handler: Callable[[Any, bytes], bytes | None]
        if operation.method is Method.KEEP_ALIVE:
            handler = self._renew
        else:
            handler = self._unary[METHODS[operation.method].path]
        try:
            answer = handler(call, payload)
        except RpcError as error:
            call.fail(error.code, error.message)
        else:
            if answer is not None:
                call.reply(answer)

    def _renew(self, call: Any, payload: bytes) -> None:
        self._keep_alive(call).message_received(payload)
