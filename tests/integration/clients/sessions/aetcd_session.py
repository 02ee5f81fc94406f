"""A session with the `aetcd` client (asyncio, grpcio): `aetcd_session.py PORT`.

A process of its own: aetcd puts the API's messages into protobuf's default pool, where only one
client can. `pykvd.pb` is imported first to prove that it stays out of the way.
"""

import asyncio
import io
import sys

import aetcd

from pykvd.pb import rpc_pb2


async def keys(client: aetcd.Client) -> None:
    await client.put(b"a/1", b"one")
    await client.put(b"a/2", b"two")
    found = await client.get(b"a/1")
    assert (found.value, found.version) == (b"one", 1)
    assert await client.get(b"a/missing") is None
    assert [kv.value for kv in await client.get_prefix(b"a/")] == [b"one", b"two"]
    previous = await client.put(b"a/1", b"uno", prev_kv=True)
    assert previous.prev_kv.value == b"one"
    assert await client.delete(b"a/2")
    assert (await client.delete_prefix(b"a/")).deleted == 1


async def transaction(client: aetcd.Client) -> None:
    txn = client.transactions
    for expected in (True, False):
        succeeded, _ = await client.transaction(
            compare=[txn.create(b"t") == 0],
            success=[txn.put(b"t", b"new")],
            failure=[txn.get(b"t")],
        )
        assert succeeded is expected
    assert await client.replace(b"t", b"new", b"newer")


async def watch(client: aetcd.Client) -> None:
    watched = await client.watch_prefix(b"w/")
    await client.put(b"w/1", b"v")
    await client.delete(b"w/1")
    seen = []
    async for event in watched:
        seen.append((event.kind, event.kv.key))
        if len(seen) == 2:
            break
    await watched.cancel()
    kinds = aetcd.rtypes.EventKind
    assert seen == [(kinds.PUT, b"w/1"), (kinds.DELETE, b"w/1")]


async def lease_and_lock(client: aetcd.Client) -> None:
    lease = await client.lease(30)
    await client.put(b"l", b"v", lease=lease)
    assert list(await lease.keys()) == [b"l"]
    assert 0 < await lease.remaining_ttl() <= 30
    await lease.refresh()
    await lease.revoke()
    assert await client.get(b"l") is None
    async with client.lock(b"lock", ttl=10) as lock:
        assert await lock.is_acquired()


async def maintenance(client: aetcd.Client) -> None:
    status = await client.status()
    assert status.version
    assert status.db_size > 0
    head = (await client.put(b"m", b"v")).header.revision
    await client.compact(head)
    await client.defragment()
    assert isinstance(await client.hash(), int)
    assert [alarm async for alarm in client.list_alarms()] == []
    assert len(await client.create_alarm(member_id=7)) == 1
    assert len(await client.disarm_alarm(member_id=7)) == 1
    assert len([member async for member in client.members()]) == 1
    file = io.BytesIO()
    await client.snapshot(file)
    assert len(file.getvalue()) % 512 == 32


async def main(port: int) -> None:
    async with aetcd.Client(host="127.0.0.1", port=port, timeout=20) as client:
        for part in (keys, transaction, watch, lease_and_lock, maintenance):
            await part(client)
            print(part.__name__, flush=True)


assert rpc_pb2.PutRequest(key=b"k").SerializeToString() == b"\n\x01k"
asyncio.run(main(int(sys.argv[1])))
