"""Members in network namespaces of their own, so that links between them can be cut. Needs root.

Two bridges join the namespaces: one carries the peers, the other the clients. A cut is made on the
first only: a member without peers can still be asked what it believes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.harness.server import memory_directory
from tests.integration.cluster.cluster import NAMES, QUICK, Cluster, Member

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CLIENT_PORT = 2379
PEER_PORT = 2380
#: Two networks out of 198.18.0.0/15, which is set aside for tests (RFC 2544).
CLIENTS = "198.18.77"
PEERS = "198.19.77"


def ip(*words: str) -> None:
    """Run `ip`; raises when it refuses."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def available() -> bool:
    """Whether namespaces can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    try:
        ip("netns", "add", "pykvd-probe")
        ip("netns", "delete", "pykvd-probe")
    except subprocess.CalledProcessError:
        return False
    return True


class NamespacedMember(Member):
    """A member at the same two ports of addresses of its own."""

    def __init__(self, name: str, home: Path, flags: Sequence[str], number: int) -> None:
        super().__init__(name, home, flags)
        self.number = number
        self.namespace = f"pykvd-{number}"
        command = ("ip", "netns", "exec", self.namespace, *self.kind.command)
        self.kind = replace(self.kind, command=command)

    @property
    def endpoint(self) -> str:
        """`host:port` of the client listener."""
        return f"{CLIENTS}.{self.number}:{CLIENT_PORT}"

    @property
    def peer_address(self) -> str:
        """The address its peers know."""
        return f"{PEERS}.{self.number}"

    @property
    def peer_url(self) -> str:
        """The peer listener as a URL."""
        return f"http://{self.peer_address}:{PEER_PORT}"

    def create(self) -> None:
        """Make the namespace and join it to both bridges."""
        ip("netns", "add", self.namespace)
        for letter, network in (("c", CLIENTS), ("p", PEERS)):
            outer, inner = f"pykvd-{letter}{self.number}", f"{letter}0"
            ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            ip("link", "set", inner, "netns", self.namespace)
            ip("link", "set", outer, "master", f"pykvd-{letter}", "up")
            inside = ("-n", self.namespace)
            ip(*inside, "address", "add", f"{network}.{self.number}/24", "dev", inner)
            ip(*inside, "link", "set", inner, "up")
        ip("-n", self.namespace, "link", "set", "lo", "up")

    def isolate(self) -> None:
        """Cut it off from all its peers."""
        ip("link", "set", f"pykvd-p{self.number}", "down")

    def rejoin(self) -> None:
        """Undo `isolate`."""
        ip("link", "set", f"pykvd-p{self.number}", "up")

    def mute_towards(self, other: NamespacedMember) -> None:
        """Lose all that it sends to one peer; it goes on hearing that peer."""
        ip("-n", self.namespace, "route", "add", "blackhole", f"{other.peer_address}/32")

    def unmute_towards(self, other: NamespacedMember) -> None:
        """Undo `mute_towards`."""
        ip("-n", self.namespace, "route", "delete", "blackhole", f"{other.peer_address}/32")


class NamespacedCluster(Cluster):
    """A cluster whose members are `NamespacedMember`s."""

    def make_member(self, name: str) -> NamespacedMember:
        """A member with the next number."""
        return NamespacedMember(name, self.home / name, self.flags, len(self.by_name) + 1)

    def namespaced(self, member: Member) -> NamespacedMember:
        """The same member, known to be in a namespace."""
        assert isinstance(member, NamespacedMember)
        return member


@contextlib.contextmanager
def namespaced() -> Iterator[NamespacedCluster]:
    """A cluster in namespaces, not started; namespaces and bridges are gone at the end."""
    with memory_directory() as home:
        cluster = NamespacedCluster(home, NAMES, QUICK)
        try:
            for letter, network in (("c", CLIENTS), ("p", PEERS)):
                ip("link", "add", f"pykvd-{letter}", "type", "bridge")
                ip("link", "set", f"pykvd-{letter}", "up")
                if letter == "c":
                    ip("address", "add", f"{network}.254/24", "dev", f"pykvd-{letter}")
            for member in cluster:
                cluster.namespaced(member).create()
            yield cluster
        except BaseException:
            print("\n".join(f"--- {member.name}\n{member.log_tail()}" for member in cluster))
            raise
        finally:
            for member in cluster:
                member.kill()
                with contextlib.suppress(subprocess.CalledProcessError):
                    ip("netns", "delete", cluster.namespaced(member).namespace)
            for letter in "cp":
                with contextlib.suppress(subprocess.CalledProcessError):
                    ip("link", "delete", f"pykvd-{letter}")
