"""Which methods a member serves."""

import asyncio

from pykvd.embed import Server


def served_paths() -> set[str]:
    """The paths of all gRPC methods."""

    async def ask() -> set[str]:
        async with Server(port=None) as server:
            services = server._services
            assert services
            return {*services.unary, *services.streams}

    return asyncio.run(ask())
