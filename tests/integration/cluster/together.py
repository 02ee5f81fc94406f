"""A cluster of servers in the test's own event loop: for looking inside, not for killing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from pykvd.config import Config
from pykvd.config.urls import parse_urls
from pykvd.embed import Server
from tests.harness import free_port
from tests.integration.store.serving import ANY_PORT, Client, connected, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAMES = ("n1", "n2", "n3")


class Together:
    """Three members that may be stopped and started again; `clients` by name."""

    def __init__(self, home: Path, options: dict[str, Any]) -> None:
        urls = {name: f"http://127.0.0.1:{free_port()}" for name in NAMES}
        self.configs = {
            name: Config(
                name=name,
                data_dir=str(home / name),
                listen_client_urls=ANY_PORT,
                listen_peer_urls=parse_urls(url),
                initial_advertise_peer_urls=parse_urls(url),
                initial_cluster=",".join(f"{each}={there}" for each, there in urls.items()),
                heartbeat_interval=50,
                # A turn of the loop that they share may be long: nobody is to be missed for it.
                election_timeout=1000,
                **options,
            )
            for name, url in urls.items()
        }
        self.servers: dict[str, Server] = {}
        self.clients: dict[str, Client] = {}
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Start all members and wait for a leader."""
        self._stack = AsyncExitStack()
        servers = {name: Server(config) for name, config in self.configs.items()}
        await asyncio.gather(*(server.start() for server in servers.values()))
        self.servers = servers
        for name, server in servers.items():
            self.clients[name] = await self._stack.enter_async_context(connected(server))

    async def stop(self) -> None:
        """End all members, with all that they applied in their files."""
        await self._stack.aclose()
        servers, self.servers = self.servers, {}
        for server in servers.values():
            assert server._node
            await server._node.committer.flush()
        await asyncio.gather(*(server.kill() for server in servers.values()))

    def node(self, name: str) -> Any:
        """The inside of a member."""
        return self.servers[name]._node

    async def leader(self) -> str:
        """Wait until one leads that all know; its name."""

        async def led() -> bool:
            nodes = {name: self.node(name) for name in self.servers}
            leaders = {node.leader for node in nodes.values()}
            return len(leaders) == 1 and any(node.is_leader for node in nodes.values())

        await eventually(led, "a leader")
        return next(name for name in self.servers if self.node(name).is_leader)


@asynccontextmanager
async def together(home: Path, **options: Any) -> AsyncIterator[Together]:
    """A started cluster, stopped at the end."""
    cluster = Together(home, options)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()
