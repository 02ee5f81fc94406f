"""TLS without verification, which gRPC for Python has no switch for.

gRPC speaks plain HTTP/2 into a Unix socket that only this user can reach; behind it, each
connection goes on to the server over TLS whose certificate nobody looks at. A command that is
killed leaves the socket behind, in the directory for temporary files.
"""

import asyncio
import shutil
import ssl
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from pykvctl.endpoints import Endpoint

CHUNK_BYTES = 1 << 16


class Tunnel:
    """Serves one endpoint from a thread until closed; `target` is what gRPC is to dial.

    `cert` and `key` name the client's own files, if it has any. A connection that cannot be made
    within `timeout_s` is closed, which gRPC takes for a failure of the server.
    """

    def __init__(self, endpoint: Endpoint, cert: str, key: str, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.set_alpn_protocols(["h2"])
        if cert:
            self._context.load_cert_chain(cert, key)
        self._folder = Path(tempfile.mkdtemp(prefix="pykvctl-"))
        self.target = f"unix:{self._folder / 'tls'}"
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        listening = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), daemon=True)
        self._thread.start()
        listening.wait()

    def close(self) -> None:
        """End all connections."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, listening: threading.Event) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve(listening))
        finally:
            listening.set()

    async def _serve(self, listening: threading.Event) -> None:
        path = self.target.removeprefix("unix:")
        server = await asyncio.start_unix_server(self._connect, path)
        listening.set()
        await self._ending.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of gRPC's."""
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            await self._join(reader, writer)
        except (OSError, ValueError):
            pass  # The server cannot be reached, or cannot be named.
        except asyncio.CancelledError:
            writer.transport.abort()  # The end of the tunnel, which is no failure.
        finally:
            writer.close()
            self._connections.discard(connection)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass everything on in both directions until either side ends."""
        async with asyncio.timeout(self._timeout_s):
            far_reader, far_writer = await self._dial()
        pumps = [
            asyncio.ensure_future(_pump(reader, far_writer)),
            asyncio.ensure_future(_pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            far_writer.transport.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target = self._endpoint.target
        if target.startswith("unix:"):
            path = target.removeprefix("unix:")
            return await asyncio.open_unix_connection(path, ssl=self._context, server_hostname="")
        host, _, port = target.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port), ssl=self._context)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until either side ends."""
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
