"""Ranges that are read in steps: RangeStream, and unary ones too long for one turn of the loop."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import methods
from tests.integration.store.serving import TIMEOUT_S, Client, serving

KEYS = 6000
ALL: dict[str, Any] = {"key": b"k", "range_end": b"l"}


async def fill(client: Client) -> None:
    for start in range(0, KEYS, 100):
        puts = [
            rpc.PutRequest(key=b"k%05d" % each, value=b"v") for each in range(start, start + 100)
        ]
        ops = [rpc.RequestOp(request_put=put) for put in puts]
        await client.call(methods.TXN, rpc.TxnRequest(success=ops))


async def streamed(client: Client, request: rpc.RangeRequest) -> list[rpc.RangeResponse]:
    method = client.channel.unary_stream(
        "/etcdserverpb.KV/RangeStream",
        request_serializer=rpc.RangeRequest.SerializeToString,
        response_deserializer=rpc.RangeStreamResponse.FromString,
    )
    call = method(request, timeout=TIMEOUT_S)
    return [message.range_response async for message in call]


async def test_chunks_merge_to_the_unary_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        await fill(client)
        for options in (
            {},
            {"limit": 7},
            {"limit": 5500},
            {"keys_only": True},
            {"count_only": True},
        ):
            request = rpc.RangeRequest(**ALL, **options)
            chunks = await streamed(client, request)
            merged = rpc.RangeResponse()
            for chunk in chunks:
                merged.MergeFrom(chunk)
            assert merged == await client.call(methods.RANGE, request)
            assert all(not chunk.HasField("header") for chunk in chunks[:-1])
        assert len(await streamed(client, rpc.RangeRequest(**ALL))) > 5


async def test_a_long_range_is_of_one_revision_while_others_write(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        await fill(client)
        before = (await client.get(b"k", b"l")).header.revision

        async def writes() -> None:
            for each in range(0, KEYS, 50):
                await client.put(b"k%05d" % each, b"new")
                await client.delete(b"k%05d" % (each + 1))

        task = asyncio.create_task(writes())
        while not task.done():
            whole = await client.get(b"k", b"l")
            at = whole.header.revision
            again = await client.get(b"k", b"l", revision=at)
            assert list(whole.kvs) == list(again.kvs)
            assert whole.count == len(whole.kvs)
            assert all(kv.mod_revision <= at for kv in whole.kvs)
        await task
        old = await client.get(b"k", b"l", revision=before)
        assert (old.count, len(old.kvs), old.more) == (KEYS, KEYS, False)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"sort_order": rpc.RangeRequest.DESCEND},
            "RangeStream does not support custom sort orders",
        ),
        ({"min_mod_revision": 1}, "RangeStream does not support revision filters"),
    ],
)
async def test_what_cannot_be_streamed(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    async with serving(tmp_path) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await streamed(client, rpc.RangeRequest(**ALL, **options))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert caught.value.details() == text
