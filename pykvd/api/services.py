"""All services of a member, by method path: what listeners, gateways and embedded clients call."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pykvd.api.access import Access
from pykvd.api.auth import AuthService
from pykvd.api.cluster import ClusterService
from pykvd.api.election import ElectionService
from pykvd.api.guard import Guard
from pykvd.api.health import HealthService
from pykvd.api.kv import KVService
from pykvd.api.lease import LeaseService
from pykvd.api.lock import LockService
from pykvd.api.maintenance import MaintenanceService
from pykvd.api.passwords import Passwords
from pykvd.api.reflection import ReflectionService
from pykvd.api.timeline import TimelineService
from pykvd.api.watch import WatchService
from pykvd.config import Config
from pykvd.node.node import Node
from pykvd.node.quota import Quota
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
    # Layers over the others, with nothing of their own: they look up what they call in the tables.
    election = ElectionService(unary, streams)
    unary |= LockService(unary, streams).unary() | election.unary()
    streams |= election.streams()
    health = HealthService(node, (*unary, *streams))
    unary |= health.unary()
    streams |= health.streams()
    guard = Guard(node, access)
    # What the server offers is told to everyone, by any member.
    reflection = ReflectionService((*unary, *streams))
    return Services(
        guard.unary(unary), guard.streams(streams) | reflection.streams(), guard, passwords
    )
