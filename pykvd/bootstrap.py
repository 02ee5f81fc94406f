"""How a member comes to be: founding a cluster, joining one, or starting again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pykvd.cluster.membership import Member, cluster_id, member_id
from pykvd.config.values import quote
from pykvd.errors import RpcError
from pykvd.logs import get_logger
from pykvd.node.storage import Founding, Identity
from pykvd.wal import Wal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pykvd.config import Config
    from pykvd.config.urls import URL
    from pykvd.tls import TlsClient

#: How long a joining member asks the others who they are, seconds.
JOIN_TIMEOUT = 10.0
#: How long a founding member waits for others who may know it already, seconds.
FOUNDING_TIMEOUT = 1.0

#: Said where discovery is asked for and there is data.
IGNORED = "discovery token is ignored since cluster already initialized; valid logs are found"

_log = get_logger("bootstrap")


class BootstrapError(Exception):
    """The configuration does not describe a cluster that this member can be in."""


def wal_directory(config: Config) -> Path:
    """Where the member's log is."""
    return Path(config.wal_dir) if config.wal_dir else Path(config.data_dir) / "member" / "wal"


def has_data(config: Config) -> bool:
    """Whether the member has been founded before."""
    return Wal.exists(wal_directory(config))


async def found(config: Config, tls: TlsClient | None = None) -> Founding | None:
    """What a member without data starts from; None when there is data to start from.

    Raises BootstrapError, and RpcError when a cluster to join does not answer.
    """
    if has_data(config):
        if config.discovery_endpoints:
            _log.warn(IGNORED, wal_dir=wal_directory(config))
        return None
    initial = await _initial(config)
    named = initial.named
    check_named(config.name, named, initial.advertised)
    if config.initial_cluster_state == "existing":
        return await _join(config, named, tls)
    founding = new_cluster(config.name, named, initial.token)
    await _check_new(founding, config.name, named, tls)
    return founding


class _Initial(NamedTuple):
    """The members to found or join; `advertised` is how this one should be listed there."""

    named: Mapping[str, Sequence[URL]]
    advertised: Sequence[URL]
    token: str


async def _initial(config: Config) -> _Initial:
    """The members that the options list or lead to. Raises BootstrapError."""
    own, token = config.initial_advertise_peer_urls, config.initial_cluster_token
    if not config.discovers:
        return _Initial(config.initial_members or {config.name: own}, own, token)
    from pykvd.discovery.errors import DiscoveryError  # noqa: PLC0415 - few ask for it

    try:
        if config.discovery_srv:
            from pykvd.discovery.domain import find_members  # noqa: PLC0415

            found = await find_members(config)
            listed = [found.advertised.get(url, url) for url in own]
            return _Initial(found.by_name, listed, token)
        if config.discovery_endpoints:
            if config.initial_cluster_state == "existing":
                raise BootstrapError(
                    "discovery URL should not be set when joining existing initial cluster"
                )
            from pykvd.discovery.service import join  # noqa: PLC0415

            return _Initial(await join(config), own, config.discovery_token)
    except DiscoveryError as error:
        raise BootstrapError(str(error)) from None
    return _Initial({}, own, token)  # a name of a service, and no domain to look for it


def new_cluster(name: str, named: Mapping[str, Sequence[URL]], token: str) -> Founding:
    """What the member `name` of a new cluster starts from: the same on all its members."""
    members = [Member(member_id(_texts(urls), token), "", _texts(urls)) for urls in named.values()]
    own = member_id(_texts(named[name]), token)
    identity = Identity(own, cluster_id(member.id for member in members))
    return Founding(identity, members, joining=False)


