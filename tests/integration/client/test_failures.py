"""Lost, silent and half-dead servers: what is repeated, what is not, and how long it takes."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from pykvd.client import DeadlineExceeded, Unavailable, version
from pykvd.client import put as putting
from tests.harness import Server, wait_until
from tests.integration.client.blocked import Loop, Making
from tests.integration.peer.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pykvd.client import Client


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def proxy(loop: Loop, server: Server) -> Iterator[Proxy]:
    """Between the client and the server."""
    proxy = Proxy(server.client_port)
    loop.run(proxy.__aenter__())
    yield proxy
    loop.run(proxy.__aexit__())


@pytest.fixture
def dead_end(loop: Loop) -> Iterator[Proxy]:
    """Accepts connections for a server that is gone, as proxies of containers do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        proxy = Proxy(probe.getsockname()[1])
    loop.run(proxy.__aenter__())
    yield proxy
    loop.run(proxy.__aexit__())


def endpoint(proxy: Proxy) -> str:
    return f"127.0.0.1:{proxy.port}"


WRITES: dict[str, Callable[[Client, str], Any]] = {
    "put": lambda client, key: client.put(key, "twice?"),
    "txn": lambda client, key: client.txn().then(putting(key, "twice?")).commit(),
    "queue": lambda client, key: client.queue(key).put("twice?"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_cut_off_after_it_was_sent_is_not_repeated(
    make: Making, server: Server, proxy: Proxy, name: str, write: str
) -> None:
    direct, client = make(server.endpoint), make([endpoint(proxy), server.endpoint])
    wait_until(lambda: bool(client.get(name) is None and proxy.connections), "a warm connection")
    client = make(endpoint(proxy))
    client.get(name)
    before = direct.maintenance.status().revision
    connections = proxy.connections
    proxy.cut_after = proxy.passed + 1
    with pytest.raises(Unavailable) as lost:
        WRITES[write](client, name)
    assert lost.value.maybe_applied
    assert proxy.connections == connections
    assert direct.maintenance.status().revision <= before + 1
    WRITES[write](client, name)


def test_a_read_cut_off_after_it_was_sent_is(make: Making, proxy: Proxy, name: str) -> None:
    client = make(endpoint(proxy))
    client.put(name, "value")
    proxy.cut_after = proxy.passed + 1
    found = client.get(name)
    assert found is not None
    assert (found.value, proxy.connections) == (b"value", 2)
    proxy.cut_after = proxy.passed + 1
    assert not client.txn().when(version(name) == 0).commit()
    assert proxy.connections == 3


def test_a_write_goes_past_servers_that_cannot_be_reached(
    make: Making, server: Server, dead_end: Proxy, name: str
) -> None:
    client = make([endpoint(dead_end), "127.0.0.1:1", server.endpoint])
    for _ in range(6):
        client.put(name, "once")
    found = client.get(name)
    assert found is not None
    assert found.version == 6
    assert dead_end.connections


def test_a_watch_goes_on_after_cuts(make: Making, server: Server, proxy: Proxy, name: str) -> None:
    client, writer = make(endpoint(proxy)), make(server.endpoint)
    with client.watch(name) as watch:
        for index in range(5):
            writer.put(name, str(index))
            if index % 2:
                proxy.cut_after = 0
                client_touches(client, name)
        assert [watch.get(timeout=10).value for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


def client_touches(client: Client, name: str) -> None:
    """Makes some traffic, which the proxy cuts."""
    client.get(name)


async def _freeze(proxy: Proxy) -> None:
    proxy.freeze()


def test_a_silent_server(make: Making, loop: Loop, proxy: Proxy, name: str) -> None:
    client = make(endpoint(proxy))
    for write in (True, False):
        client.put(name, "before")
        loop.run(_freeze(proxy))
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded) as silent:
            client.put(name, "", timeout=0.5) if write else client.get(name, timeout=0.5)
        assert time.monotonic() - start > 0.4
        assert isinstance(silent.value, Unavailable)
        assert silent.value.maybe_applied is write
        # The next call does not trust that connection any more.
        assert client.get(name)


@pytest.mark.long
def test_a_watch_leaves_a_silent_server(
    make: Making, loop: Loop, proxy: Proxy, server: Server, name: str
) -> None:
    client, writer = make(endpoint(proxy)), make(server.endpoint)
    with client.watch(name) as watch:
        loop.run(_freeze(proxy))
        writer.put(name, "unheard at first")
        assert watch.get(timeout=40).value == b"unheard at first"
    assert proxy.connections == 2


def test_a_lost_server(make: Making, own_server: Server, name: str) -> None:
    client = make(own_server.endpoint, timeout=0.7)
    client.put(name, "before")
    own_server.kill()
    # The read notices, if nothing else has: a write on the way to a server that is just going away
    # may have arrived.
    for call in (lambda: client.get(name), lambda: client.put(name, "")):
        with pytest.raises(Unavailable) as lost:
            call()
        assert not isinstance(lost.value, DeadlineExceeded)
        assert not lost.value.maybe_applied
    own_server.start()
    client.put(name, "after", timeout=20)
    found = client.get(name)
    assert found is not None
    assert (found.value, found.version) == (b"after", 2)


def test_nobody_answers_there(make: Making) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = make(f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Unavailable):
            client.get("k", timeout=0.5)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100, b""])
def test_no_http2_there(make: Making, loop: Loop, greeting: bytes) -> None:
    async def serve() -> Any:
        import asyncio

        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(greeting)
            writer.close()
            await writer.wait_closed()

        return await asyncio.start_server(greet, "127.0.0.1", 0)

    async def stop(listener: Any) -> None:
        listener.close()
        await listener.wait_closed()

    listener = loop.run(serve())
    client = make(f"127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    with pytest.raises(Unavailable) as lost:
        client.put("k", "v", timeout=0.5)
    assert not lost.value.maybe_applied
    loop.run(stop(listener))


def test_names_that_do_not_exist(make: Making) -> None:
    with pytest.raises(Unavailable, match="does-not-exist"):
        make("does-not-exist.invalid:2379").get("k", timeout=1)
