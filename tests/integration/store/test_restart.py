"""What a member still knows after a stop and a start."""

import json
from pathlib import Path

import grpc
import pytest

from pykvd.config import Config
from pykvd.embed import Server
from pykvd.logs import open_log
from pykvd.pb import rpc_pb2 as rpc
from pykvd.wal import DataDirLocked, WalDamaged
from tests.harness import methods
from tests.integration.store.serving import (
    Client,
    config,
    connected,
    eventually,
    refused,
    serving,
)

ALL_FIELDS = ("key", "create_revision", "mod_revision", "version", "value", "lease")


async def everything(client: Client) -> dict[str, object]:
    """All keys with all their fields, and the hash of their history."""
    answer = await client.all()
    hashed = await client.hash_kv()
    return {
        "kvs": [tuple(getattr(kv, name) for name in ALL_FIELDS) for kv in answer.kvs],
        "revision": answer.header.revision,
        "hash": (hashed.hash, hashed.compact_revision, hashed.hash_revision),
        "members": (await client.call(methods.MEMBER_LIST)).members,
    }


async def test_a_restart_keeps_keys_history_alarms_and_compaction(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        await client.grant(7, 3600)
        for number in range(50):
            await client.put(b"k%d" % (number % 7), b"%d" % number, 7 if number % 3 else 0)
        await client.delete(b"k1")
        await client.compact(20)
        await client.alarm(rpc.AlarmRequest.ACTIVATE, rpc.NOSPACE, 5)
        before = await everything(client)
        old = await client.get(b"\x00", b"\x00", revision=25)
        keys = sorted((await client.time_to_live(7)).keys)
    for _ in range(2):
        async with serving(tmp_path) as client:
            assert await everything(client) == before
            assert (await client.get(b"\x00", b"\x00", revision=25)).kvs == old.kvs
            assert sorted((await client.time_to_live(7)).keys) == keys
            assert await client.alarm(rpc.AlarmRequest.GET) == [rpc.NOSPACE]
            async with refused(
                grpc.StatusCode.OUT_OF_RANGE,
                "etcdserver: mvcc: required revision has been compacted",
            ):
                await client.get(b"k2", revision=19)


async def test_a_log_that_was_cut_into_segments_is_released_and_replayed(tmp_path: Path) -> None:
    """Snapshot marks every few entries, so that starts see every kind of log."""
    expected = 0
    for _ in range(4):
        async with serving(tmp_path, snapshot_count=5) as client:
            assert len((await client.all()).kvs) == expected
            for _ in range(12):
                await client.put(b"k%03d" % expected)
                expected += 1


async def test_a_graceful_stop_keeps_the_remaining_time_of_leases(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        await client.grant(7, 100)

        async def has_aged() -> bool:
            return (await client.time_to_live(7)).TTL <= 97

        await eventually(has_aged, "a lease to lose three seconds")
    async with serving(tmp_path) as client:
        lease = await client.time_to_live(7)
        # The new leader gives one election timeout on top.
        assert 90 < lease.TTL <= 98
        assert lease.grantedTTL == 100


async def test_restarts_do_not_lengthen_leases(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        await client.grant(7, 100)
    for _ in range(3):
        async with serving(tmp_path) as client:
            assert (await client.time_to_live(7)).TTL <= 101


async def test_an_expired_lease_takes_its_keys_along(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        await client.grant(7, 1)
        await client.put(b"leased", lease=7)
        await client.put(b"free")

        async def is_gone() -> bool:
            return [kv.key for kv in (await client.all()).kvs] == [b"free"]

        await eventually(is_gone, "the lease to expire")
        assert (await client.time_to_live(7)).TTL == -1
    async with serving(tmp_path) as client:
        assert (await client.time_to_live(7)).TTL == -1


async def test_a_directory_of_another_name_is_told_and_the_member_renamed(tmp_path: Path) -> None:
    path, data = tmp_path / "log", tmp_path / "data"
    async with serving(data, name="before"):
        pass
    with open_log(outputs=[str(path)]):
        async with serving(data, name="after") as client:
            members = await client.call(methods.MEMBER_LIST)
        async with serving(data, name="after"):
            pass
    assert [member.name for member in members.members] == ["after"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = [line for line in lines if line["msg"] == "server has already been initialized"]
    assert [(line["data-dir"], line["dir-type"]) for line in found] == [(str(data), "member")] * 2
    (told,) = [line for line in lines if line["msg"].endswith("renaming the member")]
    assert (told["level"], told["known-as"], told["name"]) == ("warn", "before", "after")


async def test_a_second_server_on_a_directory_is_refused(tmp_path: Path) -> None:
    async with Server(config(tmp_path)) as first, connected(first) as client:
        for _ in range(2):
            with pytest.raises(DataDirLocked):
                await Server(config(tmp_path)).start()
        await client.put(b"k")
    async with serving(tmp_path) as client:
        assert len((await client.all()).kvs) == 1


async def test_a_start_that_fails_leaves_the_directory_to_the_next(tmp_path: Path) -> None:
    """In the same process too: whoever embeds a server may mend what is wrong and try again."""
    async with serving(tmp_path) as client:
        await client.put(b"k")
    (segment,) = (tmp_path / "member" / "wal").glob("*.wal")
    sound = segment.read_bytes()
    damaged = bytearray(sound)
    damaged[70] ^= 1
    segment.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(WalDamaged):
            await Server(config(tmp_path)).start()
    segment.write_bytes(sound)
    async with serving(tmp_path) as client:
        assert len((await client.all()).kvs) == 1


async def test_a_port_in_use_leaves_the_directory_to_the_next(tmp_path: Path) -> None:
    async with Server(config(tmp_path / "a")) as first:
        host, port = first.addresses[0]
        taken = Config.from_args(
            [
                f"--data-dir={tmp_path / 'b'}",
                f"--listen-client-urls=http://{host}:{port}",
                f"--advertise-client-urls=http://{host}:{port}",
            ],
            {},
        )
        for _ in range(2):
            with pytest.raises(OSError, match="in use"):
                await Server(taken).start()
    async with serving(tmp_path / "b") as client:
        assert (await client.all()).count == 0
