"""Users, roles, permissions, the auth revision and whether auth is on: replicated state.

Pure and deterministic: changed by applied commands alone, in the terms of etcd's auth store. Every
refusal raises RpcError with etcd's code and text and has changed nothing. `save(table, key, value)`
keeps entries in the store's small tables.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from bisect import bisect_right
from collections.abc import Callable, Iterable
from hashlib import sha256

from pykvd.auth.identity import Identity
from pykvd.auth.intervals import EVERYTHING, IntervalSet, is_valid
from pykvd.errors import Code, Failure, RpcError
from pykvd.pb.auth_pb2 import Permission, Role, User

ROOT = "root"
META_TABLE, USER_TABLE, ROLE_TABLE = "auth", "user", "role"
_ENABLED, _REVISION = b"enabled", b"revision"
#: The longest key that the store's tables take (LMDB's limit).
MAX_KEY_BYTES = 511

#: A password was given for, or asked of, a user that has none; also a hash that is none.
NO_PASSWORD = Code.UNKNOWN, "auth: authentication failed, password was given for no password user"

Save = Callable[[str, bytes, bytes | None], None]


class Grants:
    """What one user may do with keys, merged from all its roles."""

    __slots__ = ("is_root", "read", "write")

    def __init__(self, roles: Iterable[Role], *, is_root: bool) -> None:
        self.is_root = is_root
        if is_root:
            self.read = self.write = EVERYTHING
            return
        permissions = [each for role in roles for each in role.keyPermission]
        self.read = _union(permissions, Permission.READ)
        self.write = _union(permissions, Permission.WRITE)


def _union(permissions: list[Permission], kind: Permission.Type) -> IntervalSet:
    return IntervalSet(
        (each.key, each.range_end)
        for each in permissions
        if each.permType in (kind, Permission.READWRITE)
    )


class AuthStore:
    """The state machine. `enabled` is the one attribute that others look at while auth is off."""

    def __init__(self, save: Save) -> None:
        self.enabled = False
        self.revision = 1
        self.users: dict[str, User] = {}
        self.roles: dict[str, Role] = {}
        self._save = save
        self._grants: dict[str, Grants] = {}

    def load(self, table: Callable[[str], list[tuple[bytes, bytes]]]) -> None:
        """Replace everything by what the tables hold."""
        meta = dict(table(META_TABLE))
        self.enabled = meta.get(_ENABLED) == b"1"
        self.revision = int(meta.get(_REVISION, b"1"))
        users = (User.FromString(value) for _, value in table(USER_TABLE))
        self.users = {user.name.decode(): user for user in users}
        roles = (Role.FromString(value) for _, value in table(ROLE_TABLE))
        self.roles = {role.name.decode(): role for role in roles}
        self._grants.clear()

    def _changed(self) -> None:
        self.revision += 1
        self._save(META_TABLE, _REVISION, b"%d" % self.revision)
        self._grants.clear()

    # Checks

    def check_read(self, caller: Identity | None, key: bytes, range_end: bytes = b"") -> None:
        """Raise unless the caller may read every key of the range."""
        if not self.grants_of(caller).read.covers(key, range_end):
            raise Failure.PERMISSION_DENIED.error()

    def check_write(self, caller: Identity | None, key: bytes, range_end: bytes = b"") -> None:
        """Raise unless the caller may write every key of the range."""
        if not self.grants_of(caller).write.covers(key, range_end):
            raise Failure.PERMISSION_DENIED.error()

    def grants_of(self, caller: Identity | None) -> Grants:
        """What the caller may do; raises when its credentials do not hold (any more)."""
        if caller is None or not caller.revision:
            raise Failure.USER_EMPTY.error()
        if caller.revision < self.revision:
            raise Failure.AUTH_OLD_REVISION.error()
        grants = self._grants.get(caller.user)
        return grants if grants is not None else self._merge(caller.user)

    def _merge(self, name: str) -> Grants:
        user = self.users.get(name)
        if user is None:
            raise Failure.PERMISSION_DENIED.error()
        # A role that was granted may exist no more, or never did (root).
        roles = [self.roles[role] for role in user.roles if role in self.roles]
        grants = self._grants[name] = Grants(roles, is_root=ROOT in user.roles)
        return grants

    def check_admin(self, caller: Identity | None) -> None:
        """Raise unless the caller has the root role; the revision of its token is of no matter."""
        if caller is None or not caller.user:
            raise Failure.USER_EMPTY.error()
        user = self.users.get(caller.user)
        if user is None:
            raise Failure.USER_NOT_FOUND.error()
        if ROOT not in user.roles:
            raise Failure.PERMISSION_DENIED.error()

    def is_admin(self, caller: Identity | None) -> bool:
        """Whether `check_admin` passes."""
        user = self.users.get(caller.user) if caller else None
        return user is not None and ROOT in user.roles

    def has_role(self, caller: Identity | None, role: str) -> bool:
        """Whether the caller holds a role."""
        user = self.users.get(caller.user) if caller else None
        return user is not None and role in user.roles

    # On and off

    def enable(self) -> None:
        """Turn auth on, which needs a root user with the root role; the revision stays."""
        if self.enabled:
            return
        root = self.users.get(ROOT)
        if root is None:
            raise Failure.ROOT_USER_MISSING.error()
        if ROOT not in root.roles:
            raise Failure.ROOT_ROLE_MISSING.error()
        self.enabled = True
        self._save(META_TABLE, _ENABLED, b"1")

    def disable(self) -> None:
        """Turn auth off."""
        if not self.enabled:
            return
        self.enabled = False
        self._save(META_TABLE, _ENABLED, None)
        self._changed()

    # Users

    def user(self, name: str) -> User:
        """A user; raises when there is none."""
        user = self.users.get(name)
        if user is None:
            raise Failure.USER_NOT_FOUND.error()
        return user

    def _put_user(self, user: User) -> None:
        self.users[user.name.decode()] = user
        self._save(USER_TABLE, entry_key(user.name), user.SerializeToString(deterministic=True))

    def add_user(self, name: str, hashed: str, *, no_password: bool) -> None:
        """Add a user without roles; `hashed` is the password's hash in base64."""
        if not name:
            raise Failure.USER_EMPTY.error()
        if name in self.users:
            raise Failure.USER_EXISTS.error()
        user = User(name=name.encode(), password=b"" if no_password else _hash_of(hashed))
        user.options.no_password = no_password
        self._put_user(user)
        self._changed()

    def delete_user(self, name: str) -> None:
        """Remove a user; root stays while auth is on."""
        if self.enabled and name == ROOT:
            raise Failure.INVALID_AUTH_MANAGEMENT.error()
        user = self.user(name)
        del self.users[name]
        self._save(USER_TABLE, entry_key(user.name), None)
        self._changed()

    def change_password(self, name: str, hashed: str) -> None:
        """Replace a user's hash (base64); one without password keeps none."""
        user = self.user(name)
        user.password = b"" if user.options.no_password else _hash_of(hashed)
        self._put_user(user)
        self._changed()

    def grant_role(self, name: str, role: str) -> None:
        """Give a user a role; again is no change."""
        user = self.user(name)
        if role != ROOT and role not in self.roles:
            raise Failure.ROLE_NOT_FOUND.error()
        if role in user.roles:
            return
        user.roles[:] = sorted((*user.roles, role))
        self._put_user(user)
        self._changed()

    def revoke_role(self, name: str, role: str) -> None:
        """Take a role from a user; root keeps its own while auth is on."""
        if self.enabled and name == role == ROOT:
            raise Failure.INVALID_AUTH_MANAGEMENT.error()
        user = self.user(name)
        if role not in user.roles:
            raise Failure.ROLE_NOT_GRANTED.error()
        user.roles.remove(role)
        self._put_user(user)
        self._changed()

    # Roles

    def role(self, name: str) -> Role:
        """A role; raises when there is none."""
        role = self.roles.get(name)
        if role is None:
            raise Failure.ROLE_NOT_FOUND.error()
        return role

    def _put_role(self, role: Role) -> None:
        self.roles[role.name.decode()] = role
        self._save(ROLE_TABLE, entry_key(role.name), role.SerializeToString(deterministic=True))

    def add_role(self, name: str) -> None:
        """Add a role without permissions."""
        if not name:
            raise Failure.ROLE_EMPTY.error()
        if name in self.roles:
            raise Failure.ROLE_EXISTS.error()
        self._put_role(Role(name=name.encode()))
        self._changed()

    def delete_role(self, name: str) -> None:
        """Remove a role, from its users, too; root stays while auth is on."""
        if self.enabled and name == ROOT:
            raise Failure.INVALID_AUTH_MANAGEMENT.error()
        role = self.role(name)
        del self.roles[name]
        self._save(ROLE_TABLE, entry_key(role.name), None)
        for user in self.users.values():
            if name in user.roles:
                user.roles.remove(name)
                self._put_user(user)
        self._changed()

    def grant_permission(self, name: str, permission: Permission | None) -> None:
        """Let a role's users touch a range; a range that it has already gets the new kind."""
        if permission is None:
            raise Failure.PERMISSION_NOT_GIVEN.error()
        key, range_end = permission.key, permission.range_end
        if not is_valid(key, range_end):
            raise Failure.INVALID_AUTH_MANAGEMENT.error()
        role = self.role(name)
        for held in role.keyPermission:
            if (held.key, held.range_end) == (key, range_end):
                held.permType = permission.permType
                break
        else:
            keys = [held.key for held in role.keyPermission]
            role.keyPermission.insert(bisect_right(keys, key), permission)
        self._put_role(role)
        self._changed()

    def revoke_permission(self, name: str, key: bytes, range_end: bytes) -> None:
        """Take back exactly what was granted for this range."""
        role = self.role(name)
        kept = [
            each for each in role.keyPermission if (each.key, each.range_end) != (key, range_end)
        ]
        if len(kept) == len(role.keyPermission):
            raise Failure.PERMISSION_NOT_GRANTED.error()
        del role.keyPermission[:]
        role.keyPermission.extend(kept)
        self._put_role(role)
        self._changed()


def entry_key(name: bytes) -> bytes:
    """The key of a user's or role's entry: its name, the end of a long one replaced by a hash.

    Only those have MAX_KEY_BYTES, so that no other name can be the key of one of them.
    """
    digest = sha256(name).digest()
    kept = MAX_KEY_BYTES - len(digest)
    return name if len(name) <= kept else name[:kept] + digest


def _hash_of(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise RpcError(*NO_PASSWORD) from None
