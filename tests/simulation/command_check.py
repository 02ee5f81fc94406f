"""Every command of the log has one outcome, on whichever member, and it is the right one.

The first member that applies a command tells what came of it; every other must find the same.
Whether it was permitted, and whether an alarm stood against it, is judged here once more, from the
state that it met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykvd.errors import Failure, RpcError
from pykvd.node.commands import Command, decode_batch_head
from pykvd.node.validate import puts_of
from pykvd.pb import rpc_pb2 as rpc
from tests.simulation.auth_model import AuthState, needs
from tests.simulation.raft_checks import Violation

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from pykvd.auth.identity import Identity
    from pykvd.node.apply import Applier
    from tests.simulation.member import Process
    from tests.simulation.world import World

JUDGED = {Command.PUT, Command.DELETE_RANGE, Command.TXN, Command.LEASE_REVOKE}
"""Commands whose rights are looked at when they are applied."""
DENIALS = {
    Failure.PERMISSION_DENIED.text,
    Failure.USER_EMPTY.text,
    Failure.AUTH_OLD_REVISION.text,
}


class CommandChecks:
    """What the commands did, by where they stand in the log."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._outcomes: dict[tuple[int, int], tuple[Command, Identity | None, str | bytes]] = {}
        self.auth = [AuthState(0.0, False, 1, {}, {})]
        """What auth was like, one state after the other."""
        self.users: dict[int, str] = {}
        """In whose name a revision was made, while auth was on."""
        self.corrupt_until = 0.0
        """When the CORRUPT alarm, under which no lease ends, was last seen."""
        self.times = [0, 0]
        """When each revision was made, by the clock that was furthest until then."""

    def watch(self, process: Process) -> None:
        """Look at all that a new life of a process applies."""
        applier, batches = process.node.applier, process.node._batches
        apply_command, apply_batch = applier.apply, batches.apply
        position = 0

        def apply(command: Command, request: Message, caller: Identity | None = None) -> bytes:
            nonlocal position
            position += 1
            expected = self._judge(applier, command, request, caller)
            before, signed = applier.store.revision, applier.auth.enabled
            outcome: str | bytes = ""
            try:
                response = apply_command(command, request, caller)
                outcome = _body(response)
            except RpcError as error:
                outcome = error.message
                raise
            finally:
                place = applier.auth_commands.index, position
                if place not in self._outcomes:
                    self._world.count(f"applied {command.name.lower()}")
                self._compare(process, place, (command, caller, outcome))
                self._check(process, place, expected, outcome)
            if applier.store.revision > before and signed and caller is not None:
                self.users[applier.store.revision] = caller.user
            self._follow(applier)
            if any(kind == rpc.CORRUPT for _, kind in applier.alarms):
                self.corrupt_until = self._world.scheduler.now
            return response

        def apply_all(index: int, data: bytes) -> int:
            nonlocal position
            position = 0
            count = apply_batch(index, data)
            self._note_time(decode_batch_head(data)[1], applier.store.revision)
            self._world.checks.entry_applied(process, index)
            return count

        applier.apply = apply  # type: ignore[method-assign]
        batches.apply = apply_all  # type: ignore[method-assign]

    def _compare(
        self,
        process: Process,
        place: tuple[int, int],
        found: tuple[Command, Identity | None, str | bytes],
    ) -> None:
        known = self._outcomes.setdefault(place, found)
        if known != found:
            raise Violation(f"m{process.id} finds {found} at {place}, others found {known}")

    def _check(
        self, process: Process, place: tuple[int, int], expected: str, outcome: str | bytes
    ) -> None:
        """The refusals of alarms and rights are expected, or they must not be there."""
        refusals = {"alarm": {Failure.NO_SPACE.text, Failure.CORRUPT.text}, "right": DENIALS}
        for kind, texts in refusals.items():
            if (outcome in texts) != (expected == kind):
                raise Violation(f"m{process.id} answers {outcome!r} at {place}: {expected=}")

    @staticmethod
    def _judge(applier: Applier, command: Command, request: Any, caller: Identity | None) -> str:
        """What stands against a command: an alarm, a right, or nothing."""
        auth = applier.auth
        of_auth = Command.AUTHENTICATE <= command <= Command.ROLE_REVOKE_PERMISSION
        alarms = set() if of_auth else {kind for _, kind in applier.alarms}
        if rpc.CORRUPT in alarms and command not in (Command.ALARM, Command.PUBLISH):
            return "alarm"
        if rpc.NOSPACE in alarms and _grows(command, request):
            return "alarm"
        if not auth.enabled:
            return ""
        state = AuthState.of(auth, 0.0)
        user = caller.user if caller else ""
        if of_auth and command is not Command.AUTHENTICATE:
            # Of users that are no more something else is said.
            return "" if state.is_root(user) or user not in ("", *state.users) else "right"
        if command not in JUDGED:
            return ""
        leases = applier.lessor.leases
        wanted = list(needs(request, lambda lease: leases[lease].keys if lease in leases else ()))
        if state.is_root(user):
            wanted = [need for need in wanted if not need.of_lease]
        fresh = caller is not None and caller.revision >= max(1, auth.revision)
        return "" if not wanted or (fresh and state.permits(user, wanted)) else "right"

    def _follow(self, applier: Applier) -> None:
        """Take note of a new state of auth."""
        auth, last = applier.auth, self.auth[-1]
        newer = auth.revision > last.revision
        # Turning it on is the one change that leaves the revision as it is.
        if newer or (auth.revision == last.revision and auth.enabled and not last.enabled):
            self.auth.append(AuthState.of(auth, self._world.scheduler.now))

    def _note_time(self, time_ns: int, revision: int) -> None:
        latest = max(self.times[-1], time_ns)
        self.times += [latest] * (revision + 1 - len(self.times))


def _grows(command: Command, request: Any) -> bool:
    if command is Command.TXN:
        return bool(list(puts_of((*request.success, *request.failure))))
    return command in (Command.PUT, Command.LEASE_GRANT)


def _body(response: bytes) -> bytes:
    """A response without its header, which is each member's own."""
    return response[2 + response[1] :] if response else b""
