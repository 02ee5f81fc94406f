"""How many files and sockets the process may have open, and how many connections that leaves."""

from __future__ import annotations

import contextlib
import resource
from typing import NamedTuple

#: For log, store, snapshots, listeners and handshakes, as many as etcd keeps for itself.
RESERVED = 150
_MOST_CLIENTS = 20_000
_MOST_PEERS = 1024


class Connections(NamedTuple):
    """How many connections the listeners for clients, and those for peers, may have."""

    clients: int
    peers: int


def raise_limit() -> None:
    """Use all descriptors that the system allows the process, as Go's programs do."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections() -> Connections:
    """What the limit leaves for connections: whoever opens too many must not stop the disk.

    Raises OSError when it leaves none.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = _MOST_CLIENTS * 2 if soft == resource.RLIM_INFINITY else soft - RESERVED
    if room <= 0:
        raise OSError("file descriptor limit of the process is too low; please set higher")
    peers = min(_MOST_PEERS, max(1, room // 8))
    return Connections(clients=min(_MOST_CLIENTS, max(1, room - peers)), peers=peers)
