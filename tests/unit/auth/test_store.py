"""Who is refused with which words."""

import pytest

from pykvd.auth.identity import ITSELF, Identity
from pykvd.auth.store import NO_PASSWORD, AuthStore
from pykvd.errors import Failure, RpcError
from pykvd.pb.auth_pb2 import Permission


@pytest.fixture
def store() -> AuthStore:
    """`root`, and `u` who may read `a`; auth is on."""
    store = AuthStore(lambda _table, _key, _value: None)
    for name in ("root", "u"):
        store.add_user(name, "", no_password=False)
    store.grant_role("root", "root")
    store.add_role("r")
    store.grant_permission("r", Permission(key=b"a"))
    store.grant_role("u", "r")
    store.enable()
    return store


def refusal(store: AuthStore, caller: Identity | None, key: bytes = b"a") -> str:
    with pytest.raises(RpcError) as refused:
        store.check_read(caller, key)
    return refused.value.message


def test_a_caller_without_credentials(store: AuthStore) -> None:
    assert refusal(store, None) == Failure.USER_EMPTY.text
    assert refusal(store, Identity("u", 0)) == Failure.USER_EMPTY.text


def test_credentials_of_before_a_change(store: AuthStore) -> None:
    caller = Identity("u", store.revision)
    store.check_read(caller, b"a")
    store.add_role("another")
    assert refusal(store, caller) == Failure.AUTH_OLD_REVISION.text
    assert refusal(store, Identity("root", store.revision - 1)) == Failure.AUTH_OLD_REVISION.text


def test_the_old_revision_comes_before_the_right(store: AuthStore) -> None:
    assert refusal(store, Identity("u", 1), b"b") == Failure.AUTH_OLD_REVISION.text


def test_a_user_that_is_none(store: AuthStore) -> None:
    caller = Identity("nobody", store.revision)
    assert refusal(store, caller) == Failure.PERMISSION_DENIED.text
    with pytest.raises(RpcError, match="user name not found"):
        store.check_admin(caller)


def test_admin_checks_ignore_the_revision(store: AuthStore) -> None:
    store.check_admin(Identity("root", 1))
    with pytest.raises(RpcError, match="permission denied"):
        store.check_admin(Identity("u", store.revision))
    for nobody in (None, Identity("", store.revision)):
        with pytest.raises(RpcError, match="user name is empty"):
            store.check_admin(nobody)


def test_the_member_itself_may_do_all(store: AuthStore) -> None:
    store.check_write(ITSELF, b"a", b"\x00")
    store.add_role("later")
    store.check_write(ITSELF, b"a", b"\x00")


def test_a_kind_outside_the_enum_grants_nothing(store: AuthStore) -> None:
    store.grant_permission("r", Permission(key=b"b", permType=9))  # type: ignore[arg-type]
    assert refusal(store, Identity("u", store.revision), b"b") == Failure.PERMISSION_DENIED.text


def test_granting_again_replaces_the_kind(store: AuthStore) -> None:
    store.grant_permission("r", Permission(key=b"a", permType=Permission.WRITE))
    caller = Identity("u", store.revision)
    assert refusal(store, caller) == Failure.PERMISSION_DENIED.text
    store.check_write(caller, b"a")


def test_a_grant_on_one_key_is_not_one_on_what_follows(store: AuthStore) -> None:
    caller = Identity("u", store.revision)
    with pytest.raises(RpcError, match="permission denied"):
        store.check_read(caller, b"a", b"\x00")


def test_a_hash_that_is_none(store: AuthStore) -> None:
    before = store.revision
    with pytest.raises(RpcError) as refused:
        store.change_password("u", "not base64!")
    assert (refused.value.code, refused.value.message) == NO_PASSWORD
    assert store.revision == before


def test_a_user_without_password_gets_none(store: AuthStore) -> None:
    store.add_user("n", "aGFzaA==", no_password=True)
    assert store.users["n"].password == b""
    store.change_password("n", "aGFzaA==")
    assert store.users["n"].password == b""
