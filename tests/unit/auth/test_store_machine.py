"""The auth store against a model in plain sets, with its tables as the witness."""

import itertools
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pykvd.auth.identity import Identity
from pykvd.auth.intervals import FROM_KEY
from pykvd.auth.store import ROOT, AuthStore
from pykvd.errors import Failure, RpcError
from pykvd.pb.auth_pb2 import Permission

READ, WRITE, BOTH = Permission.READ, Permission.WRITE, Permission.READWRITE
NAMES = ("root", "u", "v", "")
ROLES = ("root", "r", "s", "")
RANGES = (
    (b"a", b""),
    (b"a", b"c"),
    (b"b", b""),
    (b"b", FROM_KEY),
    (b"c", b"d"),
    (b"c", b"a"),
    (b"", b""),
)
KEYS = (b"a", b"ab", b"b", b"c", b"d", b"\xff")

users = st.sampled_from(NAMES)
roles = st.sampled_from(ROLES)
ranges = st.sampled_from(RANGES)
kinds = st.sampled_from((READ, WRITE, BOTH))


def selects(key: bytes, range_end: bytes, candidate: bytes) -> bool:
    if not range_end:
        return candidate == key
    return candidate >= key and (range_end == FROM_KEY or candidate < range_end)


class AuthMachine(RuleBasedStateMachine):
    """Each rule says which failure it expects; a failure must have changed nothing."""

    @initialize()
    def begin(self) -> None:
        self.tables: dict[tuple[str, bytes], bytes] = {}
        self.store = AuthStore(self._save)
        self.enabled = False
        self.revision = 1
        self.users: dict[str, set[str]] = {}
        self.roles: dict[str, dict[tuple[bytes, bytes], int]] = {}

    def _save(self, table: str, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.tables.pop((table, key), None)
        else:
            self.tables[table, key] = value

    def _do(self, act: Callable[[], None], failure: Failure | None) -> bool:
        before = dict(self.tables)
        if failure is None:
            act()
            return True
        with pytest.raises(RpcError) as refused:
            act()
        assert (refused.value.code, refused.value.message) == (failure.code, failure.text)
        assert self.tables == before
        return False

    @rule(name=users)
    def add_user(self, name: str) -> None:
        failure = None
        if not name:
            failure = Failure.USER_EMPTY
        elif name in self.users:
            failure = Failure.USER_EXISTS
        if self._do(lambda: self.store.add_user(name, "aGFzaA==", no_password=False), failure):
            self.users[name] = set()
            self.revision += 1

    @rule(name=users)
    def delete_user(self, name: str) -> None:
        failure = None
        if self.enabled and name == ROOT:
            failure = Failure.INVALID_AUTH_MANAGEMENT
        elif name not in self.users:
            failure = Failure.USER_NOT_FOUND
        if self._do(lambda: self.store.delete_user(name), failure):
            del self.users[name]
            self.revision += 1

    @rule(name=users)
    def change_password(self, name: str) -> None:
        failure = None if name in self.users else Failure.USER_NOT_FOUND
        if self._do(lambda: self.store.change_password(name, ""), failure):
            self.revision += 1

    @rule(name=users, role=roles)
    def grant_role(self, name: str, role: str) -> None:
        failure = None
        if name not in self.users:
            failure = Failure.USER_NOT_FOUND
        elif role != ROOT and role not in self.roles:
            failure = Failure.ROLE_NOT_FOUND
        if self._do(lambda: self.store.grant_role(name, role), failure):
            self.revision += role not in self.users[name]
            self.users[name].add(role)

    @rule(name=users, role=roles)
    def revoke_role(self, name: str, role: str) -> None:
        failure = None
        if self.enabled and name == role == ROOT:
            failure = Failure.INVALID_AUTH_MANAGEMENT
        elif name not in self.users:
            failure = Failure.USER_NOT_FOUND
        elif role not in self.users[name]:
            failure = Failure.ROLE_NOT_GRANTED
        if self._do(lambda: self.store.revoke_role(name, role), failure):
            self.users[name].remove(role)
            self.revision += 1

    @rule(role=roles)
    def add_role(self, role: str) -> None:
        failure = None
        if not role:
            failure = Failure.ROLE_EMPTY
        elif role in self.roles:
            failure = Failure.ROLE_EXISTS
        if self._do(lambda: self.store.add_role(role), failure):
            self.roles[role] = {}
            self.revision += 1

    @rule(role=roles)
    def delete_role(self, role: str) -> None:
        failure = None
        if self.enabled and role == ROOT:
            failure = Failure.INVALID_AUTH_MANAGEMENT
        elif role not in self.roles:
            failure = Failure.ROLE_NOT_FOUND
        if self._do(lambda: self.store.delete_role(role), failure):
            del self.roles[role]
            for held in self.users.values():
                held.discard(role)
            self.revision += 1

    @rule(role=roles, span=ranges, kind=kinds)
    def grant_permission(self, role: str, span: tuple[bytes, bytes], kind: int) -> None:
        failure = None
        key, range_end = span
        if not key or (range_end and range_end != FROM_KEY and range_end <= key):
            failure = Failure.INVALID_AUTH_MANAGEMENT
        elif role not in self.roles:
            failure = Failure.ROLE_NOT_FOUND
        permission = Permission(permType=kind, key=key, range_end=range_end)  # type: ignore[arg-type]
        if self._do(lambda: self.store.grant_permission(role, permission), failure):
            self.roles[role][span] = kind
            self.revision += 1

    @rule(role=roles, span=ranges)
    def revoke_permission(self, role: str, span: tuple[bytes, bytes]) -> None:
        failure = None
        if role not in self.roles:
            failure = Failure.ROLE_NOT_FOUND
        elif span not in self.roles[role]:
            failure = Failure.PERMISSION_NOT_GRANTED
        if self._do(lambda: self.store.revoke_permission(role, *span), failure):
            del self.roles[role][span]
            self.revision += 1

    @rule()
    def enable(self) -> None:
        failure = None
        if not self.enabled and ROOT not in self.users:
            failure = Failure.ROOT_USER_MISSING
        elif not self.enabled and ROOT not in self.users[ROOT]:
            failure = Failure.ROOT_ROLE_MISSING
        if self._do(self.store.enable, failure):
            self.enabled = True

    @rule()
    def disable(self) -> None:
        self.store.disable()
        self.revision += self.enabled
        self.enabled = False

    @rule()
    def reload(self) -> None:
        """The tables are all that a restart needs."""
        self.store = AuthStore(self._save)
        self.store.load(self._table)

    def _table(self, name: str) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for (table, key), value in self.tables.items() if table == name)

    @invariant()
    def everybody_may_what_the_model_says(self) -> None:
        """Asked after every step, so that what is cached from the last one shows."""
        if not hasattr(self, "store"):
            return
        for name, key in itertools.product(NAMES, KEYS):
            caller = Identity(name, self.store.revision)
            assert self._allows(partial(self.store.check_read, caller, key)) == self._may(
                name, key, (READ, BOTH)
            )
            assert self._allows(partial(self.store.check_write, caller, key)) == self._may(
                name, key, (WRITE, BOTH)
            )

    def _allows(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except RpcError as error:
            if error.message != Failure.PERMISSION_DENIED.text:
                raise
            return False
        return True

    def _may(self, name: str, key: bytes, kinds: tuple[int, ...]) -> bool:
        held = self.users.get(name, set())
        return ROOT in held or any(
            kind in kinds and selects(*span, key)
            for role in held
            for span, kind in self.roles.get(role, {}).items()
        )

    @invariant()
    def the_same_as_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        store = self.store
        assert (store.enabled, store.revision) == (self.enabled, self.revision)
        assert {name: set(user.roles) for name, user in store.users.items()} == self.users
        assert {
            name: {(each.key, each.range_end): each.permType for each in role.keyPermission}
            for name, role in store.roles.items()
        } == self.roles
        for user in store.users.values():
            assert list(user.roles) == sorted(user.roles)
        for role in store.roles.values():
            held = [each.key for each in role.keyPermission]
            assert held == sorted(held)


TestAuthStore = AuthMachine.TestCase
TestAuthStore.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
