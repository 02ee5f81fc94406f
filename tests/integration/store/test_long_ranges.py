"""Ranges that are read in steps: RangeStream, and unary ones too long for one turn of the loop."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from pykvd.errors import Failure
from pykvd.pb import kv_pb2
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

        task = asyncio.create_task(writes_for_a_while(client))
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


BY_VALUE: dict[str, Any] = {"sort_target": rpc.RangeRequest.VALUE}
KINDS: dict[str, dict[str, Any]] = {
    "descending": {"sort_order": rpc.RangeRequest.DESCEND},
    "sorted": {"sort_order": rpc.RangeRequest.DESCEND, **BY_VALUE},
    "best": {"sort_order": rpc.RangeRequest.ASCEND, **BY_VALUE, "limit": 700},
    "filtered": {"min_mod_revision": 20, "keys_only": True},
    "counted": {"count_only": True},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
async def test_long_ranges_of_any_kind_while_others_write_and_compact(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """The model is a plain Range of the same revision."""
    async with serving(tmp_path) as client:
        await fill(client)
        done = False

        async def writes() -> None:
            number = 0
            while not done:
                number += 7
                revision = await client.put(b"k%05d" % (number % KEYS), b"%d" % (number % 90))
                await client.delete(b"k%05d" % (number % (KEYS - 1)))
                if number % 40 == 0:
                    await client.compact(revision - 20, physical=False)

        task = asyncio.create_task(writes())
        compared = 0
        while compared < 4:
            try:
                found = await client.call(methods.RANGE, rpc.RangeRequest(**ALL, **options))
                at = found.header.revision
                again = rpc.RangeRequest(**ALL, **options, revision=at)
                late = await client.call(methods.RANGE, again)
                whole = await client.get(b"k", b"l", revision=at)
            except grpc.aio.AioRpcError as error:
                if error.details() != Failure.COMPACTED.text:
                    raise
                continue
            check(found, list(whole.kvs), **options)
            check(late, list(whole.kvs), **options)
            compared += 1
        done = True
        await task


def check(
    found: rpc.RangeResponse,
    kvs: list[kv_pb2.KeyValue],
    *,
    sort_order: int = 0,
    sort_target: int = 0,
    limit: int = 0,
    min_mod_revision: int = 0,
    keys_only: bool = False,
    count_only: bool = False,
) -> None:
    """Compare with what the plain answer comes to; equals may stand in any order."""
    assert found.count == len(kvs)
    if count_only:
        kvs = []
    kept = [kv for kv in kvs if kv.mod_revision >= min_mod_revision]
    ranks = [kv.value if sort_target else kv.key for kv in kept]
    ranks.sort(reverse=sort_order == rpc.RangeRequest.DESCEND)
    assert found.more == (0 < limit < len(kept))
    by_key = {kv.key: kv for kv in kept}
    for kv, rank in zip(found.kvs, ranks[: limit or None], strict=True):
        original = by_key.pop(kv.key)
        assert rank == (original.value if sort_target else original.key)
        if keys_only:
            original.ClearField("value")
        assert kv == original


async def test_a_transaction_of_long_ranges_is_of_one_revision(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        await fill(client)
        whole = rpc.RequestOp(request_range=rpc.RangeRequest(**ALL))
        few = rpc.RequestOp(request_range=rpc.RangeRequest(**ALL, limit=3))
        task = asyncio.create_task(writes_for_a_while(client))
        while not task.done():
            answer = await client.call(methods.TXN, rpc.TxnRequest(success=[whole, few, whole]))
            assert answer.succeeded
            first, short, last = [each.response_range for each in answer.responses]
            assert first == last
            assert list(short.kvs) == list(first.kvs)[:3]
            assert (short.count, short.more) == (first.count, True)
            assert first.header.revision == answer.header.revision
            again = await client.get(b"k", b"l", revision=answer.header.revision)
            assert list(again.kvs) == list(first.kvs)
        await task


async def writes_for_a_while(client: Client) -> None:
    for each in range(0, KEYS, 100):
        await client.put(b"k%05d" % each, b"new")
        await client.delete(b"k%05d" % (each + 1))


@pytest.mark.parametrize("options", [{}, *KINDS.values()][:-1])
async def test_others_are_answered_while_a_long_range_is_read(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """Server and clients share this loop: what is asked later is answered before."""
    async with serving(tmp_path) as client:
        await fill(client)
        whole = rpc.RequestOp(request_range=rpc.RangeRequest(**ALL, **options))
        request = rpc.TxnRequest(success=[whole] * 120)
        long = asyncio.create_task(client.call(methods.TXN, request))
        between = -1
        while not long.done():
            await client.get(b"k00001")
            between += 1
        assert await long
        # In one turn: what comes before it, and the one that waits for it.
        assert between > 5


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
