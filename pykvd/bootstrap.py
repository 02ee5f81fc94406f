"""How a member comes to be: founding a cluster, joining one, or starting again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pykvd.cluster.membership import Member, cluster_id, member_id
from pykvd.config import Config
from pykvd.config.urls import URL
from pykvd.node.storage import Founding, Identity
from pykvd.peer import fetch_members
from pykvd.wal import Wal

#: How long a joining member asks the others who they are, seconds.
JOIN_TIMEOUT = 10.0


class BootstrapError(Exception):
    """The configuration does not describe a cluster that this member can be in."""


def wal_directory(config: Config) -> Path:
    """Where the member's log is."""
    return Path(config.wal_dir) if config.wal_dir else Path(config.data_dir) / "member" / "wal"


async def found(config: Config) -> Founding | None:
    """What a member without data starts from; None when there is data to start from.

    Raises BootstrapError, and RpcError when a cluster to join does not answer.
    """
    if Wal.exists(wal_directory(config)):
        return None
    named = config.initial_members or {config.name: config.initial_advertise_peer_urls}
    if config.name not in named:
        raise BootstrapError(
            f'couldn\'t find local name "{config.name}" in the initial cluster configuration'
        )
    _check_advertised(config, named[config.name])
    if config.initial_cluster_state == "existing":
        return await _join(config, named)
    members = [
        Member(member_id(_texts(urls), config.initial_cluster_token), "", _texts(urls))
        for urls in named.values()
    ]
    own = member_id(_texts(named[config.name]), config.initial_cluster_token)
    identity = Identity(own, cluster_id(member.id for member in members))
    return Founding(identity, members, joining=False)


def _texts(urls: Sequence[URL]) -> tuple[str, ...]:
    return tuple(sorted(str(url) for url in urls))


def _check_advertised(config: Config, named: Sequence[URL]) -> None:
    advertised, listed = _texts(config.initial_advertise_peer_urls), _texts(named)
    if advertised != listed:
        raise BootstrapError(
            f"--initial-cluster has {config.name}={','.join(listed)} but "
            f"--initial-advertise-peer-urls={','.join(advertised)}"
        )


async def _join(config: Config, named: Mapping[str, Sequence[URL]]) -> Founding:
    """Ask the others who they are and find ourselves among them."""
    others = [str(url) for name, urls in named.items() if name != config.name for url in urls]
    if not others:
        raise BootstrapError("--initial-cluster names nobody to join")
    identity, encoded = await fetch_members(others, JOIN_TIMEOUT)
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
        matched[name] = replace(member, peer_urls=urls)
    return matched
