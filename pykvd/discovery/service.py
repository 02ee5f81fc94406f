"""Joining through a discovery service: any cluster that speaks the etcd v3 API.

The protocol, its delays and its log lines are those of etcd 3.6, so that what prepares tokens and
reads logs goes on working. Two things are stricter: a registration that is another's is not
overwritten, and one that is taken away while members still wait does not count any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from pykvd.client import TLS, Times
from pykvd.client.aio.client import AsyncClient
from pykvd.client.errors import Compacted, EtcdError, ResourceExhausted, Unavailable
from pykvd.cluster.membership import member_id
from pykvd.config.values import format_duration
from pykvd.discovery.errors import DiscoveryError
from pykvd.discovery.registry import Registry, member_key, members_prefix, parse_size, size_key
from pykvd.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pykvd.config import Config
    from pykvd.config.urls import URL

T = TypeVar("T")

#: Retries wait for 2, 4, 8 ... seconds, and from then on for so many.
LONGEST_DELAY = 256.0
#: Servers end connections that are pinged more often than every five seconds; etcd's clients never
#: do so more often than this, whatever their options say.
SHORTEST_KEEPALIVE = 10.0

_log = get_logger("discovery")


async def join(config: Config) -> dict[str, tuple[URL, ...]]:
    """Register this member, wait until all are there; their peer URLs by name.

    An unreachable service is tried again for ever. Raises DiscoveryError.
    """
    _log.info("Bootstrapping cluster using v3 discovery.")
    about = {
        "discovery_token": config.discovery_token,
        "discovery_endpoints": ",".join(config.discovery_endpoints),
    }
    try:
        async with _client(config) as client:
            members = await _Joining(client, config).run()
    except (DiscoveryError, EtcdError) as error:
        _log.error("discovery failed to join cluster", error=error, **about)
        if isinstance(error, DiscoveryError) and error.hint:
            _log.warn(error.hint, **about)
        raise DiscoveryError(f"failed to join discovery cluster ({error})") from None
    cluster = ",".join(f"{name}={url}" for name, urls in members.items() for url in urls)
    _log.info("discovery joined cluster successfully", cluster=cluster, **about)
    return members


def _client(config: Config) -> AsyncClient:
    """Raises DiscoveryError for options that cannot be used."""
    # As etcd does: half a login is none.
    login = bool(config.discovery_user and config.discovery_password)
    try:
        return AsyncClient(
            config.discovery_endpoints,
            user=config.discovery_user if login else None,
            password=config.discovery_password if login else None,
            tls=_tls(config),
            timeout=config.discovery_request_timeout,
            times=Times(
                dial=config.discovery_dial_timeout or config.discovery_request_timeout,
                keepalive_interval=max(config.discovery_keepalive_time, SHORTEST_KEEPALIVE),
                keepalive_timeout=config.discovery_keepalive_timeout,
            ),
        )
    except ValueError as error:
        raise DiscoveryError(str(error)) from None


def _tls(config: Config) -> TLS | None:
    """TLS for endpoints that do not say by their scheme; None where nothing asks for it."""
    cert, key, ca = config.discovery_cert, config.discovery_key, config.discovery_cacert
    insecure = config.discovery_insecure_transport
    unverified = config.discovery_insecure_skip_tls_verify
    if insecure and not (cert or key or ca or unverified):
        return None
    return TLS(ca=ca or None, cert=cert or None, key=key or None, verify=not unverified)


class _Joining:
    """One member's way through the protocol."""

    def __init__(self, client: AsyncClient, config: Config) -> None:
        urls = sorted(str(url) for url in config.initial_advertise_peer_urls)
        self._client = client
        self._name = config.name
        self._text = ",".join(f"{config.name}={url}" for url in urls)
        self._token = config.discovery_token
        self._prefix = members_prefix(self._token)
        self._key = member_key(self._token, member_id(urls, self._token))

    async def run(self) -> dict[str, tuple[URL, ...]]:
        """Register and wait."""
        await self._persist("cluster status check", self._look)
        await self._persist("register member itself", self._register)
        while True:
            registry, revision = await self._persist("cluster status check", self._look)
            try:
                await self._wait(registry, revision)
            except (Compacted, Unavailable):
                continue  # what was missed shows when we look again
            return registry.members()

    async def _look(self) -> tuple[Registry, int]:
        """Who is there, as of which revision of the service."""
        key = size_key(self._token)
        size = await _warned(
            self._client.get(key),
            "failed to get cluster size from discovery service",
            clusterSizeKey=key,
        )
        registry = Registry(parse_size(self._token, size.value if size else None))
        found = await _warned(
            self._client.range(self._prefix, prefix=True),
            "failed to get cluster members from discovery service",
            membersKeyPrefix=self._prefix,
        )
        for kv in found:
            _put(registry, kv.key, kv.value, kv.create_revision)
        registry.check_place(self._key, self._name, self._text)
        return registry, found.revision

    async def _register(self) -> None:
        await _warned(
            self._client.put(self._key, self._text),
            "failed to register members itself to the discovery service",
            memberKey=self._key,
        )
        _log.info("register member itself successfully", memberKey=self._key, memberInfo=self._text)

    async def _wait(self, registry: Registry, revision: int) -> None:
        """Until all members are there; the service may come and go meanwhile."""
        if not registry.complete:
            _log.info("waiting for peers from discovery service", **_progress(registry))
            watching = self._client.watch(
                self._prefix, prefix=True, start_revision=revision + 1, patience=None
            )
            async with watching as watch:
                while not registry.complete:
                    event = await watch.get()
                    if event.deleted:
                        registry.delete(event.key.decode(errors="replace").strip())
                    else:
                        _put(registry, event.key, event.value, event.kv.create_revision)
        registry.check_place(self._key, self._name, self._text)
        _log.info("found all needed peers from discovery service", **_progress(registry))

    async def _persist(self, step: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """What the attempt gives, made again as long as the service is not there."""
        delay = 2.0
        while True:
            try:
                return await attempt()
            except (Unavailable, ResourceExhausted):
                _log.warn(
                    "retry connecting to discovery service",
                    reason=step,
                    backoff=format_duration(delay),
                )
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_DELAY)


async def _warned(call: Awaitable[T], text: str, **fields: str) -> T:
    """The call's result; its failure is logged."""
    try:
        return await call
    except EtcdError as error:
        _log.warn(text, error=error, **fields)
        raise


def _put(registry: Registry, key: bytes, value: bytes, create_revision: int) -> None:
    """Take a registration, and log what it is."""
    path, text = (data.decode(errors="replace").strip() for data in (key, value))
    fields = {"memberKey": path, "memberInfo": text}
    if registry.put(path, text, create_revision):
        _log.info("found peer from discovery service", **fields)
    else:
        _log.warn("invalid peer info returned from discovery service", **fields)


def _progress(registry: Registry) -> dict[str, object]:
    return {"clusterSize": registry.size, "found-peers": len(registry.found)}
