"""Clusters of real processes on loopback: started, killed, paused, wiped and watched by pid.

Every member has its own directory with its data and its log.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from pykvd.pb import rpc_pb2
from tests.harness import PYKVD, Client, Failure, Server, wait_until
from tests.harness.methods import HASH_KV, MEMBER_LIST, STATUS
from tests.harness.server import memory_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.harness.methods import Method, Reply, Request

QUERY_TIMEOUT = 2.0
#: A hash reads the whole store.
HASH_TIMEOUT = 30.0
LOG_LINES_SHOWN = 25
NAMES = ("n1", "n2", "n3")
#: Shorter than the default of 100 ms and 1 s: most tests wait for elections, few measure them.
QUICK = ("--heartbeat-interval=50", "--election-timeout=500")


class Member(Server):
    """One process of a cluster; its ports and directory stay the same through all its lives."""

    def __init__(self, name: str, home: Path, flags: Sequence[str]) -> None:
        super().__init__(PYKVD, home, flags)
        home.mkdir()
        self.name = name
        self.initial_cluster = ""
        self.state = "new"
        self.paused = False

    @property
    def peer_url(self) -> str:
        """The peer listener as a URL."""
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def running(self) -> bool:
        """Whether its process is there, paused or not."""
        return self.process is not None and self.process.poll() is None

    def wait_exit(self, timeout: float = 60.0) -> int:
        """Wait until the process ends by itself; its status."""
        assert self.process is not None
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} goes on: {self.log()[-3:]}") from None

    def pause(self) -> None:
        """SIGSTOP: nothing runs and nothing is answered, but all connections stay open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def kill(self) -> int:
        """SIGKILL and wait; the exit status."""
        self.paused = False
        return super().kill()

    def wipe(self) -> None:
        """Delete the data of a member that does not run."""
        assert not self.running
        shutil.rmtree(self.data)

    def status(self) -> rpc_pb2.StatusResponse | Failure:
        """What the member says of itself, on a new connection."""
        return self.ask(STATUS)

    def ask(
        self,
        method: Method[Request, Reply],
        request: Request | None = None,
        timeout: float = QUERY_TIMEOUT,
    ) -> Reply | Failure:
        """One call on a connection of its own: no back-off of an old one delays it."""
        with Client(self.endpoint) as client:
            return client.attempt(method, request, timeout=timeout)

    def call(
        self,
        method: Method[Request, Reply],
        request: Request | None = None,
        timeout: float = 60.0,
    ) -> Reply:
        """Like `ask`, but raises `grpc.RpcError`."""
        with Client(self.endpoint) as client:
            return client.call(method, request, timeout=timeout)

    @property
    def id(self) -> int:
        """The member id; only while it answers."""
        status = self.status()
        assert not isinstance(status, Failure), f"{self.name}: {status}"
        return int(status.header.member_id)

    def log_tail(self) -> str:
        """The last lines of all its lives' log."""
        text = self.log_path.read_text() if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-LOG_LINES_SHOWN:])

    def messages(self) -> str:
        """The messages of its present life's log, with their errors and reasons, a line each."""
        fields = ("msg", "error", "reason")
        return "\n".join(
            " ".join(str(line[field]) for field in fields if field in line) for line in self.log()
        )

    def _addresses(self) -> list[str]:
        return [
            f"--name={self.name}",
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.initial_cluster}",
            f"--initial-cluster-state={self.state}",
        ]


