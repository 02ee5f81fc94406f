"""Connections without end do not take the descriptors that the store and the log need."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace

import pytest

from pykvd.pb import rpc_pb2
from tests.harness import PYKVD, Client, Server, running, wait_until
from tests.harness.methods import PUT, STATUS
from tests.harness.server import ServerError


def limited(descriptors: int) -> tuple[str, ...]:
    """The server's command with so many descriptors."""
    return ("sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *PYKVD.command)


def still_open(sockets: list[socket.socket]) -> int:
    """Those that the server has not closed."""
    count = 0
    for each in sockets:
        try:
            count += each.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) != b""
        except BlockingIOError:
            count += 1
        except ConnectionError:
            pass
    return count


@pytest.mark.parametrize("listener", ["client_port", "peer_port"])
def test_a_flood_of_connections_leaves_the_server_working(listener: str) -> None:
    with running(replace(PYKVD, command=limited(250))) as server, contextlib.ExitStack() as stack:
        client = stack.enter_context(Client(server.endpoint))
        client.call(STATUS)
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", getattr(server, listener))))
            for _ in range(200)
        ]
        wait_until(lambda: still_open(sockets) < 100, "connections to be refused")
        assert still_open(sockets) > 5
        client.call(PUT, rpc_pb2.PutRequest(key=b"k", value=b"v" * 1000))
        for each in sockets:
            each.close()
        wait_until(lambda: reachable(server), "the server to take connections again")


def reachable(server: Server) -> bool:
    with Client(server.endpoint) as client:
        return isinstance(client.attempt(STATUS), rpc_pb2.StatusResponse)


def test_too_few_descriptors_are_said_at_the_start() -> None:
    with pytest.raises(ServerError) as caught, running(replace(PYKVD, command=limited(100))):
        pass
    assert "file descriptor limit of the process is too low" in str(caught.value)
