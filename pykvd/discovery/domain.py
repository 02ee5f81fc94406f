"""The members of a cluster from the SRV records of its domain (`--discovery-srv`).

The records hold no names: the one that leads to an address which this member advertises is its own,
the others are numbered. What is agreed upon among the members are the URLs, which are taken from
the records as they stand; so all records count, also those whose target cannot be resolved yet.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from pykvd.config.urls import URL, format_urls
from pykvd.config.values import quote
from pykvd.discovery.errors import DiscoveryError
from pykvd.discovery.srv import Host, LookupFailed, lookup, with_suffix
from pykvd.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pykvd.config import Config

#: What members of a domain are called, and how they are spoken to.
SERVICES = (("etcd-server-ssl", "https"), ("etcd-server", "http"))

#: The ways to say where a URL leads: its host as it stands, and the IP addresses that it has.
Places = frozenset[Host]

_log = get_logger("discovery")


@dataclass(frozen=True, slots=True)
class Target:
    """A peer URL out of a record of `service`, and where it leads."""

    service: str
    url: URL
    places: Places


@dataclass(slots=True)
class DomainMembers:
    """Members by name.

    advertised: how the records write what this member advertises, by its own URLs.
    mismatches: records of this member that were left out, with the reason.
    """

    by_name: dict[str, tuple[URL, ...]] = field(default_factory=dict)
    advertised: dict[URL, URL] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)


def members_of(
    name: str, advertised: Mapping[URL, Places], targets: Iterable[Target]
) -> DomainMembers:
    """The members that the targets stand for; `name` is called by what it advertises."""
    members = DomainMembers()
    numbers = (str(number) for number in count() if str(number) != name)
    for target in targets:
        own = next((url for url, places in advertised.items() if places & target.places), None)
        if own is None:
            members.by_name[next(numbers)] = (target.url,)
        elif own.scheme == target.url.scheme:
            members.by_name[name] = (*members.by_name.get(name, ()), target.url)
            members.advertised[own] = target.url
        else:
            members.mismatches.append(
                f"bootstrap at {target.url} from DNS for {target.service} has scheme mismatch "
                f"with expected peer {own}"
            )
    return members


async def find_members(config: Config) -> DomainMembers:
    """The members in `--discovery-srv`, this one among them. Raises DiscoveryError."""
    targets: list[Target] = []
    failures: list[str] = []
    for service, scheme in SERVICES:
        service = with_suffix(service, config.discovery_srv_name)
        try:
            targets += await _targets(config, service, scheme)
        except LookupFailed as error:
            failures.append(f"error querying DNS SRV records for _{service} {error}")
    if not targets:
        raise DiscoveryError(f"error setting up initial cluster: {'; '.join(failures)}")
    places = await _places(config.initial_advertise_peer_urls)
    own = dict(zip(config.initial_advertise_peer_urls, places, strict=True))
    members = members_of(config.name, own, targets)
    if config.name not in members.by_name:
        why = f" ({'; '.join(members.mismatches)})" if members.mismatches else ""
        raise DiscoveryError(
            "error setting up initial cluster: "
            f"cannot find local etcd member {quote(config.name)} in SRV records{why}"
        )
    for text in members.mismatches:
        _log.warn(text)
    for name, urls in members.by_name.items():
        for url in urls:
            _log.info("got bootstrap from DNS for etcd-server", node=f"{name}={url}")
    return members


async def _targets(config: Config, service: str, scheme: str) -> list[Target]:
    """The targets of one service. Raises LookupFailed, DiscoveryError."""
    hosts: list[Host] = []
    failure = None
    try:
        hosts = await asyncio.to_thread(lookup, service, config.discovery_srv)
    except LookupFailed as error:
        failure = error
    try:
        # All members must make the same of a name, however it was asked for.
        urls = [URL.parse(f"{scheme}://{host.name.lower()}:{host.port}") for host in hosts]
    except ValueError as error:
        raise DiscoveryError(f"error setting up initial cluster: {error}") from None
    _log.info(
        f"get cluster for {service} SRV",
        service_scheme=scheme,
        service_name=service,
        server_name=config.name,
        discovery_srv=config.discovery_srv,
        advertise_peer_urls=format_urls(config.initial_advertise_peer_urls),
        found_cluster=[str(url) for url in urls],
        error=failure,
    )
    if failure:
        raise failure
    places = await _places(urls)
    return [Target(service, url, each) for url, each in zip(urls, places, strict=True)]


async def _places(urls: Sequence[URL]) -> list[Places]:
    return await asyncio.gather(*map(_places_of, urls))


async def _places_of(url: URL) -> Places:
    port = url.port or 0
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        _log.warn("failed to resolve URL Host", url=url, host=url.authority, error=error)
        found = []
    addresses = (Host(str(address[0]), port) for *_, address in found)
    return frozenset((Host(url.host.lower(), port), *addresses))
