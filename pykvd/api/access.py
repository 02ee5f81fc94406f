"""Who calls, and may they? Every service asks here, and refusals reach the audit log.

A call is of whoever its token says; without a token, of the common name in the client's
certificate, if client certificates are required. A token wins over a certificate, even a bad one.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pykvd.auth.identity import Identity
from pykvd.errors import Failure, RpcError
from pykvd.node.node import Node

#: Metadata by which the JSON gateway marks its requests: their certificate is the gateway's own.
GATEWAY = "grpcgateway-accept"

Caller = Identity | None


class Asking(Protocol):
    """A Call, a Stream or an AsyncStream."""

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """As `Call.metadata`."""

    @property
    def peer(self) -> str:
        """As `Call.peer`."""

    @property
    def common_name(self) -> str:
        """As `Call.common_name`."""


class Access:
    """Identifies callers and checks their rights; does nothing while auth is off."""

    def __init__(self, node: Node, *, client_cert_auth: bool = False) -> None:
        self._node = node
        self._auth = node.auth
        self._audit = node.audit
        self._tokens = node.applier.tokens
        self._client_cert_auth = client_cert_auth
        self.permissions = node.applier.permissions

    def permit(
        self, call: Asking, action: str, check: Callable[..., None] | None = None, *args: Any
    ) -> Caller:
        """Who calls, if `check(caller, *args)` lets them; None while auth is off.

        Without a check only a bad token is refused: the right is looked at when the command is
        applied. `action` names the request in the audit log. Raises RpcError.
        """
        if not self._auth.enabled:
            return None
        caller: Caller = None
        try:
            caller = self._identify(call)
            if check is not None:
                check(caller, *args)
        except RpcError as error:
            self._audit.refused(action, caller, call.peer, error)
            raise
        return caller

    def _identify(self, call: Asking) -> Caller:
        token = _token(call.metadata)
        if token is None:
            return self._certified(call)
        identity = self._tokens.find(token, self._auth.revision)
        if identity is None:
            raise Failure.INVALID_TOKEN.error()
        return identity

    def _certified(self, call: Asking) -> Caller:
        if not self._client_cert_auth or not call.common_name or GATEWAY in call.metadata:
            return None
        return Identity(call.common_name, self._auth.revision)

    def require_user(self, call: Asking, action: str) -> Caller:
        """Who calls; anybody with credentials will do. Raises RpcError."""
        return self.permit(call, action, _check_known)

    def require_admin(self, call: Asking, action: str) -> Caller:
        """Who calls; it takes the root role. Raises RpcError."""
        return self.permit(call, action, self._auth.check_admin)

    def recheck(self, caller: Caller) -> None:
        """Raise when auth has changed since `permit`, in a read that takes several turns."""
        if caller is not None and caller.revision != self._auth.revision:
            raise Failure.AUTH_OLD_REVISION.error()

    def must_wait(self, call: Asking) -> bool:
        """Whether the call's token comes from a login that this member has still to apply."""
        token = _token(call.metadata)
        return token is not None and self._tokens.awaits(token) > self._node.committer.index


def _check_known(caller: Caller) -> None:
    if caller is None:
        raise Failure.USER_EMPTY.error()


def _token(metadata: Mapping[str, str | bytes]) -> str | None:
    token = metadata.get("token")
    if token is None:
        token = metadata.get("authorization")
        if token is None:
            return None
    # Metadata is bytes for names that end in -bin only.
    assert isinstance(token, str)
    return token.removeprefix("Bearer ")
