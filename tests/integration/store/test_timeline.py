"""When revisions were written, as the server tells it."""

import time
from pathlib import Path

import grpc

from pykvd.pb import pykvd_pb2 as pb
from tests.harness.methods import Method
from tests.integration.store.serving import Client, eventually, refused, serving

REVISION_AT = Method("/pykvdpb.Timeline/RevisionAt", pb.RevisionAtRequest, pb.RevisionAtResponse)
TIMES = Method("/pykvdpb.Timeline/Times", pb.TimesRequest, pb.TimesResponse)
SECOND = 1_000_000_000


async def revision_at(client: Client, time_ns: int) -> pb.RevisionAtResponse:
    return await client.call(REVISION_AT, pb.RevisionAtRequest(time_ns=time_ns))


async def times(client: Client, *revisions: int) -> list[int]:
    return list((await client.call(TIMES, pb.TimesRequest(revisions=revisions))).times_ns)


async def test_revisions_have_times_through_restarts_until_they_are_compacted(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as client:
        begin = time.time_ns()
        for number in range(5):
            await client.put(b"k", b"%d" % number)
        end = time.time_ns()
        assert (await revision_at(client, begin - SECOND)).revision == 1
        assert (await revision_at(client, end + SECOND)).revision == 6
    for _ in range(2):
        async with serving(tmp_path) as client:
            assert (await revision_at(client, begin - SECOND)).revision == 1
            late = await revision_at(client, end + SECOND)
            assert (late.revision, late.compact_revision, late.header.revision) == (6, -1, 6)
            assert begin <= late.time_ns <= end
            assert all(begin <= each <= end for each in await times(client, 2, 4, 6))
            assert await times(client, 1, 7, -1) == [0, 0, 0]
    async with serving(tmp_path) as client:
        await client.compact(6)
        assert (await revision_at(client, end + SECOND)).compact_revision == 6


async def test_a_time_before_everything_that_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        begin = time.time_ns()
        await client.put(b"k", b"1")

        async def a_second_has_passed() -> bool:
            return time.time_ns() > begin + SECOND + SECOND // 10

        # A sample of its own: the resolution is a second.
        await eventually(a_second_has_passed, "the next sample")
        await client.put(b"k", b"2")
        await client.compact(3)
        async with refused(
            grpc.StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"
        ):
            await revision_at(client, begin - SECOND)
        assert (await revision_at(client, time.time_ns() + SECOND)).revision == 3
