"""The administrator: root, who sets users up and goes on changing rights, alarms and leaders."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from pykvd.errors import Failure
from pykvd.pb import rpc_pb2 as rpc
from pykvd.pb.auth_pb2 import Permission
from tests.simulation.auth_model import ROOT
from tests.simulation.client import BAD_TOKENS, PASSWORDS, REFUSED_CONNECTION, Client
from tests.simulation.operation import Method, Operation, Outcome

if TYPE_CHECKING:
    from tests.simulation.world import World

ROLES = ("r1", "r2")
RANGES = ((b"k", b"l"), (b"k0", b"k2"), (b"k2", b"\0"), (b"k1", b""), (b"k3", b"l"), (b"k0", b""))
KINDS = (Permission.READWRITE, Permission.READWRITE, Permission.READ, Permission.WRITE)
THINK_SECONDS = 0.3
CALM_SECONDS, IDLE_SECONDS = 0.4, 2.0
"""Between two steps in the end, and between two looks when all is well."""

TRY_AGAIN = {*BAD_TOKENS, REFUSED_CONNECTION, Failure.LEARNER.text, Failure.CORRUPT.text}
"""What another attempt may have more luck with."""

Request = tuple[Method, Any]


class Administrator(Client):
    """A client that does what only root may do, and mends it in the end."""

    def __init__(self, world: World) -> None:
        super().__init__(world, 0, ROOT)
        weights = world.plan.weights
        choices = {
            self._change_auth: 3.0 if world.plan.users else 0.0,
            self._alarm: weights.get("alarm", 0.0),
            self._downgrade: weights.get("downgrade", 0.0),
            self._move_leader: weights.get("move", 0.0),
        }
        self._choices, self._weights = list(choices), list(choices.values())
        self._todo: deque[Request] = deque(self._setup() if world.plan.users else ())

    def begin(self) -> None:
        """Set up, then change things, then calm down; nothing if the plan has no work."""
        if any(self._weights):
            self._world.scheduler.after(1.0, self._next)

    def _next(self) -> None:
        world = self._world
        if world.healed:
            delay = CALM_SECONDS if self._todo or self.needs_token() else IDLE_SECONDS
            if world.scheduler.now + delay < world.end - IDLE_SECONDS / 2:
                world.scheduler.after(delay, self._calm)
        elif self._todo:
            world.scheduler.after(self._rng.uniform(0.0, 0.1), self._set_up)
        else:
            world.scheduler.after(self._rng.expovariate(1 / THINK_SECONDS), self._act)

    def _act(self) -> None:
        if self._world.healed:
            self._next()
        elif self.needs_token() and self._maybe(0.9):
            self.log_in()
        else:
            self._rng.choices(self._choices, self._weights)[0]()

    # The beginning

    def _setup(self) -> list[Request]:
        users = self._world.plan.users
        steps = [_add_user(ROOT), _grant(ROOT, ROOT), (Method.ROLE_ADD, _role_add("r1"))]
        permission = Permission(key=b"k", range_end=b"l", permType=Permission.READWRITE)
        everything = rpc.AuthRoleGrantPermissionRequest(name="r1", perm=permission)
        steps += [(Method.ROLE_ADD, _role_add("r2")), _add_user(users[0])]
        steps += [(Method.ROLE_GRANT_PERMISSION, everything)]
        steps += [_grant(users[0], "r1"), (Method.AUTH_ENABLE, rpc.AuthEnableRequest())]
        for user in users[1:]:
            steps += [_add_user(user), _grant(user, "r2"), self._permission("r2")]
        return steps

    def _set_up(self) -> None:
        """The next step; one of unknown outcome comes again."""
        if self._world.healed:
            self._next()
            return
        if self.needs_token():
            self.log_in()
        else:
            self._start(*self._todo[0])

    def _end(self, operation: Operation) -> None:
        told = operation.outcome is not Outcome.UNKNOWN and operation.error not in TRY_AGAIN
        if self._todo and told and self._todo[0][1] is operation.request:
            self._todo.popleft()
        super()._end(operation)

    # What it does

    def _change_auth(self) -> None:
        rng, user = self._rng, self._rng.choice(self._world.plan.users)
        role = rng.choice(ROLES)
        changes = (
            self._permission(role),
            self._permission(role),
            self._no_permission(role),
            _grant(user, role),
            (Method.USER_REVOKE_ROLE, rpc.AuthUserRevokeRoleRequest(name=user, role=role)),
            (Method.USER_REVOKE_ROLE, rpc.AuthUserRevokeRoleRequest(name=user, role=ROOT)),
            (Method.USER_DELETE, rpc.AuthUserDeleteRequest(name=user)),
            _add_user(user, rng.choice(PASSWORDS)),
            _change_password(user, rng.choice(PASSWORDS)),
            (Method.ROLE_DELETE, rpc.AuthRoleDeleteRequest(role=role)),
            (Method.ROLE_ADD, _role_add(role)),
            (Method.AUTH_DISABLE, rpc.AuthDisableRequest()),
            (Method.AUTH_ENABLE, rpc.AuthEnableRequest()),
            (Method.AUTH_ENABLE, rpc.AuthEnableRequest()),
        )
        self._start(*rng.choice(changes))

    def _permission(self, role: str) -> Request:
        key, end = self._rng.choice(RANGES)
        kind = self._rng.choice(KINDS)
        permission = Permission(key=key, range_end=end, permType=kind)
        request = rpc.AuthRoleGrantPermissionRequest(name=role, perm=permission)
        return Method.ROLE_GRANT_PERMISSION, request

    def _no_permission(self, role: str) -> Request:
        key, end = self._rng.choice(RANGES)
        request = rpc.AuthRoleRevokePermissionRequest(role=role, key=key, range_end=end)
        return Method.ROLE_REVOKE_PERMISSION, request

    def _alarm(self) -> None:
        kinds = (rpc.NOSPACE, rpc.NOSPACE, rpc.NOSPACE, rpc.CORRUPT)
        member, kind = self._rng.choice(list(self._world.members)), self._rng.choice(kinds)
        action = rpc.AlarmRequest.ACTIVATE
        if self._maybe(0.7):
            action = rpc.AlarmRequest.GET
            member, kind = 0, rpc.NONE
        self._start(Method.ALARM, rpc.AlarmRequest(action=action, memberID=member, alarm=kind))

    def _downgrade(self) -> None:
        kind = rpc.DowngradeRequest
        action = self._rng.choice((kind.VALIDATE, kind.ENABLE, kind.CANCEL))
        version = self._rng.choice(("3.5", "3.5.0", "3.4", "x"))
        self._start(Method.DOWNGRADE, rpc.DowngradeRequest(action=action, version=version))

    def _move_leader(self) -> None:
        target = self._rng.choice(list(self._world.members))
        process = self._world.leader() or self._choose_member()
        self.start(process, Method.MOVE_LEADER, rpc.MoveLeaderRequest(targetID=target))

    def _learn(self, operation: Operation) -> None:
        """Alarms that were seen are turned off."""
        if operation.method is not Method.ALARM:
            return
        if operation.request.action == rpc.AlarmRequest.GET:
            for alarm in operation.response.alarms:
                action = rpc.AlarmRequest.DEACTIVATE
                request = rpc.AlarmRequest(
                    action=action, memberID=alarm.memberID, alarm=alarm.alarm
                )
                self._todo.append((Method.ALARM, request))

    # The end

    def _calm(self) -> None:
        """Leave no alarm on: leases have to end, and watches to see it."""
        if self.needs_token():
            self.log_in()
        elif self._todo and self._todo[0][0] is Method.ALARM:
            self._start(*self._todo[0])
        else:
            self._todo.clear()
            self._start(Method.ALARM, rpc.AlarmRequest(action=rpc.AlarmRequest.GET))


def _add_user(name: str, password: str = PASSWORDS[0]) -> Request:
    return Method.USER_ADD, rpc.AuthUserAddRequest(name=name, password=password)


def _change_password(name: str, password: str) -> Request:
    request = rpc.AuthUserChangePasswordRequest(name=name, password=password)
    return Method.USER_CHANGE_PASSWORD, request


def _grant(name: str, role: str) -> Request:
    return Method.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user=name, role=role)


def _role_add(name: str) -> rpc.AuthRoleAddRequest:
    return rpc.AuthRoleAddRequest(name=name)
