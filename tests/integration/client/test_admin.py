"""Calls for operators."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from pykvd.client.errors import EtcdError, MemberNotFound, NoSpace, PeerURLExists
from pykvd.client.values import Alarm

if TYPE_CHECKING:
    from pykvd.client import Client
    from tests.harness import Server
    from tests.integration.client.blocked import Making


def test_status_and_members(client: Client, server: Server) -> None:
    status = client.maintenance.status()
    assert status.version.startswith("3.")
    assert status.leader == status.member_id
    assert status.db_size > 0
    assert not status.is_learner
    (member,) = client.cluster.members()
    assert (member.id, member.client_urls) == (status.member_id, [server.url])


def test_snapshots(client: Client, name: str) -> None:
    client.put(name, b"x" * 100_000)
    with client.maintenance.snapshot() as snapshot:
        data = b"".join(snapshot)
    assert len(data) > 100_000
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    begun = client.maintenance.snapshot()
    assert next(begun)
    begun.close()
    assert list(begun) == []


def test_hashes_and_defragmentation(client: Client, name: str) -> None:
    client.put(name, "value")
    first = client.maintenance.hash_kv()
    assert client.maintenance.hash_kv(first.revision).hash == first.hash
    client.put(name, "other")
    assert client.maintenance.hash_kv().hash != first.hash
    client.maintenance.defragment()
    assert isinstance(client.maintenance.hash(), int)


def test_alarms(make: Making, own_server: Server, name: str) -> None:
    client = make(own_server.endpoint)
    me = client.maintenance.status().member_id
    assert client.maintenance.alarms() == []
    assert client.maintenance.arm(me) == [Alarm(me, "NOSPACE")]
    assert client.maintenance.alarms() == [Alarm(me, "NOSPACE")]
    with pytest.raises(NoSpace):
        client.put(name, "value")
    client.maintenance.disarm(me)
    client.put(name, "value")


def test_membership(make: Making, own_server: Server) -> None:
    client = make(own_server.endpoint)
    (me,) = client.cluster.members()
    with pytest.raises(MemberNotFound):
        client.cluster.remove(1234)
    with pytest.raises(PeerURLExists):
        client.cluster.add(me.peer_urls, learner=True)
    learner = client.cluster.add(["http://127.0.0.1:1"], learner=True)
    assert learner.is_learner
    updated = client.cluster.update(learner.id, ["http://127.0.0.1:2"])
    assert {url for member in updated for url in member.peer_urls} >= {"http://127.0.0.1:2"}
    with pytest.raises(EtcdError):
        client.cluster.promote(learner.id)
    assert client.cluster.remove(learner.id) == [me]
