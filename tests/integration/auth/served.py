"""Which methods a member serves."""

import asyncio
import tempfile
from pathlib import Path

from pykvd.config import Config
from pykvd.embed import Server


def served_paths() -> set[str]:
    """The paths of all gRPC methods."""

    async def ask() -> set[str]:
        with tempfile.TemporaryDirectory() as home:
            server = Server(Config(data_dir=str(Path(home) / "data"), unsafe_no_fsync=True))
            await server.start()
            try:
                services = server._services
                assert services
                return {*services.unary, *services.streams}
            finally:
                await server.stop()

    return asyncio.run(ask())
