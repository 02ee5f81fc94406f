"""Leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pykvd.client import Client, LeaseNotFound
from pykvd.client.errors import LeaseExists
from tests.harness import Server, wait_until

if TYPE_CHECKING:
    from tests.integration.client.blocked import Making


def test_keys_live_as_long_as_their_lease(client: Client, name: str) -> None:
    with client.lease(30) as lease:
        client.put(name, "", lease=lease)
        info = lease.info(keys=True)
        assert (info.id, info.granted_ttl, info.keys) == (lease.id, 30, [name.encode()])
        assert 0 < info.ttl <= 30
        assert lease.refresh() == 30
        assert lease.id in client.leases()
        found = client.get(name)
        assert found is not None
        assert found.lease == lease.id
        assert lease.alive
    assert client.get(name) is None
    assert not lease.alive
    with pytest.raises(LeaseNotFound):
        lease.refresh()
    with pytest.raises(LeaseNotFound):
        lease.revoke()
    assert lease.info().ttl == -1


def test_ids_of_the_callers_choice(client: Client) -> None:
    with client.lease(30, id=4711) as lease:
        assert lease.id == 4711
        with pytest.raises(LeaseExists):
            client.lease(30, id=4711)
        same = client.existing_lease(4711)
        assert (same.id, same.ttl) == (4711, 30)
    with pytest.raises(LeaseNotFound):
        client.existing_lease(4711)


def test_a_lease_is_renewed_while_it_is_kept(client: Client, name: str) -> None:
    with client.lease(4) as kept, client.lease(4) as other:
        forgotten = client.lease(4)
        client.put(name, "", lease=kept)
        client.put(name + "other", "", lease=other)
        client.put(name + "forgotten", "", lease=forgotten)
        wait_until(lambda: client.get(name + "forgotten") is None, "an expiry")
        assert client.get(name)
        assert client.get(name + "other")
        assert kept.alive


def test_a_lost_lease_says_so(make: Making, client: Client, server: Server) -> None:
    with client.lease(2) as lease:
        make(server.endpoint).existing_lease(lease.id).revoke()
        wait_until(lambda: not lease.alive, "the loss to be noticed")


def test_a_lease_is_lost_with_the_server(make: Making, own_server: Server) -> None:
    client = make(own_server.endpoint)
    lease = client.lease(2)
    lease.keep_alive()
    own_server.kill()
    wait_until(lambda: not lease.alive, "the loss to be noticed")


def test_a_lease_survives_a_restart(make: Making, own_server: Server, name: str) -> None:
    client = make(own_server.endpoint)
    with client.lease(10) as lease:
        client.put(name, "", lease=lease)
        own_server.kill()
        own_server.start()
        assert client.get(name, timeout=20)
        assert lease.alive
    assert client.get(name) is None
