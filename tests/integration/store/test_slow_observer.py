"""An observer of an election that does not read fills no memory, and misses nothing for it."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from pykvd.embed import Server
from pykvd.pb import v3election_pb2 as electionpb
from tests.harness import methods
from tests.integration.store.serving import config, connected, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROCLAMATIONS = 40
VALUE_BYTES = 500_000


def slow_watchers(port: int) -> int:
    """What the server says of watches that wait for their readers."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        for line in page.read().decode().splitlines():
            if line.startswith("etcd_debugging_mvcc_slow_watcher_total "):
                return int(float(line.split()[1]))
    raise AssertionError("no such metric")


async def test_values_wait_in_the_store(tmp_path: Path) -> None:
    async with Server(config(tmp_path)) as server, connected(server) as client:
        campaign = electionpb.CampaignRequest(name=b"n")
        leader = (await client.call(methods.CAMPAIGN, campaign)).leader
        observe = client.channel.unary_stream(
            "/v3electionpb.Election/Observe",
            request_serializer=electionpb.LeaderRequest.SerializeToString,
            response_deserializer=electionpb.LeaderResponse.FromString,
        )(electionpb.LeaderRequest(name=b"n"))
        answers: AsyncIterator[electionpb.LeaderResponse] = aiter(observe)
        assert (await anext(answers)).kv.value == b""
        values = [b"%d" % number * (VALUE_BYTES // 2) for number in range(10, PROCLAMATIONS + 10)]
        for value in values:
            proclaim = electionpb.ProclaimRequest(leader=leader, value=value)
            await client.call(methods.PROCLAIM, proclaim)
        port = server.addresses[-1][1]

        async def waits() -> bool:
            return await asyncio.to_thread(slow_watchers, port) == 1

        await eventually(waits, "the watch to wait for its reader")
        assert [(await anext(answers)).kv.value for _ in values] == values
        observe.cancel()
