"""Three members of one cluster on this machine, started together and ended together."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.closed_loop import close_all, connect_many
from benchmarks.connection import call
from benchmarks.errors import BenchmarkError, CallError
from benchmarks.headers import Method
from benchmarks.messages import framed
from benchmarks.servers import Member, Server
from pykvd.pb import rpc_pb2

_MEMBERS = 3
_LEADER_SECONDS = 30.0
_POLL_SECONDS = 0.01


class Cluster:
    """Three servers with one data directory each below `directory`."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        members = [Member(f"n{number}", directory / f"n{number}") for number in range(_MEMBERS)]
        for member in members:
            member.directory.mkdir()
        self._servers = {member.port: Server(name, member, members) for member in members}

    def start(self) -> None:
        """Start all members and wait for each; raises BenchmarkError."""
        for server in self._servers.values():
            server.launch()
        for server in self._servers.values():
            server.wait()

    def kill(self) -> None:
        """End all members at once with SIGKILL."""
        for server in self._servers.values():
            server.kill()

    def check(self) -> None:
        """Raise BenchmarkError, with the end of its log, when a member has exited."""
        for server in self._servers.values():
            server.check()

    def server(self, port: int) -> Server:
        """The member that serves clients at `port`."""
        return self._servers[port]

    def ports(self) -> list[int]:
        """The client ports, the leader's first.

        Raises BenchmarkError when the members do not agree on a leader in half a minute.
        """
        deadline = time.monotonic() + _LEADER_SECONDS
        while time.monotonic() < deadline:
            self.check()
            leader = asyncio.run(self._leader())
            if leader is not None:
                return sorted(self._servers, key=lambda port: port != leader)
            time.sleep(_POLL_SECONDS)
        raise BenchmarkError(f"the members of {self.name} do not agree on a leader")

    async def _leader(self) -> int | None:
        try:
            replies = {port: await _status(port) for port in self._servers}
        except (OSError, CallError):
            return None
        leaders = {reply.leader for reply in replies.values()}
        if len(leaders) > 1:
            return None
        ids = {reply.header.member_id: port for port, reply in replies.items()}
        return ids.get(leaders.pop())


async def _status(port: int) -> rpc_pb2.StatusResponse:
    method = Method("/etcdserverpb.Maintenance/Status", f"127.0.0.1:{port}")
    connections = await connect_many(port, 1)
    try:
        reply = await call(connections[0], method, framed(rpc_pb2.StatusRequest()))
    finally:
        close_all(connections)
    return rpc_pb2.StatusResponse.FromString(reply)


@contextmanager
def fresh_cluster(name: str, data_root: Path) -> Iterator[Cluster]:
    """A cluster that is not started yet; afterwards it is ended and its data is removed."""
    directory = Path(tempfile.mkdtemp(prefix=f"benchmark-{name}-", dir=data_root.resolve()))
    cluster = Cluster(name, directory)
    try:
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(directory, ignore_errors=True)
