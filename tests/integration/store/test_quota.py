"""The space quota, from the first refusal to the first write after it (etcd API: Quota)."""

from contextlib import suppress
from pathlib import Path

import grpc
import grpc.aio
import pytest

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import methods
from tests.integration.store.serving import Client, eventually, refused, serving

QUOTA = 2 << 20
NO_SPACE = (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
VALUE = bytes(60_000)


async def fill(client: Client) -> int:
    """Put until the quota refuses; returns how many were taken."""
    for number in range(1000):
        with suppress(grpc.aio.AioRpcError):
            await client.put(b"k%04d" % number, VALUE)
            if number % 10 == 9:
                # The size is that of the last commit: let there be one.
                await client.hash_kv()
            continue
        async with refused(*NO_SPACE):
            await client.put(b"k%04d" % number, VALUE)
        return number
    pytest.fail("the quota refused nothing")


async def test_the_way_out_of_a_full_store(tmp_path: Path) -> None:
    async with serving(tmp_path, quota_backend_bytes=QUOTA) as client:
        count = await fill(client)
        assert 10 < count < 100
        status = await client.status()
        assert status.dbSizeQuota == QUOTA

        async def is_raised() -> bool:
            return await client.alarm(rpc.AlarmRequest.GET) == [rpc.NOSPACE]

        await eventually(is_raised, "the alarm")
        member = status.header.member_id
        assert list((await client.status()).errors) == [f"memberID:{member} alarm:NOSPACE "]
        # Small puts, transactions with puts and leases are refused; the rest is not.
        async with refused(*NO_SPACE):
            await client.put(b"small")
        async with refused(*NO_SPACE):
            await client.grant(7, 60)
        assert (await client.all()).count == count
        # Deleting alone frees nothing.
        assert await client.delete(b"k", b"l") == count
        async with refused(*NO_SPACE):
            await client.put(b"small")
        await client.compact((await client.all()).header.revision)
        await client.call(methods.DEFRAGMENT)
        assert (await client.status()).dbSize < QUOTA // 4
        # The alarm outlives its cause.
        async with refused(*NO_SPACE):
            await client.put(b"small")
        assert await client.alarm(rpc.AlarmRequest.DEACTIVATE, rpc.NOSPACE, member) == [rpc.NOSPACE]
        await client.put(b"small")
        assert list((await client.status()).errors) == []


async def test_the_alarm_outlives_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, quota_backend_bytes=QUOTA) as client:
        await fill(client)
    async with serving(tmp_path, quota_backend_bytes=100 << 20) as client:
        assert await client.alarm(rpc.AlarmRequest.GET) == [rpc.NOSPACE]
        async with refused(*NO_SPACE):
            await client.put(b"small")
        member = (await client.status()).header.member_id
        await client.alarm(rpc.AlarmRequest.DEACTIVATE, rpc.NOSPACE, member)
        await client.put(b"small")


async def test_a_negative_quota_is_none(tmp_path: Path) -> None:
    async with serving(tmp_path, quota_backend_bytes=-1) as client:
        for number in range(50):
            await client.put(b"k%04d" % number, VALUE)
        assert await client.alarm(rpc.AlarmRequest.GET) == []


@pytest.mark.parametrize("kind", [-1, 3, 77])
async def test_an_alarm_of_an_unknown_kind_hurts_nobody(tmp_path: Path, kind: int) -> None:
    """Enums are open: a client may send any number, and the log keeps it."""
    async with serving(tmp_path) as client:
        assert await client.alarm(rpc.AlarmRequest.ACTIVATE, kind, 1) == [kind]
    async with serving(tmp_path) as client:
        await client.put(b"k")
        assert await client.alarm(rpc.AlarmRequest.GET) == [kind]
        assert len((await client.status()).errors) == 1
