"""Users, roles, logins that run out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pykvd.client import AuthFailed, PermissionDenied
from pykvd.client.errors import RoleNotFound, UserEmpty, UserExists
from pykvd.client.values import Permission
from tests.harness import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.client import Client
    from tests.harness import Kind, Server
    from tests.integration.client.blocked import Making


@pytest.fixture
def locked(kind: Kind) -> Iterator[Server]:
    """A server whose tokens live for two seconds."""
    with running(kind, ["--auth-token-ttl=2"]) as server:
        yield server


@pytest.fixture
def root(make: Making, locked: Server) -> Client:
    """Its root, with auth on; user `reader` may read `r/` and write `w/`."""
    client = make(locked.endpoint, user="root", password="secret")
    client.auth.add_user("root", "secret")
    client.auth.grant_role("root", "root")
    client.auth.add_user("reader", "open")
    client.auth.add_role("reading")
    client.auth.grant_permission("reading", "read", "r/", prefix=True)
    client.auth.grant_permission("reading", "write", "w/", prefix=True)
    client.auth.grant_role("reader", "reading")
    client.auth.enable()
    return client


def test_permissions_count(make: Making, locked: Server, root: Client) -> None:
    root.put("r/1", "one")
    reader = make(locked.endpoint, user="reader", password="open")
    assert reader.get("r/1")
    reader.put("w/1", "")
    with pytest.raises(PermissionDenied):
        reader.put("r/1", "")
    with pytest.raises(PermissionDenied):
        reader.range("", prefix=True)
    with pytest.raises(PermissionDenied):
        reader.watch("w/", prefix=True).get(timeout=5)
    with reader.watch("r/", prefix=True) as watch:
        root.put("r/2", "two")
        assert watch.get(timeout=10).value == b"two"


def test_wrong_and_missing_logins(make: Making, locked: Server, root: Client) -> None:
    assert "reader" in root.auth.users()
    with pytest.raises(AuthFailed):
        make(locked.endpoint, user="reader", password="wrong").get("r/1")
    with pytest.raises(UserEmpty):
        make(locked.endpoint).get("r/1")


def test_logins_are_renewed(make: Making, locked: Server, root: Client) -> None:
    """A restart forgets all tokens; writes and watches go on."""
    reader = make(locked.endpoint, user="reader", password="open")
    reader.put("w/1", "1")
    with reader.watch("r/", prefix=True) as watch:
        locked.kill()
        locked.start()
        reader.put("w/1", "2", timeout=20)
        root.put("r/1", "seen", timeout=20)
        assert watch.get(timeout=20).value == b"seen"
    found = root.get("w/1")
    assert found is not None
    assert found.version == 2


def test_leases_are_kept_with_a_login(make: Making, locked: Server, root: Client) -> None:
    reader = make(locked.endpoint, user="reader", password="open")
    with reader.lease(5) as lease, root.lease(30):
        reader.put("w/leased", "", lease=lease)
        locked.kill()
        locked.start()
        other = root.lease(5, timeout=20)
        root.put("r/gone", "", lease=other)
        with root.watch("r/gone") as watch:
            assert watch.get(timeout=20).deleted
        assert lease.alive
        assert root.get("w/leased")


def test_the_lists(root: Client) -> None:
    assert root.auth.users() == ["reader", "root"]
    assert root.auth.roles()[0] == "reading"
    assert root.auth.user_roles("reader") == ["reading"]
    assert root.auth.permissions("reading") == [
        Permission("read", b"r/", b"r0"),
        Permission("write", b"w/", b"w0"),
    ]
    root.auth.revoke_permission("reading", "w/", prefix=True)
    assert len(root.auth.permissions("reading")) == 1
    with pytest.raises(UserExists):
        root.auth.add_user("reader", "again")
    with pytest.raises(RoleNotFound):
        root.auth.grant_role("reader", "unknown")
    root.auth.change_password("reader", "new")
    root.auth.revoke_role("reader", "reading")
    root.auth.delete_role("reading")
    root.auth.delete_user("reader")
    assert root.auth.users() == ["root"]
    root.auth.disable()
    assert root.get("anything") is None
