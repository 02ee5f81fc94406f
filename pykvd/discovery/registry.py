"""What the members of a new cluster keep at a discovery service, as etcd 3.6 lays it out. Pure.

`/_etcd/registry/TOKEN/_config/size` holds how many members there are to be, put there beforehand;
`/_etcd/registry/TOKEN/members/ID` holds `name=peer-url,name=peer-url` of one of them. Those created
first are the cluster.
"""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

from pykvd.config.urls import URL, parse_members
from pykvd.discovery.errors import DiscoveryError

_ROOT = "/_etcd/registry"
_SIZE = re.compile(rb"[+-]?[0-9]+")
#: More than a size can have; Python refuses to read texts of thousands.
_MAX_DIGITS = 20
_MAX_SIZE = 2**63 - 1
_REUSED = "do not reuse discovery token; generate a new one to bootstrap a cluster"


class Entry(NamedTuple):
    """One registered member: `text` is `name=url,name=url`."""

    create_revision: int
    key: str
    text: str

    def has_name(self, name: str) -> bool:
        """Whether it goes by this name."""
        return any(item.partition("=")[0].strip() == name for item in self.text.split(","))


def size_key(token: str) -> str:
    """Where the number of members stands."""
    return posixpath.normpath(f"{_ROOT}/{token}/_config/size")


def members_prefix(token: str) -> str:
    """What the keys of the members begin with."""
    return posixpath.normpath(f"{_ROOT}/{token}/members") + "/"


def member_key(token: str, member_id: int) -> str:
    """Where one member registers."""
    return f"{members_prefix(token)}{member_id:x}"


def parse_size(token: str, value: bytes | None) -> int:
    """How many members there are to be; None stands for a missing key. Raises DiscoveryError."""
    hint = f"put the number of members under the key {size_key(token)} first"
    if value is None:
        raise DiscoveryError("discovery: size key not found", hint)
    readable = len(value) <= _MAX_DIGITS and _SIZE.fullmatch(value)
    if not readable or not 0 < int(value) <= _MAX_SIZE:
        raise DiscoveryError("discovery: size key is bad", hint)
    return int(value)


class Registry:
    """Who has registered, as far as it is known here."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: dict[str, Entry] = {}

    def put(self, key: str, text: str, create_revision: int) -> bool:
        """Take a key as it is now; whether that makes a member of it."""
        if "=" not in text:
            return False
        self._entries[key] = Entry(create_revision, key, text)
        return True

    def delete(self, key: str) -> None:
        """A member has been taken away."""
        self._entries.pop(key, None)

    @property
    def found(self) -> list[Entry]:
        """The members so far, first come, first served."""
        return sorted(self._entries.values())[: self.size]

    @property
    def complete(self) -> bool:
        """Whether all members are there."""
        return len(self._entries) >= self.size

    def check_place(self, key: str, name: str, text: str) -> None:
        """Raise DiscoveryError unless there is, or can be, a place for this member."""
        others = {entry.key: entry for entry in self.found}
        own = others.pop(key, None)
        if own is None and self.complete:
            raise DiscoveryError("discovery: cluster is full", _REUSED)
        if own is not None and own.text != text:
            raise DiscoveryError("discovery: found duplicate id", _REUSED)
        if any(entry.has_name(name) for entry in others.values()):
            raise DiscoveryError("discovery: found duplicate name", _REUSED)

    def members(self) -> dict[str, tuple[URL, ...]]:
        """Peer URLs by name of the complete cluster. Raises DiscoveryError."""
        try:
            members = parse_members(",".join(entry.text for entry in self.found))
        except ValueError:
            raise DiscoveryError("discovery: invalid peer URL", _REUSED) from None
        if len(members) < self.size:
            raise DiscoveryError("discovery: found duplicate name", _REUSED)
        return members
