"""A cluster whose members are threads of this process, with the faults that tests want of it.

The members are whole servers: each has its loop, its directory, its sockets on loopback. Against
members in processes they start in a tenth of the time, need no ports agreed on beforehand and die
with the test; what they cannot show is what a real `kill -9` does between two instructions.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

from pykvd.bootstrap import new_cluster
from pykvd.config.config import Config
from pykvd.embed import Server
from pykvd.embedded.background import BackgroundServer
from pykvd.embedded.network import CuttableNetwork
from pykvd.embedded.place import (
    PathLike,
    ReservedPort,
    check_arguments,
    temporary_directory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pykvd.client import Client

#: Milliseconds; shorter than the defaults, for most of a test's time is waiting for elections.
HEARTBEAT_INTERVAL = 50
ELECTION_TIMEOUT = 500
#: Seconds in which a majority that can talk elects a leader, even on a busy machine.
LEADER_TIMEOUT = 30.0
POLL_INTERVAL = 0.005
#: In the directory of a cluster: the ports that its members know each other by.
PORTS_FILE = "ports.json"


Ports: TypeAlias = list[tuple[ReservedPort, ReservedPort]]


class ClusterMember(BackgroundServer):
    """A member of a `BackgroundCluster`."""

    def __init__(self, config: Config, ports: Sequence[ReservedPort]) -> None:
        super().__init__(Server(config))
        #: Ids of members that it cannot send to.
        self.cut: set[int] = set()
        self.id = new_cluster(
            config.name, config.initial_members, config.initial_cluster_token
        ).identity.member_id
        self._ports = ports
        self._gate: threading.Event | None = None
        self._server.network_type = partial(CuttableNetwork, self.cut)

    @property
    def name(self) -> str:
        """Its name, `n1` and so on."""
        return self.config.name

    @property
    def paused(self) -> bool:
        """Whether `pause` holds it."""
        return self._gate is not None

    @property
    def leader_id(self) -> int:
        """The member that it follows, or itself; 0 for none."""
        return self._server.leader_id if self.running and not self.paused else 0

    def campaign(self) -> None:
        """As `Server.campaign`, soon."""
        if self._life:
            self._life.post(self._server.campaign)

    def pause(self) -> None:
        """Stop it as SIGSTOP does a process: nothing is done, nothing answered, nothing closed."""
        life = self._life
        if life is None or self.paused:
            return
        stopped, gate = threading.Event(), threading.Event()

        def hold() -> None:
            stopped.set()
            gate.wait()

        life.post(hold)
        stopped.wait()
        self._gate = gate

    def resume(self) -> None:
        """Let it go on."""
        gate, self._gate = self._gate, None
        if gate:
            gate.set()

    def stop(self, grace: float = 0) -> None:
        """As `BackgroundServer.stop`."""
        self.resume()
        super().stop(grace)

    def kill(self) -> None:
        """As `BackgroundServer.kill`."""
        self.resume()
        super().kill()

    def close(self) -> None:
        """As `BackgroundServer.close`."""
        super().close()
        for port in self._ports:
            port.release()


class BackgroundCluster:
    """Members that found a cluster together. Made by `pykvd.serve_cluster`.

    Index and iterate it for its members, which are stopped, killed, paused and restarted by
    themselves.
    """

    def __init__(self, size: int, config: Config | None, data_dir: PathLike | None) -> None:
        self._remove: Callable[[], object] | None = None
        home = data_dir
        if home is None:
            self._remove, home = temporary_directory(self)
        if config is None:
            config = quick(Config(unsafe_no_fsync=data_dir is None))
        ports = _reserve(Path(home), size)
        self.members = tuple(
            ClusterMember(each, pair)
            for each, pair in zip(_configs(config, Path(home), ports), ports, strict=True)
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, index: int) -> ClusterMember:
        return self.members[index]

    def __iter__(self) -> Iterator[ClusterMember]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    @property
    def endpoints(self) -> list[str]:
        """`host:port` of all members, whether they run or not."""
        return [member.config.listen_client_urls[0].authority for member in self.members]

    def client(self) -> Client:
        """A client of all members, over sockets; `cluster[0].client()` is one of one member."""
        from pykvd.client import Client  # noqa: PLC0415 - servers run without it

        return Client(self.endpoints)

    def start(self) -> None:
        """Start all members that do not run and wait until they serve.

        Raises what kept one from it, and TimeoutError when they find no leader.
        """
        deadline = time.monotonic() + LEADER_TIMEOUT
        for member in self.members:
            member.begin()
        while not all(member.ready for member in self.members):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the members found no leader in {LEADER_TIMEOUT:g} s")
            # They are all new: nobody has to wait out an election timeout.
            self.members[0].campaign()
            time.sleep(POLL_INTERVAL)
        for member in self.members:
            member.start()

    def close(self) -> None:
        """End all members and remove their directories if they are temporary."""
        # Killed, for a leader that is stopped waits for one that takes over from it.
        for member in self.members:
            member.kill()
            member.close()
        if self._remove:
            self._remove()

    def leader(
        self, *, other_than: ClusterMember | None = None, timeout: float = LEADER_TIMEOUT
    ) -> ClusterMember:
        """The member that a majority of all members follows, as soon as there is one.

        After a partition the old leader is still followed for a moment: `other_than` waits for the
        next. Raises TimeoutError.
        """
        deadline = time.monotonic() + timeout
        while True:
            followed = [member.leader_id for member in self.members]
            for member in self.members:
                follows = 2 * followed.count(member.id) > len(self)
                if follows and member.leader_id == member.id and member is not other_than:
                    return member
            if time.monotonic() > deadline:
                raise TimeoutError(f"no majority follows a leader after {timeout:g} s")
            time.sleep(POLL_INTERVAL)

    def partition(self, *groups: Iterable[ClusterMember]) -> None:
        """Let members talk only within their group; those in none are alone. Clients reach all."""
        sides = [{member.id for member in group} for group in groups]
        for member in self.members:
            side = next((side for side in sides if member.id in side), {member.id})
            member.cut.clear()
            member.cut.update(other.id for other in self.members if other.id not in side)

    def heal(self) -> None:
        """Join what `partition` has cut, resume what is paused and start what does not run."""
        for member in self.members:
            member.cut.clear()
            member.resume()
        self.start()


def _reserve(home: Path, size: int) -> Ports:
    """Each member's ports for clients and for peers.

    Members remember each other's addresses: in a directory that is used again they are the same.
    """
    file = home / PORTS_FILE
    if file.exists():
        known = json.loads(file.read_text())
        if len(known) != size:
            raise ValueError(f"size is {size}: the cluster in {home} has {len(known)} members")
    else:
        known = [(0, 0)] * size
    ports = [(ReservedPort(client), ReservedPort(peer)) for client, peer in known]
    home.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([(client.number, peer.number) for client, peer in ports]))
    return ports


def quick(config: Config) -> Config:
    """The same with shorter elections, where the configuration leaves them at the default."""
    default = Config()
    if (config.heartbeat_interval, config.election_timeout) != (
        default.heartbeat_interval,
        default.election_timeout,
    ):
        return config
    return replace(config, heartbeat_interval=HEARTBEAT_INTERVAL, election_timeout=ELECTION_TIMEOUT)


def _configs(config: Config, home: Path, ports: Ports) -> Iterator[Config]:
    names = [f"n{number + 1}" for number in range(len(ports))]
    cluster = ",".join(f"{name}={peer.url}" for name, (_, peer) in zip(names, ports, strict=True))
    for name, (client, peer) in zip(names, ports, strict=True):
        yield replace(
            config,
            name=name,
            data_dir=str(home / name),
            listen_client_urls=(client.url,),
            advertise_client_urls=(client.url,),
            listen_peer_urls=(peer.url,),
            initial_advertise_peer_urls=(peer.url,),
            initial_cluster=cluster,
            socket_reuse_port=True,
        )


def serve_cluster(
    size: int = 3, config: Config | None = None, *, data_dir: PathLike | None = None
) -> BackgroundCluster:
    """A cluster of servers in threads of this process, to be entered by `with`.

    Args:
        size: How many members.
        config: Further flags for all of them; names, addresses and directories are given by the
            cluster. Left out, elections take half a second.
        data_dir: A directory whose data stays, and is synced; without it a temporary one.

    Raises:
        TypeError, ValueError: an argument cannot be used; the text names it.

    """
    check_arguments(config, data_dir)
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"size is {size!r}: expected a number of members")
    if size < 1:
        raise ValueError(f"size is {size}: expected at least 1 member")
    return BackgroundCluster(size, config, data_dir)
