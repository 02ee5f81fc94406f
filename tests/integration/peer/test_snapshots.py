"""Snapshots: cuts resume, damage is detected, bounds hold."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pykvd.peer import wire
from pykvd.peer.channel import Channel
from tests.integration.peer.harness import (
    QUICK,
    Builder,
    Station,
    connected,
    introduce,
    snapshot_message,
    until,
)
from tests.integration.peer.proxy import Proxy

if TYPE_CHECKING:
    from pathlib import Path


MIB = 1 << 20


@pytest.fixture
async def pair(build: Builder) -> tuple[Station, Station]:
    """A sender (1) and a receiver (2)."""
    one, two = await build(1), await build(2)
    introduce(one, two)
    return one, two


def make_file(tmp_path: Path, size: int) -> tuple[Path, bytes]:
    path = tmp_path / "state.db"
    data = random.Random(size).randbytes(size)
    path.write_bytes(data)
    return path, data


@pytest.mark.parametrize("size", [0, 1, QUICK.chunk_bytes, 3 * QUICK.chunk_bytes + 1])
async def test_arrives_whole(pair: tuple[Station, Station], tmp_path: Path, size: int) -> None:
    one, two = pair
    path, data = make_file(tmp_path, size)
    message = snapshot_message(2, 1)
    await one.network.send_snapshot(message, path)
    assert one.handler.sent == [(2, True)]
    assert two.handler.snapshots == [(message, data)]
    assert two.scratch_files == []
    assert one.network.statistics().peers[2].snapshot_size == 0


async def test_a_cut_in_the_middle_of_50_mib_resumes(
    pair: tuple[Station, Station], tmp_path: Path
) -> None:
    one, two = pair
    path, data = make_file(tmp_path, 50 * MIB)
    async with Proxy(two.port) as proxy:
        one.network.set_peer(2, [proxy.url])
        await until(lambda: one.network.connected_since(2) is not None, "the connection")
        proxy.cut_after = 25 * MIB
        await one.network.send_snapshot(snapshot_message(2, 1), path)
        assert proxy.connections >= 3  # messages, and the snapshot twice
        # What was in flight at the cut is all that was sent again.
        assert proxy.passed < 50 * MIB + 8 * MIB
    assert one.handler.sent == [(2, True)]
    assert [received == data for _, received in two.handler.snapshots] == [True]


async def test_a_restarted_receiver_goes_on_with_what_it_had(
    pair: tuple[Station, Station], tmp_path: Path
) -> None:
    one, two = pair
    path, data = make_file(tmp_path, 20 * MIB)
    async with Proxy(two.port) as proxy:
        one.network.set_peer(2, [proxy.url])
        await until(lambda: one.network.connected_since(2) is not None, "the connection")
        sending = asyncio.ensure_future(one.network.send_snapshot(snapshot_message(2, 1), path))
        await until(lambda: proxy.passed > 10 * MIB, "half of it")
        await two.stop()
        kept = sum(file.stat().st_size for file in two.scratch_files)
        assert kept > MIB
        await two.start()
        two.network.set_peer(1, [one.url])
        await sending
        assert proxy.passed < 20 * MIB + 8 * MIB
    assert one.handler.sent == [(2, True)]
    assert [received == data for _, received in two.handler.snapshots] == [True]


async def test_a_damaged_chunk_is_sent_again(pair: tuple[Station, Station], tmp_path: Path) -> None:
    one, two = pair
    path, data = make_file(tmp_path, 3 * MIB)
    async with Proxy(two.port) as proxy:
        one.network.set_peer(2, [proxy.url])
        await until(lambda: one.network.connected_since(2) is not None, "the connection")
        # In the payload of some frame: the checksum, not HTTP/2, must find it.
        proxy.damage_at = proxy.passed + MIB + 5000
        await one.network.send_snapshot(snapshot_message(2, 1), path)
        assert proxy.damage_at is None
    assert one.handler.sent == [(2, True)]
    assert [received == data for _, received in two.handler.snapshots] == [True]


async def test_a_damaged_remnant_is_found_by_the_digest(
    pair: tuple[Station, Station], tmp_path: Path
) -> None:
    """After a crash the tail of the partial file may be anything."""
    one, two = pair
    path, data = make_file(tmp_path, 2 * MIB)
    partial = await _leave_partial(one, two, path)
    partial.write_bytes(bytes(MIB))
    await one.network.send_snapshot(snapshot_message(2, 1), path)
    assert one.handler.sent[-1] == (2, True)
    assert [received == data for _, received in two.handler.snapshots] == [True]
    assert two.scratch_files == []


async def _leave_partial(one: Station, two: Station, path: Path) -> Path:
    """Cut a transfer short, and give it up."""
    async with Proxy(two.port) as proxy:
        proxy.cut_after = MIB
        hasty = Station(1, path.parent / "hasty", limits=replace(QUICK, snapshot_attempts=1))
        await hasty.start()
        hasty.network.set_peer(2, [proxy.url])
        await until(lambda: hasty.network.connected_since(2) is not None, "the connection")
        await hasty.network.send_snapshot(snapshot_message(2, 1), path)
        assert hasty.handler.sent == [(2, False)]
        await hasty.stop()
    (partial,) = two.scratch_files
    return partial


async def test_a_newer_snapshot_replaces_what_is_left_of_an_older_one(
    pair: tuple[Station, Station], tmp_path: Path
) -> None:
    one, two = pair
    path, _ = make_file(tmp_path, 2 * MIB)
    partial = await _leave_partial(one, two, path)
    two.handler.install_gate = asyncio.Event()
    newer = asyncio.ensure_future(one.network.send_snapshot(snapshot_message(2, 1, 8), path))
    await until(lambda: two.scratch_files not in ([], [partial]), "the newer one")
    assert partial not in two.scratch_files
    two.handler.install_gate.set()
    await newer


async def test_a_cut_while_installing_does_not_disturb_it(
    pair: tuple[Station, Station], tmp_path: Path
) -> None:
    """Nor is the file sent twice: the next attempt waits for the installation."""
    one, two = pair
    path, data = make_file(tmp_path, MIB)
    two.handler.install_gate = asyncio.Event()
    async with Proxy(two.port) as proxy:
        # Messages take the first way, attempts to send a snapshot begin with the second.
        one.network.set_peer(2, [two.url, proxy.url])
        await connected(one, two)
        sending = asyncio.ensure_future(one.network.send_snapshot(snapshot_message(2, 1), path))
        await until(lambda: two.network._receiver._installing is not None, "the installation")
        proxy.cut_after = 0  # at the next byte, which is a ping
        await until(
            lambda: one.network.statistics().peers[2].snapshot_sent == MIB, "the receiver's word"
        )
        two.handler.install_gate.set()
        await sending
    assert one.handler.sent == [(2, True)]
    assert [received == data for _, received in two.handler.snapshots] == [True]


async def test_removing_the_peer_ends_the_attempts(
    pair: tuple[Station, Station], tmp_path: Path
) -> None:
    one, two = pair
    path, _ = make_file(tmp_path, 40 * MIB)
    async with Proxy(two.port) as proxy:
        one.network.set_peer(2, [proxy.url])
        await until(lambda: proxy.connections > 0, "the proxy to be used")
        sending = asyncio.ensure_future(one.network.send_snapshot(snapshot_message(2, 1), path))
        await until(lambda: proxy.passed > MIB, "the beginning")
        one.network.remove_peer(2)
        await sending
    assert one.handler.sent == [(2, False)]
    assert two.handler.snapshots == []


async def test_too_large_and_unreadable_ones_fail(build: Builder, tmp_path: Path) -> None:
    one, two = await build(1), await build(2, limits=replace(QUICK, max_snapshot_bytes=MIB))
    introduce(one, two)
    path, _ = make_file(tmp_path, MIB + 1)
    await one.network.send_snapshot(snapshot_message(2, 1), path)
    await one.network.send_snapshot(snapshot_message(2, 1), tmp_path / "missing")
    await one.network.send_snapshot(snapshot_message(9, 1), path)
    assert one.handler.sent == [(2, False), (2, False), (9, False)]
    assert two.handler.snapshots == []
    assert two.scratch_files == []


def _offer(size: int) -> bytes:
    return wire.encode_offer(wire.Offer(bytes(16), size, snapshot_message(2, 1)))


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([b"junk"], "peer: malformed part of a snapshot"),
        ([wire.encode_chunk(0, b"x")], "peer: a snapshot begins with its offer"),
        ([_offer(5), wire.encode_chunk(1, b"x")], "peer: chunk at 1 is misplaced"),
        ([_offer(5), wire.encode_chunk(0, b"123456")], "peer: chunk at 0 is misplaced"),
        ([_offer(5), wire.encode_chunk(0, b"12345")], "peer: snapshot ended early"),
        ([_offer(5), wire.encode_digest(bytes(32))], "peer: snapshot has 0 of 5 bytes"),
        (
            [_offer(5), wire.encode_chunk(0, b"12345"), wire.encode_digest(bytes(32))],
            "peer: snapshot does not match its digest",
        ),
        (
            [_offer(5), wire.encode_chunk(0, b"12345")[:-1] + b"6"],
            "peer: snapshot chunk at 0 is damaged",
        ),
        ([_offer(5), _offer(5)], "peer: a snapshot has one offer"),
    ],
)
async def test_broken_transfers(
    pair: tuple[Station, Station], parts: list[bytes], text: str
) -> None:
    _, two = pair
    channel = await Channel.connect(two.url, QUICK)
    greeting = wire.Greeting(0xC0FFEE, 1, 2)
    call = channel.open(wire.SNAPSHOT, greeting.metadata())
    for part in parts:
        channel.send(call, part, last=part is parts[-1])
    await until(lambda: call.code is not None, "the status")
    assert call.text == text
    assert two.handler.snapshots == []
    await channel.wait_closed()