class Cluster:
    """Members by name. Made by `clustered`, which also ends all of them."""

    def __init__(self, home: Path, names: Iterable[str], flags: Sequence[str]) -> None:
        self.home = home
        self.flags = tuple(flags)
        self.by_name: dict[str, Member] = {}
        for name in names:
            self.by_name[name] = self.make_member(name)
        for member in self:
            member.initial_cluster = self.initial_cluster()

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self.by_name.values()))

    def __getitem__(self, name: str) -> Member:
        return self.by_name[name]

    @property
    def running(self) -> list[Member]:
        """Members whose process runs and is not paused."""
        return [member for member in self if member.running and not member.paused]

    def initial_cluster(self) -> str:
        """All members as --initial-cluster has them."""
        return ",".join(f"{member.name}={member.peer_url}" for member in self)

    def start(self) -> None:
        """Start all members that do not run, at once, and wait until all serve clients."""
        starting = [member for member in self if not member.running]
        for member in starting:
            member.spawn()
        for member in starting:
            member.wait_ready()

    def heal(self) -> None:
        """Resume and start whatever is paused or dead, and wait until all follow one leader."""
        for member in self:
            if member.paused:
                member.resume()
        self.start()
        self.leader()

    def make_member(self, name: str) -> Member:
        """A member of this cluster's kind."""
        return Member(name, self.home / name, self.flags)

    def newcomer(self, name: str) -> Member:
        """A member that will join the cluster, to be added to it by the caller."""
        member = self.by_name[name] = self.make_member(name)
        member.initial_cluster = self.initial_cluster()
        member.state = "existing"
        return member

    def find_leader(self, among: Iterable[Member] | None = None) -> Member | None:
        """The member that all these (default: all that run) call their leader in one term."""
        asked = self.running if among is None else list(among)
        answers = [member.status() for member in asked]
        statuses = [answer for answer in answers if not isinstance(answer, Failure)]
        if len(statuses) < len(asked) or len({(s.leader, s.raftTerm) for s in statuses}) != 1:
            return None
        for member, status in zip(asked, statuses, strict=True):
            if status.leader == status.header.member_id:
                return member
        return None

    def leader(self, among: Iterable[Member] | None = None, timeout: float = 60.0) -> Member:
        """Wait until `find_leader` finds one."""
        asked = self.running if among is None else list(among)
        deadline = time.monotonic() + timeout
        while (leader := self.find_leader(asked)) is None:
            assert time.monotonic() < deadline, f"no leader in {timeout} s: {self.describe()}"
            time.sleep(0.02)
        return leader

    def followers(self) -> list[Member]:
        """The running members that do not lead."""
        leader = self.leader()
        return [member for member in self.running if member is not leader]

    def wait_equal(self, among: Iterable[Member] | None = None, timeout: float = 60.0) -> int:
        """Wait until the members have the same revision and the same HashKV; the revision."""
        asked = self.running if among is None else list(among)
        found: set[tuple[int, int, int]] = set()

        def equal() -> bool:
            found.clear()
            for member in asked:
                reply = member.ask(HASH_KV, timeout=HASH_TIMEOUT)
                if isinstance(reply, Failure):
                    return False
                found.add((reply.header.revision, reply.hash, reply.compact_revision))
            return len(found) == 1

        wait_until(equal, f"equal hashes of {[member.name for member in asked]}", timeout)
        return found.pop()[0]

    def member_list(self, through: Member) -> dict[int, rpc_pb2.Member]:
        """The members by id, as one of them tells (linearizable)."""
        reply = through.call(MEMBER_LIST, rpc_pb2.MemberListRequest(linearizable=True))
        return {member.ID: member for member in reply.members}

    def describe(self) -> str:
        """The status of every member, for messages of failed tests."""
        lines = []
        for member in self:
            status = member.status() if member.running and not member.paused else "not running"
            lines.append(f"{member.name}: {str(status)!r}")
        return "; ".join(lines)


@contextlib.contextmanager
def ending(cluster: Cluster) -> Iterator[None]:
    """The members are killed at the end; after a failure their logs are shown."""
    try:
        yield
    except BaseException:
        print("\n".join(f"--- {member.name}\n{member.log_tail()}" for member in cluster))
        raise
    finally:
        for member in cluster:
            member.kill()


@contextlib.contextmanager
def clustered(names: Iterable[str] = NAMES, flags: Sequence[str] = QUICK) -> Iterator[Cluster]:
    """A cluster that is not started yet, with fresh directories; all of it is gone at the end."""
    with memory_directory() as home:
        cluster = Cluster(home, names, flags)
        with ending(cluster):
            yield cluster
