"""Members that are not told who the others are."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness import PYKVD
from tests.harness.server import memory_directory
from tests.integration.cluster.cluster import NAMES, QUICK, Cluster, Member, ending

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.harness import Kind

_LAUNCHER = str(Path(__file__).with_name("with_name_server.py"))


class Seeker(Member):
    """A member whose peer URL has the scheme that it was made with."""

    def __init__(
        self, name: str, home: Path, flags: Sequence[str], kind: Kind, scheme: str
    ) -> None:
        super().__init__(name, home, flags)
        self.kind = kind
        self.scheme = scheme

    @property
    def peer_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.peer_port}"


class Seekers(Cluster):
    """Members without --initial-cluster, all with the same flags."""

    def __init__(
        self, home: Path, names: Iterable[str], flags: Sequence[str], kind: Kind, scheme: str
    ) -> None:
        self.kind = kind
        self.scheme = scheme
        super().__init__(home, names, flags)

    def initial_cluster(self) -> str:
        return ""

    def make_member(self, name: str) -> Seeker:
        return Seeker(name, self.home / name, self.flags, self.kind, self.scheme)

    def another(self, name: str) -> Member:
        """One more that tries to found the cluster with the others."""
        member = self.by_name[name] = self.make_member(name)
        return member


@contextlib.contextmanager
def seekers(
    *flags: str, names: Iterable[str] = NAMES, kind: Kind = PYKVD, scheme: str = "http"
) -> Iterator[Seekers]:
    """Members that are not started yet."""
    with memory_directory() as home:
        cluster = Seekers(home, names, (*QUICK, *flags), kind, scheme)
        with ending(cluster):
            yield cluster


def asking(port: int, **environment: str) -> Kind:
    """The command with the name server at this port of 127.0.0.1, and these variables."""
    variables = [f"{name}={value}" for name, value in environment.items()]
    return replace(PYKVD, command=("env", *variables, sys.executable, _LAUNCHER, str(port)))