async def _check_new(
    founding: Founding, name: str, named: Mapping[str, Sequence[URL]], tls: TlsClient | None
) -> None:
    """Refuse to found a cluster that runs already: this member's votes and log are lost."""
    others = [url for each, urls in named.items() if each != name for url in _texts(urls)]
    if not others:
        return
    from pykvd.peer import fetch_members  # noqa: PLC0415 - one without others starts sooner

    asked = (fetch_members([url], FOUNDING_TIMEOUT, tls=tls) for url in others)
    own = founding.identity.member_id
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, RpcError):
            continue  # it does not run yet
        if isinstance(answer, BaseException):
            raise answer
        members = [Member.decode(data) for data in answer[1]]
        if any(member.id == own and member.started for member in members):
            raise BootstrapError(f"member {own:x} has already been bootstrapped")


def _texts(urls: Sequence[URL]) -> tuple[str, ...]:
    return tuple(sorted(str(url) for url in urls))


def check_named(
    name: str, named: Mapping[str, Sequence[URL]], advertised_urls: Sequence[URL]
) -> None:
    """Check that the list has the member `name` with its URLs, and no URL twice.

    Raises BootstrapError with etcd's words.
    """
    if name not in named:
        raise BootstrapError(
            f"couldn't find local name {quote(name)} in the initial cluster configuration"
        )
    urls = [url for each in named.values() for url in each]
    if len(set(urls)) < len(urls):
        pairs = sorted(f"{each}={url}" for each, own in named.items() for url in own)
        raise BootstrapError(f"initial cluster {','.join(pairs)} has duplicate url")
    _check_advertised(name, _texts(advertised_urls), _texts(named[name]))


def _check_advertised(name: str, advertised: Sequence[str], listed: Sequence[str]) -> None:
    missing = [f"{name}={url}" for url in listed if url not in advertised]
    if missing:
        raise BootstrapError(
            f"--initial-cluster has {','.join(missing)} but missing from "
            f"--initial-advertise-peer-urls={','.join(advertised)} "
            f"({_difference(advertised, listed)})"
        )
    unlisted = [url for url in advertised if url not in listed]
    if unlisted:
        cluster = ",".join(f"{name}={url}" for url in advertised)
        raise BootstrapError(
            f"--initial-advertise-peer-urls has {','.join(unlisted)} but missing from "
            f"--initial-cluster={cluster}"
        )


def _difference(left: Sequence[str], right: Sequence[str]) -> str:
    """How two sorted lists of URLs differ, as etcd tells it."""
    if len(left) != len(right):
        return f"len([{' '.join(map(quote, left))}]) != len([{' '.join(map(quote, right))}])"
    first, second = next(pair for pair in zip(left, right, strict=True) if pair[0] != pair[1])
    return f"resolved urls: {quote(first)} != {quote(second)}"


async def _join(
    config: Config, named: Mapping[str, Sequence[URL]], tls: TlsClient | None
) -> Founding:
    """Ask the others who they are and find ourselves among them."""
    others = [str(url) for name, urls in named.items() if name != config.name for url in urls]
    if not others:
        raise BootstrapError("--initial-cluster names nobody to join")
    from pykvd.peer import fetch_members  # noqa: PLC0415

    identity, encoded = await fetch_members(others, JOIN_TIMEOUT, tls=tls)
    members = match_members(
        {name: _texts(urls) for name, urls in named.items()},
        [Member.decode(data) for data in encoded],
    )
    return Founding(Identity(members[config.name].id, identity), list(members.values()), True)


def match_members(
    named: Mapping[str, tuple[str, ...]], existing: Sequence[Member]
) -> dict[str, Member]:
    """The existing members by the names given to them here, matched by their peer URLs.

    Raises BootstrapError with etcd's words when they are not the same members.
    """
    if len(named) != len(existing):
        raise BootstrapError(
            "error validating peerURLs: member count is unequal "
            f"({len(named)} named in --initial-cluster, {len(existing)} in the cluster)"
        )
    by_urls = {tuple(sorted(member.peer_urls)): member for member in existing}
    matched = {}
    for name, urls in named.items():
        member = by_urls.get(tuple(sorted(urls)))
        if member is None:
            raise BootstrapError(
                "error validating peerURLs: PeerURLs: no match found for existing member "
                f"({name}={','.join(urls)})"
            )
        matched[name] = member._replace(peer_urls=urls)
    return matched
