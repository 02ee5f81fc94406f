"""A whole server inside an event loop: storage, node, services, listeners."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pykvd.api.services import Services, make_services
from pykvd.auth.options import InvalidAuthOptionsError, make_tokens
from pykvd.bootstrap import found, has_data, wal_directory
from pykvd.config import Config, ConfigError
from pykvd.descriptors import connections
from pykvd.embedded.door import Door
from pykvd.embedded.place import PathLike, Place
from pykvd.listening import by_address, check_free, listen_error
from pykvd.logs import get_logger
from pykvd.node.config import NodeConfig
from pykvd.node.disaster import expel_others
from pykvd.node.node import GRPC_OVERHEAD_BYTES, Node
from pykvd.node.storage import Storage, open_storage
from pykvd.transport import Limits
from pykvd.transport import Server as Listener
from pykvd.upkeep import Upkeep
from pykvd.version import API_VERSION

# HTTP, TLS and the links to other members are imported where they are used: a server without them
# starts sooner.
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import EllipsisType

    from pykvd.auth.tokens import Tokens
    from pykvd.client import AsyncClient
    from pykvd.config.urls import URL
    from pykvd.endpoints import Endpoints
    from pykvd.metrics import Metrics
    from pykvd.peer import PeerNetwork
    from pykvd.tls import TlsServer
    from pykvd.tls.configured import MemberTls

_log = get_logger("server")


#: What a removed member says before it ends (etcd's words).
REMOVED = (
    "the member has been permanently removed from the cluster; "
    "the data-dir used by this member must be removed"
)


class RemovedError(Exception):
    """The member was removed from its cluster while it ran."""


class Server:
    """One member with its listeners, on the running event loop.

    Use `async with`, or `start` and `stop`, as often as you like, and `close` in the end. Without a
    configuration it is a lone member that listens on a free loopback port, with a temporary
    directory; `data_dir` and `port` change that, or what `config` says (`pykvd.embedded.place`).
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        data_dir: PathLike | None = None,
        port: int | EllipsisType | None = ...,
    ) -> None:
        self._place = Place(config, data_dir, port)
        self.config = self._place.config
        self.addresses: list[tuple[str, int]] = []
        #: Where calls from this process enter while the server runs.
        self.door: Door | None = None
        #: Makes what talks to the other members; `PeerNetwork` when it is None.
        self.network_type: Callable[..., PeerNetwork] | None = None
        self._node: Node | None = None
        self._listener: Listener | None = None
        self._peer_listener: Listener | None = None
        self._network: PeerNetwork | None = None
        self._services: Services | None = None
        self._endpoints: Endpoints | None = None
        self._upkeep: Upkeep | None = None
        #: Of the server that runs; for whoever serves /metrics.
        self.metrics: Metrics | None = None
        self._tls: MemberTls | None = None
        self._failure: BaseException | None = None
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def endpoint(self) -> str:
        """Where clients connect, `host:port` or `unix:path`; RuntimeError where nothing listens."""
        if self.addresses:
            host, port = self.addresses[0]
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if self.door and self.config.listen_client_urls:
            return f"unix:{self.config.listen_client_urls[0].socket_path}"
        raise RuntimeError("the server has no endpoint: it does not run, or has no port")

    @property
    def closed(self) -> bool:
        """Whether it was closed for good."""
        return self._place.closed

    @property
    def leader_id(self) -> int:
        """The member that leads as far as this one knows; 0 for none, or while it does not run."""
        return self._node.leader if self._node else 0

    def campaign(self) -> None:
        """Have a member that knows no leader stand for election now."""
        if self._node:
            self._node.campaign()

    def client(self) -> AsyncClient:
        """A client in this process and on this loop: no socket, the same checks."""
        from pykvd.client import AsyncClient  # noqa: PLC0415 - servers run without it
        from pykvd.embedded.loop_transport import LoopTransport  # noqa: PLC0415

        return AsyncClient(transport=LoopTransport(self))

    async def start(self) -> None:
        """Open the data directory, become ready, then listen.

        Raises ConfigError, DataDirLocked, WalDamaged, StorageMismatchError,
        BootstrapError, RpcError (nobody to join answers), TlsError, OSError.
        """
        if self._node or self.closed:
            raise RuntimeError(f"the server {'is closed' if self.closed else 'runs already'}")
        self.config.validate()
        loop = asyncio.get_running_loop()
        try:
            await self._start(loop)
        except BaseException:
            await self.stop()
            raise

    async def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        config = self.config
        self._tls = None if config.is_plain else _member_tls(config)
        clients_tls = self._tls.clients if self._tls else None
        tokens = _tokens(config, loop)
        if not (has_data(config) or config.socket_reuse_port):
            # A start that fails must leave no directory behind that counts as founded, and no
            # registration at a discovery service.
            check_free((*config.listen_peer_urls, *config.listen_client_urls))
        founding = await found(config, self._tls.dialler if self._tls else None)
        storage = open_storage(
            Path(config.data_dir),
            wal_directory(config),
            founding=founding,
            sync=not config.unsafe_no_fsync,
            post=loop.call_soon_threadsafe,
            on_failure=lambda error: _call(loop, self._failed, error),
        )
        _report(storage, config.data_dir)
        if config.force_new_cluster:
            _force_new_cluster(storage)
        self._node = node = Node(
            _node_config(config),
            storage,
            make_network=self._network_maker(storage),
            on_failure=self._failed,
            on_removed=lambda: self._failed(RemovedError(REMOVED)),
            tokens=tokens,
        )
        self._upkeep = Upkeep(node, config)
        self._services = self._upkeep.traced(make_services(node, config, storage.scratch))
        self.metrics = self._upkeep.metrics
        self._endpoints = self._make_endpoints(node, self._services)
        self._listener = self._make_listener(self._services, self._endpoints)
        self.metrics.clients.append(self._listener.counters)
        await self._listen_to_peers()
        await self._upkeep.prepare()
        await node.start()
        self._upkeep.start()
        for urls in by_address(config.listen_client_urls):
            self.addresses += await self._listen(self._listener, urls, clients_tls)
            for url in urls:
                how = "securely" if url.is_secure else "insecurely; this is strongly discouraged!"
                _log.info(f"serving client traffic {how}", address=url)
        if self._endpoints:
            await self._endpoints.listen(
                lambda listener, urls: self._listen(listener, urls, clients_tls)
            )
        self.door = Door(
            self._services, max_message_bytes=config.max_request_bytes + GRPC_OVERHEAD_BYTES
        )
        _log.info("enabled capabilities for version", cluster_version=API_VERSION[:3])
        _log.info("ready to serve client requests")

    def _network_maker(self, storage: Storage) -> Callable[[Node], PeerNetwork] | None:
        alone = storage.conf_state.members() == (storage.identity.member_id,)
        if alone and not self.config.listen_peer_urls:
            return None
        from pykvd.peer import PeerLimits, PeerNetwork  # noqa: PLC0415

        def make(node: Node) -> PeerNetwork:
            self._network = (self.network_type or PeerNetwork)(
                member_id=storage.identity.member_id,
                cluster_id=storage.identity.cluster_id,
                handler=node,
                scratch=storage.scratch / "incoming",
                limits=PeerLimits(max_connections=connections().peers),
                tls=(self._tls or _member_tls(self.config)).dialler,
            )
            return self._network

        return make

    def _make_endpoints(self, node: Node, services: Services) -> Endpoints | None:
        config = self.config
        if not (
            config.listen_client_urls
            or config.listen_client_http_urls
            or config.listen_metrics_urls
            or config.listen_peer_urls
        ):
            return None
        from pykvd.endpoints import Endpoints  # noqa: PLC0415

        assert self.metrics
        return Endpoints(node, services, config, self.metrics)

    async def _listen_to_peers(self) -> None:
        network, endpoints = self._network, self._endpoints
        if not (network and endpoints):
            return
        self._peer_listener = Listener(
            unary=network.unary(),
            streams=network.streams(),
            limits=network.limits.listener(),
            http=endpoints.peers,
        )
        tls = self._tls.peers if self._tls else None
        for url in self.config.listen_peer_urls:
            await self._listen(self._peer_listener, [url], tls)
            _log.info("serving peer traffic", address=url)

    def _make_listener(self, services: Services, endpoints: Endpoints | None) -> Listener:
        config = self.config
        limits = Limits(
            max_connections=connections().clients,
            max_message_bytes=config.max_request_bytes + GRPC_OVERHEAD_BYTES,
            max_concurrent_streams=config.max_concurrent_streams,
            keepalive_min_time=config.grpc_keepalive_min_time,
            keepalive_interval=config.grpc_keepalive_interval,
            keepalive_timeout=config.grpc_keepalive_timeout,
        )
        return Listener(
            unary=services.unary,
            streams=services.streams,
            limits=limits,
            http=endpoints.clients if endpoints and not config.listen_client_http_urls else None,
            timed=config.metrics == "extensive",
        )

    async def _listen(
        self, listener: Listener, urls: list[URL], tls: TlsServer | None
    ) -> list[tuple[str, int]]:
        """Open the one address of `urls`; returns it, if it has a port."""
        url = urls[0]
        tls = tls if any(each.is_secure for each in urls) else None
        plain = not all(each.is_secure for each in urls)
        try:
            if url.is_unix:
                await listener.listen_unix(url.socket_path, tls=tls, plain=plain)
                return []
            address = await listener.listen_tcp(
                url.host,
                url.port or 0,
                reuse_port=self.config.socket_reuse_port,
                reuse_address=self.config.socket_reuse_address,
                tls=tls,
                plain=plain,
            )
        except OSError as error:
            raise listen_error(url, error) from None
        return [address]

    def _failed(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._ended.set()

    async def wait_failed(self) -> BaseException:
        """Wait until the server cannot go on: storage failed, or RemovedError."""
        await self._ended.wait()
        assert self._failure
        return self._failure

    async def stop(self, grace: float | None = None) -> None:
        """Hand leadership over, drain the listeners, finish what was proposed, close.

        `grace` is how many seconds the calls of clients may take to end, by default as long as a
        request may take. `start` may follow.
        """
        node, self._node = self._node, None
        self._stop_services()
        if node:
            await node.hand_over()
            await self._drain(node.config.request_timeout if grace is None else grace)
            with contextlib.suppress(asyncio.CancelledError):
                await node.stop()
        await self._hang_up()

    async def _drain(self, seconds: float) -> None:
        draining = (each.drain(seconds) for each in (self._listener, self._endpoints) if each)
        await asyncio.gather(*draining)

    async def kill(self) -> None:
        """End as in a crash: nobody is told, nothing is finished, the directory stays as it is."""
        node, self._node = self._node, None
        self._stop_services()
        if self._listener and node:
            await self._listener.close()
        await self._hang_up()
        if node:
            node.close()

    async def close(self) -> None:
        """Stop, and remove the directory if it was a temporary one."""
        await self.stop()
        self.vacate()

    def vacate(self) -> None:
        """Remove the directory of a stopped server if it was a temporary one; release its port."""
        self._place.close()

    def _stop_services(self) -> None:
        if self.door:
            self.door.close()
        if self._upkeep:
            self._upkeep.stop()
        if self._services:
            self._services.stop()

    async def _hang_up(self) -> None:
        if self.door:
            self.door.seal()
            await asyncio.sleep(0)  # for what was posted before
        if self._endpoints:
            await self._endpoints.close()
        if self._network:
            await self._network.close()
        if self._peer_listener:
            await self._peer_listener.close()
        self.addresses.clear()
        self.door = self.metrics = self._services = self._upkeep = None
        self._listener = self._peer_listener = self._network = self._endpoints = None
        # The next life may be on another loop, to which an event would not belong.
        self._failure, self._ended = None, asyncio.Event()


def _tokens(config: Config, loop: asyncio.AbstractEventLoop) -> Tokens:
    try:
        return make_tokens(config.auth_token, config.auth_token_ttl, loop.time)
    except InvalidAuthOptionsError as error:
        raise ConfigError(str(error)) from None


def _member_tls(config: Config) -> MemberTls:
    from pykvd.tls.configured import member_tls  # noqa: PLC0415

    return member_tls(config)


def _call(
    loop: asyncio.AbstractEventLoop, work: Callable[[BaseException], None], error: BaseException
) -> None:
    """Run work on the loop, from another thread."""
    loop.call_soon_threadsafe(work, error)


def _force_new_cluster(storage: Storage) -> None:
    _log.warn("forcing restart member", local_member_id=f"{storage.identity.member_id:x}")
    for removed in expel_others(storage):
        _log.warn("removed member", removed_remote_peer_id=f"{removed:x}")


def _report(storage: Storage, path: str) -> None:
    if storage.replay.torn:
        _log.warn("cut the torn tail of the write-ahead log", found=storage.replay.torn)
    if not storage.fresh:
        _log.info("server has already been initialized", data_dir=path, dir_type="member")
    _log.info(
        "opened data directory",
        path=path,
        fresh=storage.fresh,
        member_id=f"{storage.identity.member_id:x}",
        cluster_id=f"{storage.identity.cluster_id:x}",
        revision=storage.store.revision,
    )


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
        slow_apply=config.warning_apply_duration,
        slow_request=config.warning_unary_request_duration,
    )
