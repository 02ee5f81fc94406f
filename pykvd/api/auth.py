"""The Auth service: logins, users, roles, permissions, and auth itself.

Changes go through the log and are judged where they are applied; what is read waits for local
state to be recent, as every linearizable read does. Passwords leave this module as hashes only.
"""

import secrets
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from pykvd.api.access import Access, Caller
from pykvd.api.decode import decode
from pykvd.api.passwords import Passwords, check_length
from pykvd.api.tasks import CallTasks
from pykvd.auth.store import NO_PASSWORD, ROOT
from pykvd.auth.tokens import make_prefix
from pykvd.errors import Failure, RpcError
from pykvd.node.commands import REQUEST_TYPES, Command
from pykvd.node.node import Node
from pykvd.pb import auth_pb2
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import Call, UnaryHandler

R = TypeVar("R", bound=Message)

_PATH = "/etcdserverpb.Auth/"
#: The methods that change something, all for root alone.
CHANGES = {
    "AuthEnable": Command.AUTH_ENABLE,
    "AuthDisable": Command.AUTH_DISABLE,
    "UserDelete": Command.USER_DELETE,
    "UserGrantRole": Command.USER_GRANT_ROLE,
    "UserRevokeRole": Command.USER_REVOKE_ROLE,
    "RoleAdd": Command.ROLE_ADD,
    "RoleDelete": Command.ROLE_DELETE,
    "RoleGrantPermission": Command.ROLE_GRANT_PERMISSION,
    "RoleRevokePermission": Command.ROLE_REVOKE_PERMISSION,
}


