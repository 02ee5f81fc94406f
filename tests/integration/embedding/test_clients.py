"""The clients of embedded servers: `server.client()`, without a socket, and those of others."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import pykvd
from pykvd.client import EtcdError, KeyValue, Unavailable, put, version

SESSIONS = Path(__file__).parent / "beside"
ROOT = Path(__file__).resolve().parents[3]


def test_a_session_without_a_socket() -> None:
    with pykvd.serve(port=None) as server, server.client() as client:
        client.put("a", "1")
        found = client.get("a")
        assert isinstance(found, KeyValue)
        assert found.value == b"1"
        draft = client.txn().when(version("b") == 0).then(put("b", "2"))
        assert draft.commit().succeeded
        assert [item.key for item in client.scan("", prefix=True)] == [b"a", b"b"]
        with client.lease(60) as lease:
            client.put("c", "3", lease=lease)
        assert client.get("c") is None


def test_a_watch_outlives_a_restart_of_the_server() -> None:
    with pykvd.serve(port=None) as server, server.client() as client:
        first = client.put("k", "0").revision
        with client.watch("k", start_revision=first) as events:
            assert next(events).value == b"0"
            server.restart()
            client.put("k", "1")
            assert next(events).value == b"1"


async def test_a_session_on_the_servers_loop() -> None:
    async with pykvd.Server(port=None) as server, server.client() as client:
        await client.put("a", "1")
        found = await client.get("a")
        assert found is not None
        assert found.value == b"1"
        async with client.watch("a") as events:
            await client.put("a", "2")
            assert (await anext(events)).value == b"2"


async def test_servers_on_one_loop_start_and_stop_again() -> None:
    async with pykvd.Server() as first, pykvd.Server() as second:
        endpoint = first.endpoint
        assert endpoint != second.endpoint
        async with first.client() as client:
            await client.put("k", "v")
            await first.stop()
            with pytest.raises(Unavailable):
                await client.get("k", timeout=0.1)
            await first.start()
            assert first.endpoint == endpoint
            found = await client.get("k")
            assert found is not None
    with pytest.raises(RuntimeError, match="the server is closed"):
        await first.start()


def test_a_server_on_a_loop_in_another_thread() -> None:
    """Nothing of it needs the main thread."""

    async def session() -> bytes:
        async with pykvd.Server() as server, server.client() as client:
            await client.put("k", "v")
            found = await client.get("k")
            assert found is not None
            return found.value

    with ThreadPoolExecutor(2) as pool:
        sessions = [pool.submit(asyncio.run, session()) for _ in range(2)]
        assert [each.result(20) for each in sessions] == [b"v", b"v"]


WRONG: list[tuple[Callable[[Any], object], type[Exception], str]] = [
    (lambda client: client.put(7, "v"), TypeError, "key"),
    (lambda client: client.put("k", None), TypeError, "value"),
    (lambda client: client.put("", "v"), ValueError, "key"),
    (lambda client: client.put("k", bytes(3_000_000)), ValueError, "bytes"),
    (lambda client: client.get("k", revision="now"), TypeError, "revision"),
    (lambda client: client.get("k", timeout="soon"), TypeError, "timeout"),
]


@pytest.mark.parametrize(("call", "error", "named"), WRONG)
def test_what_cannot_be_sent_is_told_before(
    call: Callable[[Any], object], error: type[Exception], named: str
) -> None:
    """In-process as over the wire, and nothing reaches the server."""
    with pykvd.serve() as server, server.client() as local, pykvd.Client(server.endpoint) as wire:
        said = []
        for client in (local, wire):
            with pytest.raises(error, match=named) as caught:
                call(client)
            said.append(str(caught.value))
        assert said[0] == said[1]
        assert local.put("probe", "").revision == 2


def test_a_closed_server_and_a_closed_client_say_so_at_once() -> None:
    server = pykvd.serve()
    with server:
        client = server.client()
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.get("k")
        client = server.client()
    with pytest.raises(EtcdError, match="the embedded server is closed"):
        client.get("k")
    client.close()


async def test_an_async_client_of_a_closed_server_says_so_at_once() -> None:
    async with pykvd.Server() as server:
        client = server.client()
    with pytest.raises(EtcdError, match="the embedded server is closed"):
        await client.get("k")
    await client.close()


def test_a_cluster_is_served_by_one_client() -> None:
    with pykvd.serve_cluster(3) as cluster, cluster.client() as client:
        client.put("k", "v")
        cluster.leader().kill()
        found = client.get("k")
        assert found is not None
        assert found.value == b"v"


@pytest.mark.parametrize("name", ["with_aetcd", "with_pyetcd"])
def test_other_clients_live_in_the_same_process(name: str) -> None:
    """Their generated code and ours share one process with the server."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SESSIONS / f"{name}.py")],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout) == (0, "b'v' b'v'\n"), done.stderr
