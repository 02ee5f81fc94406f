"""A session with etcd-sdk-python (module `pyetcd`, sync, grpcio): `pyetcd_session.py PORT`.

A process of its own, for the same reason as the session of aetcd; here `pykvd.pb` comes second.
"""

import io
import sys

import pyetcd

from pykvd.pb import rpc_pb2


def keys(client: pyetcd.Etcd3Client) -> None:
    client.put("a/1", "one")
    client.put("a/2", "two")
    value, meta = client.get("a/1")
    assert (value, meta.version) == (b"one", 1)
    assert client.get("a/missing") == (None, None)
    assert [value for value, _ in client.get_prefix("a/")] == [b"one", b"two"]
    assert client.put_if_not_exists("a/1", "again") is False
    assert client.replace("a/1", "one", "uno") is True
    assert client.delete("a/2") is True
    assert client.delete_prefix("a/").deleted == 1


def transaction(client: pyetcd.Etcd3Client) -> None:
    txn = client.transactions
    for expected in (True, False):
        succeeded, _ = client.transaction(
            compare=[txn.version("t") == 0],
            success=[txn.put("t", "new")],
            failure=[txn.get("t")],
        )
        assert succeeded is expected


def watch(client: pyetcd.Etcd3Client) -> None:
    events, cancel = client.watch_prefix("w/")
    client.put("w/1", "v")
    client.delete("w/1")
    seen = [next(events), next(events)]
    cancel()
    assert [type(event).__name__ for event in seen] == ["PutEvent", "DeleteEvent"]
    assert [event.key for event in seen] == [b"w/1", b"w/1"]


def lease_and_lock(client: pyetcd.Etcd3Client) -> None:
    lease = client.lease(30)
    client.put("l", "v", lease=lease)
    assert list(lease.keys) == [b"l"]
    assert 0 < lease.remaining_ttl <= 30
    lease.refresh()
    lease.revoke()
    assert client.get("l") == (None, None)
    with client.lock("lock", ttl=10) as lock:
        assert lock.is_acquired()


def maintenance(client: pyetcd.Etcd3Client) -> None:
    status = client.status()
    assert status.version
    assert status.leader is not None
    client.put("m", "v")
    head = client.get_response("m").header.revision
    client.compact(head)
    client.defragment()
    assert isinstance(client.hash(), int)
    assert list(client.list_alarms()) == []
    assert len(list(client.create_alarm(member_id=7))) == 1
    assert len(list(client.disarm_alarm(member_id=7))) == 1
    assert len(list(client.members)) == 1
    file = io.BytesIO()
    client.snapshot(file)
    assert len(file.getvalue()) % 512 == 32


def main(port: int) -> None:
    with pyetcd.client(host="127.0.0.1", port=port, timeout=20) as client:
        for part in (keys, transaction, watch, lease_and_lock, maintenance):
            part(client)
            print(part.__name__, flush=True)


assert rpc_pb2.PutRequest(key=b"k").SerializeToString() == b"\n\x01k"
main(int(sys.argv[1]))