class AuthService:
    """All methods of `etcdserverpb.Auth`."""

    def __init__(self, node: Node, access: Access, passwords: Passwords) -> None:
        self._node = node
        self._auth = node.auth
        self._access = access
        self._passwords = passwords
        self._tasks = CallTasks()

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's methods by path."""
        methods: dict[str, UnaryHandler] = {
            "Authenticate": self.authenticate,
            "AuthStatus": self.status,
            "UserAdd": self.user_add,
            "UserChangePassword": self.user_change_password,
            "UserGet": self.user_get,
            "UserList": self.user_list,
            "RoleGet": self.role_get,
            "RoleList": self.role_list,
        }
        methods |= {name: self._change(command) for name, command in CHANGES.items()}
        return {_PATH + name: handler for name, handler in methods.items()}

    # Changes

    def _change(self, command: Command) -> UnaryHandler:
        kind = REQUEST_TYPES[command]

        def handler(call: Call, payload: bytes) -> None:
            self._propose(call, command, decode(kind, payload))

        return handler

    def _propose(self, call: Call, command: Command, request: Message) -> None:
        action = command.name.lower()
        caller = self._access.permit(call, action)
        payload = request.SerializeToString()
        self._node.check_size(payload, caller)
        change = _Change(self._node, call, action, caller, request)
        self._node.propose(command, payload, request, change, caller=caller)

    def user_add(self, call: Call, payload: bytes) -> None:
        """Add a user; what the log gets is a hash."""
        request = decode(rpc.AuthUserAddRequest, payload)
        if request.options.no_password:
            request.password = request.hashedPassword = ""
            self._propose(call, Command.USER_ADD, request)
            return
        self._hash_and_propose(call, Command.USER_ADD, request)

    def user_change_password(self, call: Call, payload: bytes) -> None:
        """Replace a user's password; without one, by the hash that the client made."""
        request = decode(rpc.AuthUserChangePasswordRequest, payload)
        if not request.password:
            self._propose(call, Command.USER_CHANGE_PASSWORD, request)
            return
        self._hash_and_propose(call, Command.USER_CHANGE_PASSWORD, request)

    def _hash_and_propose(
        self,
        call: Call,
        command: Command,
        request: rpc.AuthUserAddRequest | rpc.AuthUserChangePasswordRequest,
    ) -> None:
        password, request.password = request.password, ""
        # Nobody without the right shall have us hash.
        check_length(password)
        self._access.require_admin(call, command.name.lower())

        async def work() -> None:
            request.hashedPassword = await self._passwords.hash(password)
            self._propose(call, command, request)

        self._tasks.run(call, work())

    # Logins

    def authenticate(self, call: Call, payload: bytes) -> None:
        """Exchange a name and a password for a token."""
        request = decode(rpc.AuthenticateRequest, payload)

        async def work() -> None:
            try:
                reply = await self._log_in(call, request.name, request.password)
            except RpcError as error:
                self._node.audit.refused("authenticate", None, call.peer, error, name=request.name)
                raise
            call.reply(reply)

        self._tasks.run(call, work())

    async def _log_in(self, call: Call, name: str, password: str) -> bytes:
        await self._node.read_barrier()
        while True:
            revision = await self._check_password(call, name, password)
            login = rpc.InternalAuthenticateRequest(
                name=name, simple_token=make_prefix(secrets.choice)
            )
            reply = await self._node.execute(Command.AUTHENTICATE, login)
            if revision == self._auth.revision:
                break
            # The password was checked against what is not in force any more.
        if rpc.AuthenticateResponse.FromString(reply).token:
            return reply
        tokens = self._node.applier.tokens
        token = await self._passwords.run(lambda: tokens.issue(name, revision))
        return reply + rpc.AuthenticateResponse(token=token).SerializeToString()

    async def _check_password(self, call: Call, name: str, password: str) -> int:
        """Raise unless the password is right; returns the auth revision that this was so at."""
        if not self._auth.enabled:
            raise Failure.AUTH_NOT_ENABLED.error()
        user, revision = self._auth.users.get(name), self._auth.revision
        if user is not None and user.options.no_password:
            raise RpcError(*NO_PASSWORD)
        stored = user.password if user else None
        right = await self._passwords.check(
            name, password, stored, revision, gone=lambda: call.done
        )
        if not right:
            raise Failure.AUTH_FAILED.error()
        return revision

    # Reads

    def _read(
        self, call: Call, action: str, check: Callable[[Caller], None], answer: Callable[[], R]
    ) -> bytes | None:
        """Answer from local state once it is recent enough; a bad token is refused before."""
        self._access.permit(call, action)

        def read() -> bytes:
            self._access.permit(call, action, check)
            return self._node.header(self._node.store.revision) + answer().SerializeToString()

        if self._node.can_read:
            return read()
        self._node.read_later(call, read)
        return None

    def status(self, call: Call, _payload: bytes) -> bytes | None:
        """Tell whether auth is on, and the auth revision."""
        return self._read(
            call,
            "auth_status",
            self._auth.check_admin,
            lambda: rpc.AuthStatusResponse(
                enabled=self._auth.enabled, authRevision=self._auth.revision
            ),
        )

    def user_get(self, call: Call, payload: bytes) -> bytes | None:
        """List a user's roles, for root and for the user."""
        name = decode(rpc.AuthUserGetRequest, payload).name

        def check(caller: Caller) -> None:
            # Nobody is called "", which is no user's name: etcd says that first.
            if (caller.user if caller else "") != name:
                self._auth.check_admin(caller)

        return self._read(
            call,
            "user_get",
            check,
            lambda: rpc.AuthUserGetResponse(roles=self._auth.user(name).roles),
        )

    def user_list(self, call: Call, _payload: bytes) -> bytes | None:
        """List the names of all users."""
        return self._read(
            call,
            "user_list",
            self._auth.check_admin,
            lambda: rpc.AuthUserListResponse(users=sorted(self._auth.users)),
        )

    def role_get(self, call: Call, payload: bytes) -> bytes | None:
        """List a role's permissions, for root and for users that hold it."""
        name = decode(rpc.AuthRoleGetRequest, payload).role

        def check(caller: Caller) -> None:
            if not self._auth.has_role(caller, name):
                self._auth.check_admin(caller)

        return self._read(call, "role_get", check, lambda: self._role(name))

    def _role(self, name: str) -> rpc.AuthRoleGetResponse:
        role = self._auth.role(name)
        if name == ROOT:
            # What it may do does not hang on what was granted to it.
            everything = auth_pb2.Permission(permType=auth_pb2.Permission.READWRITE)
            everything.range_end = b"\x00"
            return rpc.AuthRoleGetResponse(perm=[everything])
        return rpc.AuthRoleGetResponse(perm=role.keyPermission)

    def role_list(self, call: Call, _payload: bytes) -> bytes | None:
        """List the names of all roles."""
        return self._read(
            call,
            "role_list",
            self._auth.check_admin,
            lambda: rpc.AuthRoleListResponse(roles=sorted(self._auth.roles)),
        )


class _Change:
    """Answers a change, and has the audit log told of it."""

    def __init__(
        self, node: Node, call: Call, action: str, caller: Caller, request: Message
    ) -> None:
        self._node = node
        self._call = call
        self._action = action
        self._caller = caller
        self._request = request
        self.peer = call.peer

    def reply(self, message: bytes) -> None:
        """It is done."""
        fields = _audited(self._request)
        self._node.audit.changed(self._action, self._caller, self.peer, **fields)
        self._call.reply(message)

    def fail(self, code: int, message: str) -> None:
        """It was refused."""
        self._call.fail(code, message)


#: Fields of requests that the audit log shows; passwords and hashes are not among them.
_AUDITED = ("name", "user", "role", "key", "range_end")


def _audited(request: Message) -> dict[str, object]:
    fields: dict[str, object] = {}
    for field, value in request.ListFields():
        if field.name == "perm":
            fields |= _audited(value) | {"permission": value.permType}
        elif field.name in _AUDITED:
            # `user` is who asked.
            fields["name" if field.name == "user" else field.name] = value
    return fields
