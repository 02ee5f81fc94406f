"""Loopback ports for servers under test.

They lie below the kernel's ephemeral range: while a server is down nobody's outgoing connection
may sit on its port, and a client that dials it in vain must not meet itself. A process hands out
no port twice, and none that another test process of this machine may hand out.
"""

import random
import socket
from collections.abc import Iterator
from contextlib import closing, suppress

_PORTS = range(10_000, 30_000)
_BLOCK = 100


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, and that nobody else is given."""
    for port in _own_ports:
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


def _claimed_ports() -> Iterator[int]:
    """Claims one block of ports after the other, until this process ends."""
    starts = list(_PORTS[::_BLOCK])
    random.shuffle(starts)
    for start in starts:
        # A name without a file that is gone with its last holder (unix(7), "abstract").
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0pykvd-test-ports-{start}")
        except OSError:
            claim.close()
            continue
        claim.detach()
        yield from range(start, start + _BLOCK)


_own_ports = _claimed_ports()
