"""All services of a member, by method path: what listeners, gateways and embedded clients call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from pykvd.api.access import Access
from pykvd.api.auth import AuthService
from pykvd.api.cluster import ClusterService
from pykvd.api.guard import Guard
from pykvd.api.kv import KVService
from pykvd.api.late import (
    ELECTION,
    HEALTH_CHECK,
    HEALTH_WATCH,
    LOCK,
    OBSERVE,
    REFLECTION,
    late,
)
from pykvd.api.lease import LeaseService
from pykvd.api.maintenance import MaintenanceService
from pykvd.api.passwords import Passwords
from pykvd.api.timeline import TimelineService
from pykvd.api.watch import WatchService
from pykvd.node.quota import Quota

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pykvd.api.election import ElectionService
    from pykvd.api.health import HealthService
    from pykvd.config import Config
    from pykvd.node.node import Node
    from pykvd.transport import StreamHandler, UnaryHandler


@dataclass(frozen=True, slots=True)
class Services:
    """The handlers, with every check that a call has to pass in front of them."""

    unary: Mapping[str, UnaryHandler]
    streams: Mapping[str, StreamHandler]
    guard: Guard
    passwords: Passwords

    def stop(self) -> None:
        """End what runs by itself."""
        self.guard.stop()
        self.passwords.stop()


def make_services(node: Node, config: Config, scratch: Path) -> Services:
    """The services of `node`; `scratch` is a directory for temporary files."""
    quota = Quota(node, config.quota_backend_bytes)
    access = Access(node, client_cert_auth=config.client_cert_auth)
    passwords = Passwords(config.bcrypt_cost, clock=asyncio.get_running_loop().time)
    kv = KVService(node, quota, access, max_txn_ops=config.max_txn_ops)
    lease = LeaseService(node, quota, access)
    watch = WatchService(node, access, progress_interval=config.watch_progress_notify_interval)
    maintenance = MaintenanceService(node, quota, access, scratch=scratch)
    auth = AuthService(node, access, passwords)
    unary: dict[str, UnaryHandler] = {}
    cluster, timeline = ClusterService(node, access), TimelineService(node, access)
    for service in (kv, lease, cluster, maintenance, auth, timeline):
        unary |= service.unary()
    streams: dict[str, StreamHandler] = {}
    for streaming in (kv, lease, watch, maintenance):
        streams |= streaming.streams()
    _add_layers(unary, streams)
    guard = Guard(node, access)
    _add_health(node, unary, streams)
    # What the server offers is told to everyone, by any member.
    reflection = _reflection((*unary, *streams))
    return Services(guard.unary(unary), guard.streams(streams) | reflection, guard, passwords)


def _add_layers(unary: dict[str, UnaryHandler], streams: dict[str, StreamHandler]) -> None:
    """Locks and elections, with nothing of their own: they look up what they call in the tables."""

    @cache
    def election() -> ElectionService:
        from pykvd.api.election import ElectionService  # noqa: PLC0415

        return ElectionService(unary, streams)

    def lock() -> Mapping[str, UnaryHandler]:
        from pykvd.api.lock import LockService  # noqa: PLC0415

        return LockService(unary, streams).unary()

    unary |= late(lock, *LOCK) | late(lambda: election().unary(), *ELECTION)
    streams |= late(lambda: election().streams(), OBSERVE)


def _add_health(
    node: Node, unary: dict[str, UnaryHandler], streams: dict[str, StreamHandler]
) -> None:
    @cache
    def health() -> HealthService:
        from pykvd.api.health import HealthService  # noqa: PLC0415

        return HealthService(node, (*unary, *streams))

    unary |= late(lambda: health().unary(), HEALTH_CHECK)
    streams |= late(lambda: health().streams(), HEALTH_WATCH)


def _reflection(paths: tuple[str, ...]) -> dict[str, StreamHandler]:
    def load() -> Mapping[str, StreamHandler]:
        from pykvd.api.reflection import ReflectionService  # noqa: PLC0415

        return ReflectionService(paths).streams()

    return late(load, *REFLECTION)
