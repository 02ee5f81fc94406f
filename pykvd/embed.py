"""A whole server inside an event loop: storage, node, services, listeners."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pykvd.api.cluster import ClusterService
from pykvd.api.health import HealthService
from pykvd.api.kv import KVService
from pykvd.api.lease import LeaseService
from pykvd.api.maintenance import MaintenanceService
from pykvd.api.watch import WatchService
from pykvd.cluster.membership import Member, cluster_id, member_id
from pykvd.config import Config
from pykvd.config.urls import URL
from pykvd.logs import get_logger
from pykvd.node.autocompaction import AutoCompactor
from pykvd.node.node import GRPC_OVERHEAD_BYTES, Node, NodeConfig
from pykvd.node.quota import Quota
from pykvd.node.storage import Identity, open_storage
from pykvd.transport import Limits, StreamHandler, UnaryHandler
from pykvd.transport import Server as Listener
from pykvd.version import API_VERSION

_log = get_logger("server")


class UnsupportedClusterError(Exception):
    """The configuration names other members; the text says what can be done."""


class Server:
    """One member with its listeners. Use `start` and `stop`, or `async with`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.addresses: list[tuple[str, int]] = []
        self._node: Node | None = None
        self._listener: Listener | None = None
        self._compactor: AutoCompactor | None = None
        self._failure: asyncio.Future[BaseException] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the data directory, become ready, then listen.

        Raises ConfigError, DataDirLocked, WalDamaged, StorageMismatchError,
        UnsupportedClusterError, OSError.
        """
        self.config.validate()
        loop = asyncio.get_running_loop()
        self._failure = loop.create_future()
        try:
            await self._start(loop)
        except BaseException:
            await self.stop()
            raise

    async def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        config = self.config
        identity, members = _founding_members(config)
        data_dir = Path(config.data_dir)
        storage = open_storage(
            data_dir,
            Path(config.wal_dir) if config.wal_dir else None,
            identity=identity,
            members=members,
            sync=not config.unsafe_no_fsync,
            post=loop.call_soon_threadsafe,
            on_failure=lambda error: _call(loop, self._failed, error),
        )
        if storage.replay.torn:
            _log.warn("cut the torn tail of the write-ahead log", found=storage.replay.torn)
        _log.info(
            "opened data directory",
            path=str(data_dir),
            fresh=storage.fresh,
            member_id=f"{storage.identity.member_id:x}",
            cluster_id=f"{storage.identity.cluster_id:x}",
            revision=storage.store.revision,
        )
        self._node = node = Node(_node_config(config), storage, on_failure=self._failed)
        await node.start()
        self._compactor = AutoCompactor(
            node, config.auto_compaction_mode, config.compaction_retention
        )
        self._listener = self._make_listener(node, data_dir)
        for url in config.listen_client_urls:
            await self._listen(self._listener, url)
        _log.info("enabled capabilities for version", cluster_version=API_VERSION[:3])
        _log.info("ready to serve client requests")

    def _make_listener(self, node: Node, data_dir: Path) -> Listener:
        config = self.config
        quota = Quota(node, config.quota_backend_bytes)
        kv = KVService(node, quota, max_txn_ops=config.max_txn_ops)
        lease = LeaseService(node, quota)
        watch = WatchService(node, progress_interval=config.watch_progress_notify_interval)
        maintenance = MaintenanceService(node, quota, scratch=data_dir / "member")
        health = HealthService()
        unary: dict[str, UnaryHandler] = {}
        for service in (kv, lease, ClusterService(node), maintenance, health):
            unary |= service.unary()
        streams: dict[str, StreamHandler] = {}
        for streaming in (kv, lease, watch, maintenance, health):
            streams |= streaming.streams()
        limits = Limits(
            max_message_bytes=config.max_request_bytes + GRPC_OVERHEAD_BYTES,
            max_concurrent_streams=config.max_concurrent_streams,
            keepalive_min_time=config.grpc_keepalive_min_time,
            keepalive_interval=config.grpc_keepalive_interval,
            keepalive_timeout=config.grpc_keepalive_timeout,
        )
        return Listener(unary=unary, streams=streams, limits=limits)

    async def _listen(self, listener: Listener, url: URL) -> None:
        if url.is_unix:
            await listener.listen_unix(url.socket_path)
        else:
            address = await listener.listen_tcp(
                url.host,
                url.port or 0,
                reuse_port=self.config.socket_reuse_port,
                reuse_address=self.config.socket_reuse_address,
            )
            self.addresses.append(address)
        _log.info("serving client traffic insecurely; this is strongly discouraged!", address=url)

    def _failed(self, error: BaseException) -> None:
        if self._failure and not self._failure.done():
            self._failure.set_result(error)

    async def wait_failed(self) -> BaseException:
        """Wait until storage fails; the server cannot go on then."""
        assert self._failure
        return await asyncio.shield(self._failure)

    async def stop(self) -> None:
        """Drain the listeners, finish what was proposed, write everything, close."""
        listener, self._listener = self._listener, None
        node, self._node = self._node, None
        if self._compactor:
            self._compactor.stop()
        if listener and node:
            await listener.drain(node.config.request_timeout)
        if node:
            with contextlib.suppress(asyncio.CancelledError):
                await node.stop()


def _call(
    loop: asyncio.AbstractEventLoop, work: Callable[[BaseException], None], error: BaseException
) -> None:
    """Run work on the loop, from another thread."""
    loop.call_soon_threadsafe(work, error)


def _founding_members(config: Config) -> tuple[Identity, list[Member]]:
    """Who a new cluster consists of; ids as etcd computes them."""
    token = config.initial_cluster_token
    named = config.initial_members or {config.name: config.initial_advertise_peer_urls}
    if set(named) != {config.name}:
        raise UnsupportedClusterError(
            "--initial-cluster names several members: this release serves one; "
            f"start it with --initial-cluster {config.name}=<its peer URL> alone"
        )
    members = []
    for urls in named.values():
        texts = tuple(sorted(str(url) for url in urls))
        members.append(Member(member_id(texts, token), "", texts))
    own = members[0].id
    return Identity(own, cluster_id(member.id for member in members)), members


def _node_config(config: Config) -> NodeConfig:
    return NodeConfig(
        name=config.name,
        client_urls=tuple(str(url) for url in config.advertise_client_urls),
        heartbeat_interval=config.heartbeat_interval / 1000,
        election_timeout=config.election_timeout / 1000,
        pre_vote=config.pre_vote,
        max_request_bytes=config.max_request_bytes,
        snapshot_count=config.snapshot_count,
        batch_interval=config.backend_batch_interval,
        batch_limit=config.backend_batch_limit,
        snapshot_catchup=config.snapshot_catchup_entries,
        max_learners=config.max_learners,
        strict_reconfig=config.strict_reconfig_check,
        compaction_batch=config.compaction_batch_limit,
        compaction_pause=config.compaction_sleep_interval,
    )
