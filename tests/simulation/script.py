"""Runs in which a test says what happens, in place of chance; the checks are the same."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from pykvd.pb import rpc_pb2 as rpc
from tests.simulation.client import Client
from tests.simulation.operation import Method, Operation, Outcome
from tests.simulation.plan import Plan
from tests.simulation.run import quiet_logs
from tests.simulation.sources import simulated_sources
from tests.simulation.watch_client import WatchClient
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.member import Process

STEP_SECONDS = 0.05
PATIENCE_SECONDS = 30.0


class _ScriptedClient(Client):
    """Does what it is told, and nothing else."""

    def _pause(self) -> None:
        """Wait for the next order."""


class Script:
    """A cluster that is up and has a leader; leaving the `with` mends it and checks the whole."""

    def __init__(self, *, seed: int = 0, **settings: Any) -> None:
        self.world = World(seed, Plan(clients=0, watchers=0, **settings))
        self.world.plan.seconds = 1e9
        self._client = _ScriptedClient(self.world, 0)
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        """Start all members."""
        self._exits.enter_context(quiet_logs())
        self._exits.enter_context(simulated_sources(self.world.rng_for("sources")))
        self._exits.callback(self.world.close)
        for process in self.world.members.values():
            process.start()
        self.until(lambda: all(process.serving for process in self.members))
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Unless something failed already: heal, calm down, check."""
        with self._exits:
            if kind is None:
                self.world.plan.seconds = self.world.scheduler.now
                self.world._calm_down()
                self.world._check()

    # Time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.world.scheduler.run(self.world.scheduler.now + seconds)

    def until(self, condition: Callable[[], object]) -> None:
        """Let time pass until something is so."""
        deadline = self.world.scheduler.now + PATIENCE_SECONDS
        while not condition():
            assert self.world.scheduler.now < deadline, "waited in vain"
            self.run(STEP_SECONDS)

    def until_exactly(self, condition: Callable[[], object], *, seconds: float = 30.0) -> None:
        """The same to the next event, for at most so long."""
        scheduler = self.world.scheduler
        deadline = scheduler.now + seconds
        while not condition() and scheduler.now < deadline:
            self.run(0.0002)

    # Members

    @property
    def members(self) -> list[Process]:
        """All of them."""
        return list(self.world.members.values())

    @property
    def leader(self) -> Process:
        """The leader, once there is one."""
        self.until(lambda: self.world.leader() is not None)
        leader = self.world.leader()
        assert leader is not None
        return leader

    @property
    def followers(self) -> list[Process]:
        """The others."""
        leader = self.leader
        return [process for process in self.members if process is not leader]

    def isolate(self, process: Process) -> None:
        """Cut a member off from the others, not from its clients."""
        self.cut([process], [each for each in self.members if each is not process])

    def cut(self, some: list[Process], others: list[Process]) -> None:
        """Cut these off from those."""
        groups = [process.id for process in some], [process.id for process in others]
        self.world.network.cut(*groups)
        self.world.network.cut(*reversed(groups))

    def reconnect(self) -> None:
        """Mend the network."""
        self.world.network.heal()

    # Clients

    def ask(self, process: Process, method: Method, request: Any) -> Operation:
        """Begin an operation."""
        return self._client.start(process, method, request)

    def do(self, process: Process, method: Method, request: Any) -> Any:
        """Do an operation, which has to be answered."""
        operation = self.ask(process, method, request)
        self.until(lambda: operation.returned <= self.world.scheduler.now)
        assert operation.outcome is Outcome.ANSWERED, f"{operation}: {operation.error}"
        return operation.response

    @property
    def number(self) -> int:
        """The number of the next operation, which a value must begin with."""
        return self.world.next_number

    def put(self, process: Process, key: bytes, **fields: Any) -> int:
        """Put a value of its own; returns the revision."""
        value = b"%d" % self.number
        response = self.do(process, Method.PUT, rpc.PutRequest(key=key, value=value, **fields))
        revision: int = response.header.revision
        return revision

    def delete(self, process: Process, key: bytes) -> int:
        """Delete a key; returns the revision."""
        response = self.do(process, Method.DELETE_RANGE, rpc.DeleteRangeRequest(key=key))
        revision: int = response.header.revision
        return revision

    def get(self, process: Process, key: bytes) -> rpc.RangeResponse:
        """Read a key, linearizably."""
        response: rpc.RangeResponse = self.do(process, Method.RANGE, rpc.RangeRequest(key=key))
        return response

    def compact(self, process: Process, revision: int) -> None:
        """Compact."""
        self.do(process, Method.COMPACT, rpc.CompactionRequest(revision=revision))

    def watch(self, process: Process, start: int, *, prev_kv: bool = True) -> WatchClient:
        """Watch all keys from `start` on; checked like any watch."""
        watch = WatchClient(self.world, len(self.world.watches) + 1)
        self.world.watches.append(watch)
        watch.key, watch.end, watch.filter = b"k", b"l", None
        watch.prev_kv, watch.slowness, watch.next = prev_kv, 0.0, start
        watch.connect(process)
        return watch
