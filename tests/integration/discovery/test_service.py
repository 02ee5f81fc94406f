"""Members that find each other through a key-value store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pykvd import Config, Server
from pykvd.bootstrap import BootstrapError
from pykvd.config.urls import URL, format_urls
from pykvd.discovery.errors import DiscoveryError
from pykvd.discovery.service import join
from pykvd.pb import rpc_pb2
from tests.harness import ETCD, PYKVD, Client, Kind, running, wait_until
from tests.harness.certificates import Authority
from tests.harness.methods import COMPACT, PUT, RANGE
from tests.integration.discovery.processes import seekers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pykvd import AsyncClient

TOKEN = "8A591FAB"
ROOT = f"/_etcd/registry/{TOKEN}"
SIZE = f"{ROOT}/_config/size"
RETRYING = "retry connecting to discovery service"
WAITING = "waiting for peers from discovery service"


def put(endpoint: str, key: str, value: str) -> None:
    with Client(endpoint) as client:
        client.call(PUT, rpc_pb2.PutRequest(key=key.encode(), value=value.encode()))


def registered(endpoint: str) -> dict[str, str]:
    """The members at a service: what they say, by ID."""
    prefix = f"{ROOT}/members/".encode()
    request = rpc_pb2.RangeRequest(key=prefix, range_end=prefix[:-1] + b"0")
    with Client(endpoint) as client:
        found = client.call(RANGE, request).kvs
    return {kv.key.removeprefix(prefix).decode(): kv.value.decode() for kv in found}


# Processes


@pytest.mark.parametrize(
    "kind",
    [pytest.param(PYKVD, id="pykvd"), pytest.param(ETCD, id="etcd", marks=pytest.mark.etcd)],
)
def test_three_members(kind: Kind) -> None:
    if not kind.installed():
        pytest.skip(f"{kind.name} is not installed (Debian: etcd-server)")
    with running(kind) as service:
        put(service.endpoint, SIZE, "3")
        flags = (f"--discovery-token={TOKEN}", f"--discovery-endpoints={service.endpoint}")
        with seekers(*flags) as cluster:
            n1, n2, n3 = cluster
            n1.spawn()
            wait_until(lambda: WAITING in n1.messages(), "one to wait for the others", 60.0)
            cluster.start()
            n1.wait_ready()
            n1.call(PUT, rpc_pb2.PutRequest(key=b"k", value=b"v"))
            assert n3.call(RANGE, rpc_pb2.RangeRequest(key=b"k")).kvs[0].value == b"v"
            agreed = {f"{each.id:x}": f"{each.name}={each.peer_url}" for each in cluster}
            assert registered(service.endpoint) == agreed

            late = cluster.another("n4")
            late.spawn()
            assert late.wait_exit() == 1
            assert (
                "failed to start failed to join discovery cluster (discovery: cluster is full)"
                in late.messages()
            )
            assert not late.data.exists()
            assert registered(service.endpoint) == agreed

            own = f"{n2.id:x}"
            n2.stop()
            n2.wipe()  # with its votes and its log: it must not found the cluster again
            n2.spawn()
            assert n2.wait_exit() == 1
            assert f"member {own} has already been bootstrapped" in n2.messages()

            service.stop()  # who has data does not ask it
            n3.stop()
            n3.start()
            assert n3.call(RANGE, rpc_pb2.RangeRequest(key=b"k")).kvs[0].value == b"v"
            assert "discovery token is ignored since cluster already init" in n3.messages()


def test_a_service_that_comes_and_goes() -> None:
    with running(PYKVD) as service:
        put(service.endpoint, SIZE, "2")
        service.stop()
        flags = (
            f"--discovery-token={TOKEN}",
            f"--discovery-endpoints={service.endpoint}",
            "--discovery-request-timeout=500ms",
        )
        with seekers(*flags, names=["n1", "n2"]) as cluster:
            n1, n2 = cluster
            n1.spawn()
            wait_until(lambda: RETRYING in n1.messages(), "it to look again", 60.0)
            assert n1.stop() == 0  # at any time
            assert not n1.data.exists()
            n1.spawn()
            wait_until(lambda: RETRYING in n1.messages(), "it to look again", 60.0)
            service.start()
            wait_until(lambda: WAITING in n1.messages(), "it to wait", 60.0)

            n1.pause()  # what it would go on from is forgotten meanwhile
            service.kill()
            service.start()
            for _ in range(2):
                put(service.endpoint, "other", "")
            with Client(service.endpoint) as client:
                revision = client.call(RANGE, rpc_pb2.RangeRequest(key=b"other")).header.revision
                client.call(COMPACT, rpc_pb2.CompactionRequest(revision=revision))
            n1.resume()
            wait_until(lambda: n1.messages().count(WAITING) == 2, "it to wait again", 60.0)
            n2.spawn()
            n1.wait_ready()
            n2.wait_ready()
            assert len(registered(service.endpoint)) == 2


# In this process


def seeking(service: Server, **options: Any) -> Config:
    """What a member is given."""
    return Config(
        **{
            "name": "n1",
            "initial_advertise_peer_urls": (URL.parse("http://127.0.0.1:1"),),
            "discovery_token": TOKEN,
            "discovery_endpoints": (service.endpoint,),
            "discovery_request_timeout": 2.9,
            **options,
        }
    )


@pytest.fixture
async def service() -> AsyncIterator[Server]:
    """A discovery service for two."""
    async with Server() as server, server.client() as client:
        await client.put(SIZE, "2")
        yield server


@pytest.fixture
async def client(service: Server) -> AsyncIterator[AsyncClient]:
    async with service.client() as client:
        yield client


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (SIZE, None, "discovery: size key not found"),
        (SIZE, "many", "discovery: size key is bad"),
        (f"{ROOT}/members/1", "n1=http://127.0.0.1:2", "discovery: found duplicate name"),
        (f"{ROOT}/members/{{own}}", "n2=http://127.0.0.1:1", "discovery: found duplicate id"),
    ],
)
async def test_what_cannot_be_joined(
    client: AsyncClient, service: Server, key: str, value: str | None, text: str
) -> None:
    """It says so, ends, and has left nothing."""
    own = await _own_id(service, client)
    if value is None:
        await client.delete(key)
    else:
        await client.put(key.format(own=own), value)
    before = await client.range("", "")
    with tempfile.TemporaryDirectory() as home:
        server = Server(seeking(service, data_dir=f"{home}/data"), port=None)
        with pytest.raises(BootstrapError) as caught:
            await server.start()
        assert str(caught.value) == f"failed to join discovery cluster ({text})"
        assert not (Path(home) / "data").exists()
    assert (await client.range("", "")).revision == before.revision


async def _own_id(service: Server, client: AsyncClient) -> str:
    """The ID of the member of `seeking`, as it registers."""
    joining = asyncio.create_task(join(seeking(service)))
    async with client.watch(f"{ROOT}/members/", prefix=True, start_revision=1) as watch:
        key = (await watch.get(timeout=30)).key
    joining.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await joining
    await client.delete(key)
    return key.decode().rpartition("/")[2]


async def test_whoever_goes_while_others_wait_does_not_count(
    client: AsyncClient, service: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await client.put(SIZE, "3")
    joining = asyncio.create_task(join(seeking(service)))
    async with client.watch(f"{ROOT}/members/", prefix=True, start_revision=1) as watch:
        await watch.get(timeout=30)
    await client.put(f"{ROOT}/members/a", "gone=http://127.0.0.1:2")
    await client.delete(f"{ROOT}/members/a")
    await client.put(f"{ROOT}/members/c", "n3=http://127.0.0.1:3,n3=http://127.0.0.1:4")
    await client.put(f"{ROOT}/members/x", "no member")
    await client.put(f"{ROOT}/members/b", "n2=http://127.0.0.1:5")
    async with asyncio.timeout(30):
        members = await joining
    assert {name: format_urls(urls) for name, urls in members.items()} == {
        "n1": "http://127.0.0.1:1",
        "n2": "http://127.0.0.1:5",
        "n3": "http://127.0.0.1:3,http://127.0.0.1:4",
    }
    assert "invalid peer info returned from discovery service" in caplog.text


async def test_a_member_that_was_interrupted_goes_on(client: AsyncClient, service: Server) -> None:
    own = await _own_id(service, client)
    await client.put(f"{ROOT}/members/{own}", "n1=http://127.0.0.1:1")
    await client.put(f"{ROOT}/members/b", "n2=http://127.0.0.1:5")
    async with asyncio.timeout(30):
        assert list(await join(seeking(service))) == ["n1", "n2"]


async def test_a_taken_port_is_noticed_before_anything_is_registered(
    client: AsyncClient, service: Server
) -> None:
    before = await client.range("", "")
    with socket.create_server(("127.0.0.1", 0)) as taken, tempfile.TemporaryDirectory() as home:
        url = URL.parse(f"http://127.0.0.1:{taken.getsockname()[1]}")
        server = Server(seeking(service, data_dir=home, listen_peer_urls=(url,)), port=None)
        with pytest.raises(OSError, match="address already in use"):
            async with asyncio.timeout(30):
                await server.start()
    assert (await client.range("", "")).revision == before.revision


async def test_an_existing_cluster_is_not_discovered(service: Server, tmp_path: Path) -> None:
    config = seeking(service, data_dir=str(tmp_path), initial_cluster_state="existing")
    with pytest.raises(BootstrapError) as caught:
        await Server(config, port=None).start()
    assert str(caught.value) == (
        "discovery URL should not be set when joining existing initial cluster"
    )


async def test_a_service_with_tls_and_users(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, own = authority.issue("server"), authority.issue("member")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = URL.parse(f"https://127.0.0.1:{probe.getsockname()[1]}")
    config = Config(
        data_dir=str(tmp_path / "service"),
        listen_client_urls=(url,),
        advertise_client_urls=(url,),
        listen_peer_urls=(),
        cert_file=str(pair.cert),
        key_file=str(pair.key),
        trusted_ca_file=str(authority.file),
        bcrypt_cost=4,
    )
    async with Server(config) as service, service.client() as client:
        await client.put(SIZE, "1")
        await client.auth.add_user("root", "secret")
        await client.auth.grant_role("root", "root")
        await client.auth.enable()
        given = {
            "discovery_cert": str(own.cert),
            "discovery_key": str(own.key),
            "discovery_cacert": str(authority.file),
            "discovery_user": "root",
        }
        async with asyncio.timeout(30):
            members = await join(seeking(service, **given, discovery_password="secret"))
            assert list(members) == ["n1"]
            with pytest.raises(DiscoveryError, match="invalid user ID or password"):
                await join(seeking(service, **given, discovery_password="wrong"))
            with pytest.raises(DiscoveryError, match="user name is empty"):
                await join(seeking(service, **given))  # half a login is none


async def test_an_endpoint_that_accepts_and_is_silent(
    client: AsyncClient, service: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs the time to dial, not the whole time of a request."""
    await client.put(SIZE, "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoints = (f"127.0.0.1:{silent.getsockname()[1]}", service.endpoint)
        config = seeking(service, discovery_endpoints=endpoints, discovery_dial_timeout=0.5)
        assert list(await join(config)) == ["n1"]
    assert RETRYING not in caplog.text


async def test_files_that_cannot_be_used(service: Server, tmp_path: Path) -> None:
    config = seeking(service, discovery_cacert=str(tmp_path / "nothing.pem"))
    with pytest.raises(DiscoveryError, match=r"nothing\.pem"):
        await join(config)
