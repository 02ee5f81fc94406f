"""pykvd and aetcd in one process: a server, its client, and the other client."""

import asyncio

import aetcd

import pykvd


async def main() -> None:
    async with pykvd.Server() as server, server.client() as ours:
        host, port = server.endpoint.split(":")
        async with aetcd.Client(host=host, port=int(port), timeout=20) as theirs:
            await theirs.put(b"k", b"v")
            found = await ours.get("k")
            assert found is not None
            await ours.put("l", "v")
            print(found.value, (await theirs.get(b"l")).value)


asyncio.run(main())
