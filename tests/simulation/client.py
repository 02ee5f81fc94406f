"""A client: asks members for things, one after the other, and keeps the history of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykvd.errors import Code, Failure
from pykvd.pb import rpc_pb2 as rpc
from tests.simulation.auth_model import ROOT
from tests.simulation.call import ClientCall
from tests.simulation.operation import METHODS, Method, Operation, Outcome

if TYPE_CHECKING:
    from tests.simulation.member import Process
    from tests.simulation.world import World

TIMEOUT_SECONDS = 2.0
"""A client gives up after this and goes on with something else."""
UNKNOWN_OUTCOMES = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.UNKNOWN, Code.CANCELLED}
"""Codes of failures after which a write may have happened."""
BAD_TOKENS = {Failure.INVALID_TOKEN.text, Failure.USER_EMPTY.text}
"""Who hears this has to log in first."""
REFUSED_CONNECTION = "connection refused"
PASSWORDS = ("p0", "p1")
"""The only ones there are."""


class Client:
    """One operation at a time, of `user` if it is logged in; what comes next is a subclass's."""

    def __init__(self, world: World, number: int, user: str = "") -> None:
        self._world = world
        self._rng = world.rng_for(f"client {number}")
        self._number = number
        self.user = user
        self.token = ""

    def _next(self) -> None:
        """Do something; called when the last operation has ended."""

    def _learn(self, operation: Operation) -> None:
        """An operation was answered."""

    def _maybe(self, probability: float) -> bool:
        return self._rng.random() < probability

    def needs_token(self) -> bool:
        """Whether nothing can be done without logging in."""
        return not self.token and self._world.checks.commands.auth[-1].enabled

    def log_in(self) -> None:
        """Get a token, if the password is right."""
        likely = self.user == ROOT or self._maybe(0.8)
        password = PASSWORDS[0] if likely else self._rng.choice(PASSWORDS)
        self._start(Method.AUTHENTICATE, rpc.AuthenticateRequest(name=self.user, password=password))

    def _start(self, method: Method, request: Any) -> None:
        self.start(self._choose_member(), method, request)

    def start(self, process: Process, method: Method, request: Any) -> Operation:
        """Have a member do something; the operation tells what came of it."""
        world = self._world
        operation = Operation(
            world.take_number(),
            self._number,
            process.id,
            method,
            request,
            world.scheduler.now,
            self.user if self.token else "",
        )
        world.history.append(operation)
        world.note("%s -> m%d", operation, process.id)
        call = ClientCall(
            lambda *answer: world.scheduler.after(
                self._delay(), lambda: self._answered(operation, *answer)
            ),
            self.token,
        )
        world.scheduler.after(self._delay(), lambda: _arrive(operation, process, call))
        world.scheduler.after(TIMEOUT_SECONDS, lambda: self._timed_out(operation, call))
        return operation

    def _choose_member(self) -> Process:
        """Any; clients mostly go on to the next where they are refused."""
        members = list(self._world.members.values())
        self._rng.shuffle(members)
        good = (each for each in members if each.serves_all or self._maybe(0.05))
        return next(good, members[0])

    def _delay(self) -> float:
        conditions = self._world.network.conditions
        return conditions.delay + self._rng.random() * conditions.jitter

    def _answered(self, operation: Operation, code: int, text: str, message: bytes) -> None:
        if operation.returned <= self._world.scheduler.now:
            return
        operation.error = text
        if code == Code.OK:
            operation.outcome = Outcome.ANSWERED
            operation.response = METHODS[operation.method].response.FromString(message)
            if operation.method is Method.AUTHENTICATE:
                self.token = operation.response.token
            self._learn(operation)
        elif code not in UNKNOWN_OUTCOMES:
            operation.outcome = Outcome.REFUSED
            if text in BAD_TOKENS:
                self.token = ""
        self._end(operation)

    def _timed_out(self, operation: Operation, call: ClientCall) -> None:
        if operation.returned > self._world.scheduler.now:
            call.done = True
            operation.error = "timed out"
            self._end(operation)

    def _end(self, operation: Operation) -> None:
        world = self._world
        operation.returned = world.scheduler.now
        world.count(f"{operation.method.value} {operation.outcome.value}")
        revision = operation.header_revision if operation.response else 0
        words = operation.error or f"at revision {revision}"
        world.note("c%d #%d %s %s", self._number, operation.number, operation.outcome.value, words)
        self._next()


def _arrive(operation: Operation, process: Process, call: ClientCall) -> None:
    if not process.serving:
        call.fail(Code.ABORTED, REFUSED_CONNECTION)
        return
    process.loop.run(lambda: process.offered.serve(operation, call))
