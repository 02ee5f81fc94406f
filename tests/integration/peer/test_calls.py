"""Forwarded calls, and the list of members for one that joins."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pykvd.peer import fetch_members
from pykvd.transport import Code, RpcError
from tests.integration.peer.harness import (
    CLUSTER,
    QUICK,
    Builder,
    Station,
    connected,
    introduce,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path


async def test_answers_and_errors_come_back(stations: list[Station]) -> None:
    network = stations[0].network
    assert await network.call(2, "echo", b"\x00payload", 60.0) == b"echo:\x00payload"
    assert await network.call(3, "", b"", 60.0) == b":"
    large = bytes(5 << 20)
    assert await network.call(2, "echo", large, 60.0) == b"echo:" + large
    with pytest.raises(RpcError, match="NOT_FOUND: etcdserver: requested lease not found"):
        await network.call(2, "fail", b"", 60.0)
    with pytest.raises(RpcError, match="UNKNOWN: internal error"):
        await network.call(2, "break", b"", 60.0)


async def test_many_at_once(stations: list[Station]) -> None:
    network = stations[0].network
    answers = await asyncio.gather(*(network.call(2, "n", b"%d" % n, 60.0) for n in range(300)))
    assert answers == [b"n:%d" % n for n in range(300)]


async def test_time_limit_ends_the_call_on_both_sides(stations: list[Station]) -> None:
    one, two, _ = stations
    await one.network.call(2, "echo", b"", 60.0)
    with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
        await one.network.call(2, "wait", b"", 0.5)
    await until(lambda: two.handler.cancelled == ["wait"], "the far side to give up")


async def test_a_cancelled_call_is_cancelled_on_the_other_side(stations: list[Station]) -> None:
    one, two, _ = stations
    await one.network.call(2, "echo", b"", 60.0)
    call = asyncio.ensure_future(one.network.call(2, "wait", b"", 60.0))
    await until(lambda: bool(two.network._desk._tasks), "the call to arrive")
    call.cancel()
    await until(lambda: two.handler.cancelled == ["wait"], "the far side to give up")
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_unreachable_and_unknown_peers_fail_at_once(stations: list[Station]) -> None:
    one, two, _ = stations
    await one.network.call(2, "echo", b"", 60.0)
    call = asyncio.ensure_future(one.network.call(2, "wait", b"", 60.0))
    await until(lambda: bool(two.network._desk._tasks), "the call to arrive")
    await two.stop()
    with pytest.raises(RpcError) as lost:
        await call
    assert lost.value.code == Code.UNAVAILABLE
    await until(lambda: one.network.connected_since(2) is None, "the loss")
    with pytest.raises(RpcError, match="UNAVAILABLE"):
        await one.network.call(2, "echo", b"", 60.0)
    with pytest.raises(RpcError, match="UNAVAILABLE: peer 9 is unknown"):
        await one.network.call(9, "echo", b"", 60.0)


async def test_calls_being_served_are_bounded(build: Builder) -> None:
    one, two = await build(1), await build(2, limits=replace(QUICK, max_calls=2))
    introduce(one, two)
    await connected(one, two)
    waiting = [asyncio.ensure_future(one.network.call(2, "wait", b"", 60.0)) for _ in range(2)]
    await until(lambda: len(two.network._desk._tasks) == 2, "both calls to arrive")
    with pytest.raises(RpcError, match="RESOURCE_EXHAUSTED: etcdserver: too many requests"):
        await one.network.call(2, "echo", b"", 60.0)
    for call in waiting:
        call.cancel()
    await until(lambda: not two.network._desk._tasks, "both to be given up")
    assert await one.network.call(2, "echo", b"", 60.0) == b"echo:"


async def test_a_graceful_stop_of_the_listener_frees_the_peers(stations: list[Station]) -> None:
    """Streams that would last for ever do not hold it up."""
    one, two, _ = stations
    await connected(*stations)
    await asyncio.wait_for(two.server.drain(30.0), 60.0)
    await until(lambda: 2 in one.handler.lost, "the loss")


async def test_a_joining_member_fetches_the_members(stations: list[Station]) -> None:
    urls = ["http://127.0.0.1:1", stations[1].url]
    assert await fetch_members(urls, 60.0) == (CLUSTER, [b"one", b"", b"three"])


async def test_fetching_members_tells_what_went_wrong_everywhere(
    tmp_path: Path, no_leaks: None
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    urls = ["http://127.0.0.1:1", f"http://127.0.0.1:{port}", "https://127.0.0.1:2"]
    with pytest.raises(RpcError) as failure:
        await fetch_members(urls, 0.3)
    assert failure.value.code == Code.UNAVAILABLE
    assert all(url in failure.value.message for url in urls)
    silent.close()
