"""Applies the commands that change users, roles and auth itself."""

from collections.abc import Callable

from google.protobuf.message import Message

from pykvd.auth.identity import Identity
from pykvd.auth.store import AuthStore
from pykvd.auth.tokens import Tokens
from pykvd.errors import Failure
from pykvd.node.commands import Command
from pykvd.pb import rpc_pb2 as rpc

Handler = Callable[..., bytes | None]


class AuthCommands:
    """The auth part of the state machine; only root may change it while auth is on.

    `index` is where in the log the command being applied stands.
    """

    def __init__(self, auth: AuthStore, tokens: Tokens) -> None:
        self._auth = auth
        self._tokens = tokens
        self.index = 0
        self._handlers: dict[Command, Handler] = {
            Command.AUTHENTICATE: self._authenticate,
            Command.AUTH_ENABLE: lambda _: auth.enable(),
            Command.AUTH_DISABLE: self._disable,
            Command.USER_ADD: self._user_add,
            Command.USER_DELETE: self._user_delete,
            Command.USER_CHANGE_PASSWORD: self._user_change_password,
            Command.USER_GRANT_ROLE: lambda request: auth.grant_role(request.user, request.role),
            Command.USER_REVOKE_ROLE: lambda request: auth.revoke_role(request.name, request.role),
            Command.ROLE_ADD: lambda request: auth.add_role(request.name),
            Command.ROLE_DELETE: lambda request: auth.delete_role(request.role),
            Command.ROLE_GRANT_PERMISSION: self._role_grant_permission,
            Command.ROLE_REVOKE_PERMISSION: lambda request: auth.revoke_permission(
                request.role, request.key, request.range_end
            ),
        }

    def apply(self, command: Command, request: Message, caller: Identity | None) -> bytes:
        """Run one command; returns the fields of the response after its header."""
        if self._auth.enabled and command is not Command.AUTHENTICATE:
            self._auth.check_admin(caller)
        return self._handlers[command](request) or b""

    def _authenticate(self, request: rpc.InternalAuthenticateRequest) -> bytes:
        """A login whose password the member that proposed it has checked."""
        if not self._auth.enabled:
            raise Failure.AUTH_NOT_ENABLED.error()
        user = self._auth.users.get(request.name)
        if user is None or user.options.no_password:
            raise Failure.AUTH_FAILED.error()
        token = self._tokens.assign(request.name, request.simple_token, self.index)
        return rpc.AuthenticateResponse(token=token).SerializeToString()

    def _disable(self, _request: rpc.AuthDisableRequest) -> None:
        self._auth.disable()
        self._tokens.forget_all()

    def _user_add(self, request: rpc.AuthUserAddRequest) -> None:
        no_password = request.options.no_password
        self._auth.add_user(request.name, request.hashedPassword, no_password=no_password)

    def _user_delete(self, request: rpc.AuthUserDeleteRequest) -> None:
        self._auth.delete_user(request.name)
        self._tokens.forget_user(request.name)

    def _user_change_password(self, request: rpc.AuthUserChangePasswordRequest) -> None:
        self._auth.change_password(request.name, request.hashedPassword)
        self._tokens.forget_user(request.name)

    def _role_grant_permission(self, request: rpc.AuthRoleGrantPermissionRequest) -> None:
        permission = request.perm if request.HasField("perm") else None
        self._auth.grant_permission(request.name, permission)
