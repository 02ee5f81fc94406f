"""Raft messages between members: order, batches, reconnection, refusals, bounds."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pykvd.raft import Message, MessageKind
from tests.harness import free_port
from tests.integration.peer.harness import (
    QUICK,
    Builder,
    Station,
    append,
    connected,
    introduce,
    snapshot_message,
    until,
)
from tests.integration.peer.proxy import Proxy

if TYPE_CHECKING:
    from pathlib import Path


async def test_all_pairs_exchange_batches_in_order(stations: list[Station]) -> None:
    await connected(*stations)
    for number in range(1, 201):
        for one in stations:
            others = [other for other in stations if other is not one]
            one.network.send([append(other.id, one.id, number, bytes(number)) for other in others])
        if number % 7 == 0:
            await asyncio.sleep(0)
    for one in stations:
        await until(lambda one=one: len(one.handler.messages) == 400, "all messages")  # type: ignore[misc]
        for other in stations:
            if other is not one:
                mine = [m for m in one.handler.messages if m.sender == other.id]
                assert mine == [append(one.id, other.id, n, bytes(n)) for n in range(1, 201)]


async def test_messages_of_one_turn_are_one_batch(stations: list[Station]) -> None:
    one, two, _ = stations
    await connected(*stations)
    sent = [append(2, 1, number) for number in range(1, 6)]
    one.network.send(sent[:2])
    one.network.send(sent[2:])
    await until(lambda: bool(two.handler.batches), "the batch")
    assert two.handler.batches == [sent]
    assert one.network.statistics().peers[2].batches_sent == 1


async def test_a_commit_index_travels_with_the_next_append(stations: list[Station]) -> None:
    """Alone it is sent soon nevertheless, sooner if somebody waits, at once if told so."""
    one, two, _ = stations
    await connected(*stations)
    commit = replace(append(2, 1, 1), kind=MessageKind.COMMIT, entries=())
    one.network.send([commit])
    one.network.send([append(2, 1, 1)])
    await until(lambda: bool(two.handler.batches), "the append")
    one.network.send([commit])
    await until(lambda: len(two.handler.batches) == 2, "the commit index")
    one.network.send([commit])
    one.network.hurry(2)
    one.network.hurry(99)
    await asyncio.sleep(0)
    assert one.network.statistics().peers[2].batches_sent == 3
    one.network.send([commit], at_once=True)
    assert one.network.statistics().peers[2].batches_sent == 4
    await until(lambda: len(two.handler.batches) == 4, "all")
    assert two.handler.batches == [[append(2, 1, 1)], [commit], [commit], [commit]]


async def test_first_messages_wait_for_the_dial_under_way(build: Builder) -> None:
    one, two = await build(1), await build(2)
    introduce(one, two)
    one.network.send([append(2, 1, 1)])
    await until(lambda: bool(two.handler.messages), "the message")
    assert one.handler.lost == []


async def test_a_batch_larger_than_every_window_arrives(stations: list[Station]) -> None:
    one, two, _ = stations
    await connected(*stations)
    big = append(2, 1, 1, bytes(range(256)) * (4 << 12) * 5)  # 20 MiB
    one.network.send([big, append(2, 1, 2)])
    await until(lambda: len(two.handler.messages) == 2, "both messages")
    assert two.handler.messages == [big, append(2, 1, 2)]


async def test_restart_of_a_member_is_noticed_and_overcome(stations: list[Station]) -> None:
    one, two, _ = stations
    await connected(*stations)
    await two.stop()
    await until(lambda: one.network.connected_since(2) is None, "the loss")
    assert 2 in one.handler.lost
    one.handler.lost.clear()
    one.network.send([append(2, 1, 1)])
    await until(lambda: 2 in one.handler.lost, "the report")
    two.handler.batches.clear()
    await two.start()
    await until(lambda: one.network.connected_since(2) is not None, "the return")
    one.network.send([append(2, 1, 2)])
    await until(lambda: append(2, 1, 2) in two.handler.messages, "the message")
    assert one.network.statistics().peers[2].connections == 2


async def test_a_member_that_returns_is_dialled_when_it_speaks(build: Builder) -> None:
    """Not only after the longest pause."""
    patient = replace(QUICK, backoff_min=60.0, backoff_max=60.0)
    one, two = await build(1, limits=patient), await build(2)
    await two.stop()
    one.network.set_peer(2, [two.url])
    await until(lambda: bool(one.network.statistics().peers[2].error), "the first failure")
    await two.start()
    introduce(two)
    two.network.set_peer(1, [one.url])
    await connected(one, two)


async def test_new_urls_are_used(stations: list[Station]) -> None:
    one, two, _ = stations
    await connected(*stations)
    await two.stop()
    two.port = free_port()
    await two.start()
    one.network.set_peer(2, ["http://127.0.0.1:1", two.url])
    await until(lambda: one.network.connected_since(2) is not None, "the new address")


async def test_a_dead_connection_is_found_by_silence(stations: list[Station]) -> None:
    one, _, _ = stations
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    one.network.set_peer(9, [f"http://127.0.0.1:{port}"])
    await until(lambda: bool(one.network.statistics().peers[9].error), "the failure")
    assert one.network.connected_since(9) is None
    silent.close()


async def test_a_connection_that_went_silent_is_replaced(build: Builder) -> None:
    """Half open: no byte comes back, and nothing says that the peer is gone."""
    one, two = await build(1), await build(2)
    introduce(one, two)
    async with Proxy(two.port) as proxy:
        one.network.set_peer(2, [proxy.url])
        await until(lambda: proxy.connections == 1, "the proxy to be used")
        await connected(one, two)
        one.handler.lost.clear()
        proxy.freeze()
        await until(lambda: 2 in one.handler.lost, "the loss")
        await until(lambda: proxy.connections == 2, "another connection")
        await connected(one, two)


async def test_cuts_lose_messages_but_keep_their_order_and_are_reported(build: Builder) -> None:
    one, two = await build(1), await build(2)
    introduce(one, two)
    async with Proxy(two.port) as proxy:
        one.network.set_peer(2, [proxy.url])
        await until(lambda: proxy.connections == 1, "the proxy to be used")
        await connected(one, two)
        one.handler.lost.clear()
        number = 0
        while proxy.connections < 6:
            number += 1
            one.network.send([append(2, 1, number, bytes(3000))])
            if proxy.cut_after is None:
                proxy.cut_after = proxy.passed + 500_000
            await asyncio.sleep(0)
        proxy.cut_after = None
        await connected(one, two)
        one.network.send([append(2, 1, number + 1)])
        await until(lambda: append(2, 1, number + 1) in two.handler.messages, "the last one")
    indexes = [message.entries[0].index for message in two.handler.messages]
    assert indexes == sorted(set(indexes))
    assert len(one.handler.lost) >= 5


@pytest.mark.parametrize(
    ("cluster_id", "known_as", "text"),
    [
        (0xBAD, 2, "etcdserver: cluster ID mismatch"),
        (0xC0FFEE, 5, "etcdserver: member ID mismatch: this is 2, not 5"),
    ],
)
async def test_strangers_are_refused(
    build: Builder, cluster_id: int, known_as: int, text: str
) -> None:
    one, two = await build(1, cluster_id=cluster_id), await build(2)
    two.network.set_peer(1, [one.url])
    one.network.set_peer(known_as, [two.url])
    await until(lambda: one.network.statistics().peers[known_as].rejected == text, "the refusal")
    assert one.network.connected_since(known_as) is None
    assert two.handler.batches == []


async def test_a_removed_member_learns_it_at_once_and_on_return(stations: list[Station]) -> None:
    one, two, three = stations
    await connected(*stations)
    two.network.removed.add(1)
    two.network.remove_peer(1)
    await until(lambda: one.handler.removed == 1, "the news")
    assert "permanently removed" in one.network.statistics().peers[2].rejected
    three.network.removed.add(1)
    one.network.send([append(3, 1, 1)])
    await until(lambda: "removed" in one.network.statistics().peers[3].rejected, "the second news")
    assert one.handler.removed == 1
    assert three.handler.messages == []
    await one.stop()
    await one.start()
    one.network.set_peer(2, [two.url])
    await until(lambda: one.handler.removed == 2, "the refusal on return")


async def test_an_unknown_member_of_the_cluster_is_answered(build: Builder) -> None:
    """A member that lags behind must be able to hear a leader that joined meanwhile."""
    behind, leader = await build(1), await build(2)
    leader.network.set_peer(2, [leader.url])
    leader.network.set_peer(1, [behind.url])
    answer = Message(MessageKind.APPEND_RESPONSE, 2, 1, term=1, index=1)
    behind.handler.on_receive = lambda messages: behind.network.send([answer])
    leader.network.send([append(1, 2, 1)])
    await until(lambda: leader.handler.messages == [answer], "the answer")
    leader.network.remove_peer(1)
    await until(lambda: not behind.network.statistics().peers, "the stranger to be forgotten")


async def test_an_unknown_member_without_urls_is_refused(build: Builder) -> None:
    one, two = await build(1), await build(2)
    one.network.set_peer(2, [two.url])
    refused = "etcdserver: unknown member 1"
    await until(lambda: one.network.statistics().peers[2].rejected == refused, "the refusal")


async def test_a_peer_that_reads_nothing_costs_bounded_memory(build: Builder) -> None:
    """Repeated messages are dropped, others kept, and Raft hears of it."""
    tight = replace(QUICK, queue_bytes=1 << 20, keepalive_interval=5.0, keepalive_timeout=20.0)
    one, two = await build(1, limits=tight), await build(2)
    two.network.set_peer(1, [one.url])
    one.network.set_peer(2, [two.url])
    await connected(one, two)
    for protocol in list(two.server._protocols):
        protocol._transport.pause_reading()
    vote = Message(MessageKind.VOTE, 2, 1, term=9)
    number = 0
    while not one.network.statistics().peers[2].messages_dropped:
        number += 1
        one.network.send([append(2, 1, number, bytes(100_000))])
        if one.network.statistics().peers[2].queued_messages == 1:
            one.network.send([vote])
        await asyncio.sleep(0)
        assert number < 1000
    statistics = one.network.statistics().peers[2]
    assert statistics.queued_bytes <= 1 << 20
    assert 2 in one.handler.lost
    for protocol in list(two.server._protocols):
        protocol._transport.resume_reading()
    await until(lambda: vote in two.handler.messages, "the vote")


async def test_unix_sockets(build: Builder, tmp_path: Path) -> None:
    one, two = await build(1), await build(2)
    await two.server.listen_unix(str(tmp_path / "peer.sock"))
    two.network.set_peer(1, [one.url])
    one.network.set_peer(2, [f"unix://{tmp_path}/peer.sock"])
    one.network.send([append(2, 1, 1)])
    await until(lambda: bool(two.handler.messages), "the message")


async def test_a_url_that_needs_tls_is_refused_without(stations: list[Station]) -> None:
    one = stations[0]
    one.network.set_peer(7, ["https://127.0.0.1:2380"])
    text = "needs TLS, and none is set up"
    await until(lambda: text in one.network.statistics().peers[7].error, "the reason")


async def test_snapshots_do_not_go_with_messages(stations: list[Station]) -> None:
    with pytest.raises(ValueError, match="SNAPSHOT"):
        stations[0].network.send([snapshot_message(2, 1)])
